package bedrock_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
	"golang.org/x/tools/txtar"

	"github.com/postern-proxy/postern/extproc/provider/bedrock"
	"github.com/postern-proxy/postern/fault"
	fake "github.com/postern-proxy/postern/test/fake/bedrock"
)

const sonnet = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"

func chatOf(model, body string) (bedrock.Call, error) {
	return bedrock.Request(bedrock.Input{Path: "/v1/chat/completions", Model: model, Body: []byte(body)})
}

// withImage is a chat with an image of a size, in bytes.
func withImage(size int) string {
	image := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, size-8)...)
	return `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` +
		base64.StdEncoding.EncodeToString(image) + `"}}]}]}`
}

func TestAnImageMayBeAsLargeAsConverseTakesIt(t *testing.T) {
	for _, size := range []int{15 << 18, 15<<18 - 1, 15<<18 - 2} {
		call, err := chatOf(sonnet, withImage(size))
		require.NoError(t, err)
		image, err := base64.StdEncoding.DecodeString(gjson.GetBytes(call.Body, "messages.0.content.0.image.source.bytes").Str)
		require.NoError(t, err)
		assert.Len(t, image, size)
	}
	for _, size := range []int{15<<18 + 1, 5 << 20} {
		_, err := chatOf(sonnet, withImage(size))
		e, ok := errors.AsType[*fault.Error](err)
		require.True(t, ok, "%d", size)
		assert.Equal(t, fault.InvalidRequest, e.Kind)
		assert.Equal(t, "messages[0].content[0].image_url", e.Param)
	}
}

