//go:build !race

package bedrock

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The ceilings of what one chunk of Bedrock's costs. AWS's own library, which reads the
// frames, makes nearly all of it; what is ours is one copy of the payload, to read it
// as text.
func TestAllocationsOfAChunk(t *testing.T) {
	for name, asked := range map[string]Asked{
		"chat": {Form: Chat, IncludeUsage: true}, "completions": {Form: Completions}, "responses": {Form: Responses},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStream(asked, when, "1")
			const payload = `{"contentBlockIndex":0,"delta":{"text":" a \"word\""},"p":"abcdefghijklmnop"}`
			delta := eventOf(t, "contentBlockDelta", payload)
			s.Write(delta, false)
			whole := testing.AllocsPerRun(500, func() {
				if len(s.Write(delta, false)) == 0 {
					panic("nothing was said")
				}
			})
			read := event{kind: "event", name: "contentBlockDelta", payload: []byte(payload)}
			ours := testing.AllocsPerRun(500, func() {
				s.out = s.out[:0]
				if s.take(read) != nil {
					panic("it failed")
				}
			})
			t.Logf("%.0f allocations a chunk, %.0f of them ours", whole, ours)
			assert.LessOrEqual(t, whole, 42.0)
			assert.LessOrEqual(t, ours, 3.0)
		})
	}
}
