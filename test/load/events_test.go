package load

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEvents(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		count  int
		done   bool
	}{
		"empty":              {"", 0, false},
		"two and the end":    {"data: {\"a\":1}\n\ndata: {}\n\ndata: [DONE]\n\n", 3, true},
		"carriage returns":   {"data: {}\r\n\r\ndata: [DONE]\r\n\r\n", 2, true},
		"an event unended":   {"data: {}\n\ndata: [DONE]\n", 1, false},
		"many lines":         {"event: x\ndata: one\ndata: two\n\n", 1, false},
		"comments":           {": ping\n\n\n\n: ping\n\n", 0, false},
		"no space":           {"data:x\n\n", 1, false},
		"other fields":       {"database: x\n\nid: 1\n\n", 0, false},
		"more after the end": {"data: [DONE]\n\ndata: x\n\n", 2, false},
		"almost the end":     {"data: [DONE] \n\n", 1, false},
		"a long line":        {"data: [DONE]                                       \r\n\n", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			for size := 1; size <= len(c.stream)+1; size++ { // however it is cut
				var e Events
				for rest := []byte(c.stream); len(rest) > 0; {
					n := min(size, len(rest))
					e.Write(rest[:n])
					rest = rest[n:]
				}
				assert.Equal(t, c.count, e.Count, "pieces of %d", size)
				assert.Equal(t, c.done, e.Done, "pieces of %d", size)
			}
		})
	}
}