func TestTheFetcherIsAskedForTheURLAsItIs(t *testing.T) {
	var asked []string
	in := bedrock.Input{
		Path: "/v1/chat/completions", Model: sonnet,
		Body: []byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"HTTPS:\/\/example.com\/a%20b?c=\u00e9"}}]}]}`),
		Settings: bedrock.Settings{Images: func(url string) ([]byte, error) {
			asked = append(asked, url)
			return nil, errors.New("dial tcp 10.0.0.1: refused")
		}},
	}
	_, err := bedrock.Request(in)
	assert.Equal(t, []string{"HTTPS://example.com/a%20b?c=é"}, asked)
	assert.Equal(t, fault.InvalidRequest, fault.KindOf(err))
	assert.NotContains(t, string(fault.OpenAI(err)), "10.0.0.1")
	assert.Contains(t, err.Error(), "10.0.0.1", "the log needs the cause")
}

func TestARequestWithoutAModelOfTheProviderIsADefect(t *testing.T) {
	_, err := chatOf("", `{"model":"m","messages":[{"role":"user","content":"a"}]}`)
	assert.Equal(t, fault.Internal, fault.KindOf(err))
}

// TestCallIDsStayTogether holds ids that Bedrock does not take against their results.
func TestCallIDsStayTogether(t *testing.T) {
	ids := []string{"call_1", "functions.f:0", strings.Repeat("x", 65), "häh", "a b"}
	var calls, results []string
	for _, id := range ids {
		calls = append(calls, `{"id":"`+id+`","type":"function","function":{"name":"f","arguments":"{}"}}`)
		results = append(results, `{"role":"tool","tool_call_id":"`+id+`","content":"1"}`)
	}
	call, err := chatOf(sonnet, `{"model":"m","tools":[{"type":"function","function":{"name":"f"}}],"messages":[{"role":"user","content":"a"},{"role":"assistant","tool_calls":[`+
		strings.Join(calls, ",")+`]},`+strings.Join(results, ",")+`]}`)
	require.NoError(t, err)
	uses := gjson.GetBytes(call.Body, "messages.1.content.#.toolUse.toolUseId").Array()
	answers := gjson.GetBytes(call.Body, "messages.2.content.#.toolResult.toolUseId").Array()
	require.Len(t, uses, len(ids))
	require.Len(t, answers, len(ids))
	seen := map[string]bool{}
	for i := range ids {
		assert.Equal(t, uses[i].Str, answers[i].Str)
		assert.Regexp(t, `^[a-zA-Z0-9_-]{1,64}$`, uses[i].Str)
		assert.False(t, seen[uses[i].Str])
		seen[uses[i].Str] = true
	}
	assert.Equal(t, "call_1", uses[0].Str)
}

// TestNullIsAbsent holds every field of OpenAI's reference against
// null, which must pass like an absent field.
func TestNullIsAbsent(t *testing.T) {
	for _, field := range []string{
		"temperature", "top_p", "n", "stop", "stream", "stream_options", "max_tokens", "max_completion_tokens", "seed",
		"tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "logprobs", "top_logprobs",
		"logit_bias", "user", "metadata", "store", "modalities", "audio", "prediction", "web_search_options", "service_tier",
		"functions", "function_call", "verbosity", "not_a_field",
	} {
		call, err := chatOf(sonnet, `{"model":"m","`+field+`":null,"messages":[{"role":"user","content":"a","name":null}]}`)
		require.NoError(t, err, field)
		assert.JSONEq(t, `{"messages":[{"role":"user","content":[{"text":"a"}]}]}`, string(call.Body), field)
	}
	for _, field := range []string{
		"instructions", "max_output_tokens", "tools", "tool_choice", "text", "reasoning", "previous_response_id", "include",
		"background", "conversation", "store", "truncation",
	} {
		_, err := bedrock.Request(bedrock.Input{Path: "/v1/responses", Model: sonnet, Body: []byte(`{"model":"m","` + field + `":null,"input":"a"}`)})
		require.NoError(t, err, field)
	}
}

// TestReasoningComesBackAsItWas gives an answer's items back, as an agent does, and finds
// Claude's reasoning as Bedrock said it, even if the client kept no more than the seal.
func TestReasoningComesBackAsItWas(t *testing.T) {
	const said = `[{"reasoningContent":{"reasoningText":{"text":"Rome?\n\"é\u00e9 \ud83d\ude00","signature":"EqQB/+="}}},` +
		`{"reasoningContent":{"redactedContent":"AAAA"}},{"reasoningContent":{"reasoningText":{"text":"","signature":"c2ln"}}},` +
		`{"text":"Let me look."},{"toolUse":{"toolUseId":"tooluse_a","name":"f","input":{"town":"Rome"}}}]`
	asked := bedrock.Asked{Operation: bedrock.Converse, Form: bedrock.Responses, Model: "m"}
	reply := bedrock.Answer(asked, 200, func(string) string { return "" },
		[]byte(`{"output":{"message":{"role":"assistant","content":`+said+`}},"stopReason":"tool_use"}`), time.Time{}, "1")
	require.NoError(t, reply.Err)
	items := gjson.GetBytes(reply.Body, "output").Raw
	for name, kept := range map[string]string{
		"all":  items,
		"seal": regexp.MustCompile(`"content":\[\{"type":"reasoning_text".*?\}\],`).ReplaceAllString(items, ""),
	} {
		call, err := bedrock.Request(bedrock.Input{Path: "/v1/responses", Model: sonnet, Body: []byte(
			`{"model":"m","reasoning":{"effort":"low"},"tools":[{"type":"function","name":"f"}],"input":[{"role":"user","content":"a"},` +
				kept[1:len(kept)-1] + `,{"type":"function_call_output","call_id":"tooluse_a","output":"21"}]}`)})
		require.NoError(t, err, name)
		assert.JSONEq(t, said, gjson.GetBytes(call.Body, "messages.1.content").Raw, name)
		taken(t, call)
	}
}

// typical is a chat with tools, as an agent sends it.
const typical = `{"model":"smart","temperature":0.2,"max_tokens":500,"stream":true,"stream_options":{"include_usage":true},
"tools":[{"type":"function","function":{"name":"get_weather","description":"The weather of a town","parameters":{"type":"object","properties":{"town":{"type":"string"}}}}}],
"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"How warm is it\nin Rome?"},
{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"get_weather","arguments":"{\"town\":\"Rome\"}"}}]},
{"role":"tool","tool_call_id":"call_1","content":"21"},{"role":"assistant","content":"It is 21 °C."},{"role":"user","content":"And Oslo?"}]}`

func BenchmarkRequest(b *testing.B) {
	in := bedrock.Input{Path: "/v1/chat/completions", Model: sonnet, Body: []byte(typical)}
	b.SetBytes(int64(len(typical)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bedrock.Request(in); err != nil {
			b.Fatal(err)
		}
	}
}

// TestEveryModelTakesWhatIsSentToIt asks every model for the request of every golden file.
// What is sent must be taken, and Check, which reads once for all, must have said what
// becomes of it.
func TestEveryModelTakesWhatIsSentToIt(t *testing.T) {
	files, err := filepath.Glob("testdata/requests/*.txtar")
	require.NoError(t, err)
	agreed := 0
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		require.NoError(t, err)
		in := inputOf(t, string(archive.Files[0].Data), archive.Files[1].Data)
		reading := bedrock.Read(in.Path, in.Body)
		for _, model := range append(models, in.Model) {
			in.Model = model
			call, want := bedrock.Request(in)
			require.Equal(t, want, reading.Check(model, in.Settings), "%s of %s", file, model)
			if want == nil && len(in.Settings.Fields) == 0 {
				taken(t, call)
				agreed++
			}
		}
	}
	assert.Greater(t, agreed, 200)
}

// What a check costs does not grow with what it looks at: the body is copied once, and not
// once for each model.
func TestCheckingManyModelsCopiesTheBodyOnce(t *testing.T) {
	text := []byte(withImage(1 << 20))
	before, after := runtime.MemStats{}, runtime.MemStats{}
	runtime.ReadMemStats(&before)
	reading := bedrock.Read("/v1/chat/completions", text)
	for _, model := range seeing {
		require.NoError(t, reading.Check(model, bedrock.Settings{}))
	}
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(len(text)+256<<10))
}

var seeing = []string{sonnet, "eu.amazon.nova-pro-v1:0", "us.meta.llama4-scout-17b-instruct-v1:0"}

// BenchmarkCheck asks three models whether they take an image of 3 MiB; BenchmarkRequests
// makes the calls.
func BenchmarkCheck(b *testing.B) {
	text := []byte(withImage(3 << 20))
	b.ReportAllocs()
	for b.Loop() {
		reading := bedrock.Read("/v1/chat/completions", text)
		for _, model := range seeing {
			if err := reading.Check(model, bedrock.Settings{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkRequests(b *testing.B) {
	text := []byte(withImage(3 << 20))
	b.ReportAllocs()
	for b.Loop() {
		for _, model := range seeing {
			if _, err := bedrock.Request(bedrock.Input{Path: "/v1/chat/completions", Model: model, Body: text}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

var paths = []string{"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"}

var models = []string{
	sonnet, "anthropic.claude-v2", "anthropic.claude-3-5-sonnet-20240620-v1:0", "global.anthropic.claude-opus-4-6-v1", "eu.amazon.nova-pro-v1:0",
	"us.meta.llama3-3-70b-instruct-v1:0", "us.meta.llama4-scout-17b-instruct-v1:0", "amazon.titan-text-lite-v1", "amazon.titan-embed-text-v2:0", "cohere.command-r-v1:0",
}

// FuzzRequest holds what comes out against what must always be so: a call has valid
// JSON whose turns alternate and begin with the user, which the service takes and the SDK
// has a place for; an error says what is wrong and
// nothing of what the client wrote but names of fields.
func FuzzRequest(f *testing.F) {
	for i, seed := range []string{
		typical, withImage(20), `{"model":"m","prompt":["a"],"stop":["SECRET"]}`, `{"model":"m","input":"SECRET","dimensions":256,"encoding_format":"base64"}`,
		`{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"SECRET"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"SECRET"}],"tools":[{"type":"function","name":"f","parameters":{}}],"text":{"format":{"type":"text"}},"reasoning":{"effort":"low"}}`,
		`{"model":"m","messages":[{"role":"SECRET","content":"SECRET"}],"n":"SECRET","tool_choice":{"type":"function","function":{"name":"SECRET"}}}`,
		`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"SECRET"}}]}]}`,
		`{"model":"m","messages":[{"role":"user","content":"a"},{"role":"assistant","thinking_blocks":[{"type":"thinking","thinking":"SECRET","signature":"SECRET"}],"tool_calls":[{"id":"SECRET","function":{"name":"SECRET","arguments":"SECRET"}}]}],"response_format":{"type":"json_schema","json_schema":{"name":"SECRET","schema":{"type":"object"}}},"reasoning_effort":"high"}`,
		`{"model":"m","messages":[{"role":"user","content":"a"}],"reasoning_effort":"high","temperature":1,"top_p":0.5,"stream":false,"parallel_tool_calls":false,"tools":[{"type":"function","function":{"name":"f","strict":true}}],"tool_choice":"required"}`,
	} {
		f.Add([]byte(seed), uint8(i), uint8(i))
	}
	f.Fuzz(func(t *testing.T, text []byte, path, model uint8) {
		in := bedrock.Input{
			Path: paths[int(path)%len(paths)], Model: models[int(model)%len(models)], Body: text,
			Settings: bedrock.Settings{Fields: []string{"top_k", "thinking", "tool_choice", "messages"}},
		}
		call, err := bedrock.Request(in)
		require.Equal(t, err, bedrock.Read(in.Path, text).Check(in.Model, in.Settings))
		if err != nil {
			e, ok := errors.AsType[*fault.Error](err)
			require.True(t, ok)
			require.Equal(t, fault.InvalidRequest, e.Kind)
			require.NotEmpty(t, e.Message)
			require.NotContains(t, strings.ReplaceAll(e.Message, e.Param, ""), "SECRET")
			if strings.Contains(e.Param, "SECRET") {
				require.Contains(t, string(text), `SECRET":`, "a value was told as a field's name")
			}
			return
		}
		require.True(t, json.Valid(call.Body), "%s", call.Body)
		taken(t, call)
		if call.Asked.Operation == bedrock.Invoke {
			require.NotEmpty(t, gjson.GetBytes(call.Body, "inputText").Str)
			return
		}
		who := "user"
		for _, turn := range gjson.GetBytes(call.Body, "messages").Array() {
			require.Equal(t, who, turn.Get("role").Str)
			require.NotEmpty(t, turn.Get("content").Array())
			if who = "assistant"; turn.Get("role").Str == who {
				who = "user"
			}
		}
		twice(t, gjson.ParseBytes(call.Body))
	})
}

// taken holds a call against what the service takes, and against the SDK's input. Of a
// model that nothing is known of, and of fields that the operator lets through to
// InvokeModel, Bedrock alone can judge.
func taken(t *testing.T, call bedrock.Call) {
	t.Helper()
	_, err := decoded(call)
	require.NoError(t, err)
	if strings.Contains(call.Path, "cohere.") || strings.Contains(call.Path, "mistral.") || strings.Contains(call.Path, "application-") {
		return
	}
	if call.Asked.Operation == bedrock.Invoke {
		for _, field := range []string{"top_k", "thinking", "tool_choice", "messages"} {
			if gjson.GetBytes(call.Body, field).Exists() {
				return
			}
		}
	}
	require.Empty(t, fake.Judge(call.Path, call.Body), "%s", call.Body)
}

// twice fails if an object of the envelope has a member twice.
func twice(t *testing.T, v gjson.Result) {
	seen := map[string]bool{}
	v.ForEach(func(key, member gjson.Result) bool {
		require.False(t, seen[key.Str], key.Str)
		seen[key.Str] = true
		if member.IsObject() {
			twice(t, member)
		}
		return true
	})
}
