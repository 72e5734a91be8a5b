package load

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

func TestConversation(t *testing.T) {
	for size, messages := range map[int]int{SmallestBody: 2, 300: 2, 1000: 2, 4_000: 4, 4_096: 4, 30_000: 40, 200_000: 300} {
		for _, stream := range []bool{false, true} {
			body, err := Conversation("bench", size, stream)
			require.NoError(t, err)
			require.Len(t, body, size)
			require.True(t, gjson.ValidBytes(body), "%s", body)
			read := gjson.ParseBytes(body)
			assert.Equal(t, "bench", read.Get("model").String())
			assert.Equal(t, stream, read.Get("stream").Bool())
			assert.Equal(t, stream, read.Get("stream_options.include_usage").Bool())
			list := read.Get("messages").Array()
			assert.GreaterOrEqual(t, len(list), messages, "%d bytes", size)
			assert.Equal(t, "system", list[0].Get("role").String())
			assert.Equal(t, "user", list[len(list)-1].Get("role").String())
			if size >= 30_000 {
				assert.NotEmpty(t, read.Get(`messages.#(role=="tool")#`).Array())
				assert.Len(t, read.Get("tools").Array(), 2)
			}
			again, err := Conversation("bench", size, stream)
			require.NoError(t, err)
			assert.Equal(t, body, again, "the same every time")
		}
	}
}

// TestConversationOfEverySize finds an edge where a message just fits or just does
// not.
func TestConversationOfEverySize(t *testing.T) {
	for size := SmallestBody; size < 9000; size += 7 {
		body, err := Conversation("m", size, size%2 == 0)
		require.NoError(t, err)
		require.Len(t, body, size)
		require.True(t, gjson.ValidBytes(body))
	}
}

func TestConversationTooSmall(t *testing.T) {
	_, err := Conversation("m", SmallestBody-1, false)
	require.Error(t, err)
	_, err = Conversation(string(make([]byte, 400)), SmallestBody, false)
	require.Error(t, err)
}
