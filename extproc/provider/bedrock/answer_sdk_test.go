package bedrock

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/responses"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

// TestTheClientReadsEveryStream gives every stream of the files to OpenAI's own client:
// one that failed must be an error there too, in each form.
func TestTheClientReadsEveryStream(t *testing.T) {
	files, err := filepath.Glob("testdata/streams/*.txtar")
	require.NoError(t, err)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			asked := askedOf(t, archive)
			all, _ := framesOf(t, archivePart(archive, "frames"))
			s := NewStream(asked, when, "42")
			text := string(s.Write(all, true))
			decoder := ssestream.NewDecoder(&http.Response{
				Header: http.Header{"Content-Type": {StreamType}}, Body: io.NopCloser(strings.NewReader(text)),
			})
			switch asked.Form {
			case Responses:
				readResponse(t, s, decoder)
			case Completions:
				read := ssestream.NewStream[openai.Completion](decoder, nil)
				for read.Next() {
					assert.Equal(t, asked.Model, read.Current().Model)
				}
				assert.Equal(t, s.Failed(), read.Err() != nil, read.Err())
			default:
				readChat(t, s, asked, decoder)
			}
		})
	}
}

func readChat(t *testing.T, s *Stream, asked Asked, decoder ssestream.Decoder) {
	t.Helper()
	read, sum := ssestream.NewStream[openai.ChatCompletionChunk](decoder, nil), openai.ChatCompletionAccumulator{}
	for read.Next() {
		require.True(t, sum.AddChunk(read.Current()))
	}
	assert.Equal(t, s.Failed(), read.Err() != nil, read.Err())
	if s.Failed() {
		return
	}
	require.Len(t, sum.Choices, 1)
	assert.NotEmpty(t, sum.Choices[0].FinishReason)
	assert.EqualValues(t, "assistant", sum.Choices[0].Message.Role)
	assert.Equal(t, sum.Choices[0].FinishReason == "tool_calls", len(sum.Choices[0].Message.ToolCalls) > 0 && sum.Choices[0].FinishReason != "length")
	if used, known := s.Usage(); known && asked.IncludeUsage {
		assert.Equal(t, used.Prompt(), sum.Usage.PromptTokens)
		assert.Equal(t, used.Total(), sum.Usage.TotalTokens)
	}
	for _, call := range sum.Choices[0].Message.ToolCalls {
		whole := sum.Choices[0].FinishReason != "length" && !strings.HasSuffix(t.Name(), "arguments_malformed")
		assert.True(t, !whole || json.Valid([]byte(call.Function.Arguments)), call.Function.Arguments)
	}
}

func readResponse(t *testing.T, s *Stream, decoder ssestream.Decoder) {
	t.Helper()
	read, said := ssestream.NewStream[responses.ResponseStreamEventUnion](decoder, nil), ""
	var last responses.ResponseStreamEventUnion
	sequence := int64(0)
	for read.Next() {
		last = read.Current()
		assert.Equal(t, sequence, last.SequenceNumber)
		sequence++
		if last.Type == "response.output_text.delta" {
			said += last.Delta
		}
	}
	assert.Equal(t, s.Failed(), read.Err() != nil, read.Err())
	if s.Failed() {
		return
	}
	assert.Contains(t, []string{"response.completed", "response.incomplete"}, last.Type)
	assert.Equal(t, said, last.Response.OutputText())
	if used, known := s.Usage(); known {
		assert.Equal(t, used.Prompt(), last.Response.Usage.InputTokens)
	}
}
