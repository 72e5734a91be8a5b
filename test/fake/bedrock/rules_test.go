package bedrock_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
)

// post sends a body to a server that asks for no signatures.
func post(t *testing.T, server *fake.Server, model, operation, body string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		server.URL()+"/model/"+url.PathEscape(model)+"/"+operation, strings.NewReader(body))
	require.NoError(t, err)
	response, err := httpClient(t, server).Do(request)
	require.NoError(t, err)
	all, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response, string(all)
}

const hello = `{"role":"user","content":[{"text":"hello"}]}`

func messages(list ...string) string { return `{"messages":[` + strings.Join(list, ",") + `]}` }

func more(fields string) string { return `{"messages":[` + hello + `],` + fields + `}` }

func content(blocks string) string { return messages(`{"role":"user","content":[` + blocks + `]}`) }

func assistant(blocks string) string { return `{"role":"assistant","content":[` + blocks + `]}` }

const (
	oneTool = `"toolConfig":{"tools":[{"toolSpec":{"name":"a","inputSchema":{"json":{"type":"object"}}}}]}`
	useA    = `{"toolUse":{"toolUseId":"i1","name":"a","input":{}}}`
	resultA = `{"toolResult":{"toolUseId":"i1","content":[{"text":"r"}]}}`
)

func dialogue(list ...string) string {
	return `{"messages":[` + strings.Join(append([]string{hello}, list...), ",") + `],` + oneTool + `}`
}

func userSays(blocks string) string { return `{"role":"user","content":[` + blocks + `]}` }

func TestRefusesAndSaysWhy(t *testing.T) {
	big := base64.StdEncoding.EncodeToString(append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 5<<20)...))
	cases := []struct{ name, model, body, want string }{
		{"unknown model", "openai.gpt-9000", messages(hello), "model identifier is invalid"},
		{"no id at all", "gpt-4", messages(hello), "model identifier is invalid"},
		{"unknown profile", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", messages(hello), "Could not resolve"},
		{"model that embeds", "amazon.titan-embed-text-v2:0", messages(hello), "text or chat model"},
		{"not JSON", claude, `{"messages":`, "JSON"},
		{"unknown field", claude, more(`"temperature":1`), `"temperature" is not known`},
		{"unknown field within", claude, content(`{"text":"x","type":"text"}`), `"messages.0.content.0.type" is not known`},
		{"model in the body", claude, more(`"modelId":"x"`), `"modelId" is not known`},
		{"null", claude, more(`"system":null`), `"system" is null`},
		{"twice", claude, more(`"system":[],"system":[]`), `"system" is there twice`},
		{"wrong type", claude, more(`"inferenceConfig":{"maxTokens":"1"}`), "Integer"},
		{"two kinds in a block", claude, content(`{"text":"x","cachePoint":{"type":"default"}}`), "exactly one"},
		{"string for content", claude, `{"messages":[{"role":"user","content":"x"}]}`, "a list"},
		{"no messages", claude, `{}`, "start with a user message"},
		{"assistant first", claude, messages(assistant(`{"text":"x"}`)), "start with a user message"},
		{"user twice", claude, messages(hello, hello), "alternate"},
		{"role of system", claude, messages(hello, `{"role":"system","content":[{"text":"x"}]}`), "enum value set"},
		{"assistant last", llama, messages(hello, assistant(`{"text":"x"}`)), "end with a user message"},
		{"no content", claude, content(``), "content field in the Message object at messages.0 is empty"},
		{"blank text", claude, content(`{"text":" \n"}`), "at messages.0.content.0 is blank"},
		{"blank system", claude, more(`"system":[{"text":""}]`), "system.0 is blank"},
		{"hot", claude, more(`"inferenceConfig":{"temperature":1.5}`), "less than or equal to 1"},
		{"cold", claude, more(`"inferenceConfig":{"topP":-0.1}`), "greater than or equal to 0"},
		{"no tokens", claude, more(`"inferenceConfig":{"maxTokens":0}`), "greater than or equal to 1"},
		{"many stops", nova, more(`"inferenceConfig":{"stopSequences":["a","b","c","d","e"]}`), "maximum item count: 4"},
		{"llama stops", llama, more(`"inferenceConfig":{"stopSequences":["a"]}`), "Remove stopSequences"},
		{"titan stops", titan, more(`"inferenceConfig":{"stopSequences":["a"]}`), "does not match pattern"},
		{"blank stop", claude, more(`"inferenceConfig":{"stopSequences":[" "]}`), "non-whitespace"},
		{"titan system", titan, more(`"system":[{"text":"x"}]`), "Remove system"},
		{"titan tools", titan, dialogue(), "doesn't support tool use."},
		{"llama choice", llama, strings.Replace(dialogue(), `"tools"`, `"toolChoice":{"any":{}},"tools"`, 1), "Remove toolConfig.toolChoice.any"},
		{"choice of nothing", claude, strings.Replace(dialogue(), `"tools"`, `"toolChoice":{"tool":{"name":"b"}},"tools"`, 1), "not one of"},
		{"no tools", claude, more(`"toolConfig":{"tools":[]}`), "length greater than"},
		{"schema a string", claude, strings.Replace(dialogue(), `{"type":"object"}`, `"{}"`, 1), "Provide a json object"},
		{"schema without type", claude, strings.Replace(dialogue(), `{"type":"object"}`, `{}`, 1), "must be one of the following: object"},
		{"tool name", claude, strings.Replace(dialogue(), `"name":"a"`, `"name":"a.b"`, 1), "regular expression"},
		{"use without tools", claude, messages(hello, assistant(useA), userSays(resultA)), "toolConfig field must be defined"},
		{"use unanswered", claude, dialogue(assistant(useA), hello), "Expected toolResult blocks at messages.2.content"},
		{"result of nothing", claude, dialogue(assistant(`{"text":"x"}`), userSays(resultA)), "exceeds the number of toolUse"},
		{"result of another", claude, dialogue(assistant(useA), userSays(strings.Replace(resultA, "i1", "i2", 1))), "Ids: i1"},
		{"result behind words", claude, dialogue(assistant(useA), userSays(`{"text":"x"},`+resultA)), "immediately after"},
		{"assistant last, newer Claude", "us.anthropic.claude-opus-4-6-v1", messages(hello, assistant(`{"text":"x"}`)), "end with a user message"},
		{"image to Haiku 3.5", "anthropic.claude-3-5-haiku-20241022-v1:0", content(imageBlock("png", "iVBORw0KGgo=")), "doesn't support the image"},
		{"input a string", claude, dialogue(assistant(strings.Replace(useA, `{}`, `"{}"`, 1)), userSays(resultA)), "toolUse.input is invalid"},
		{"llama status", llama, dialogue(assistant(useA), userSays(strings.Replace(resultA, `"content"`, `"status":"error","content"`, 1))), "Remove status"},
		{"llama image", llama, content(imageBlock("png", "iVBORw0KGgo=")), "doesn't support the image"},
		{"not base64", claude, content(imageBlock("png", "data:image/png;base64,iVBORw0KGgo=")), "not base64"},
		{"another format", claude, content(imageBlock("jpeg", "iVBORw0KGgo=")), "does not match"},
		{"a format of ours", claude, content(imageBlock("jpg", "/9j/")), "enum value set"},
		{"a large image", claude, content(imageBlock("png", big)), "exceeds 5 MB"},
		{"llama cache", llama, content(`{"text":"x"},{"cachePoint":{"type":"default"}}`), "prompt caching"},
		{"a video", claude, content(`{"video":{"format":"mp4","source":{"bytes":"AAAA"}}}`), "video content block"},
	}
	server := fake.Start(t, fake.WithoutSignatures())
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			response, got := post(t, server, c.model, "converse", c.body)
			assert.GreaterOrEqual(t, response.StatusCode, 400)
			assert.Contains(t, gjson.Get(got, "message").String(), c.want)
			assert.NotEmpty(t, response.Header.Get("X-Amzn-Errortype"))
			assert.Contains(t, server.Last().Refusal, c.want)
		})
	}
}

func imageBlock(format, data string) string {
	return fmt.Sprintf(`{"image":{"format":%q,"source":{"bytes":%q}}}`, format, data)
}

func TestTakesWhatTheServiceTakes(t *testing.T) {
	server := fake.Start(t, fake.WithoutSignatures(), fake.WithModel("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", claude))
	for model, bodies := range map[string][]string{
		claude: {
			messages(hello, assistant(`{"text":"prefilled"}`)),
			more(`"additionalModelRequestFields":{"top_k":5},"additionalModelResponseFieldPaths":["/x"],"requestMetadata":{"a":"b"},"performanceConfig":{"latency":"standard"}`),
			content(`{"text":"x"},{"cachePoint":{"type":"default"}}`),
			dialogue(assistant(`{"text":"x"},`+useA), userSays(strings.Replace(resultA, `"content"`, `"status":"error","content"`, 1)+`,{"text":"and?"}`)),
			messages(hello, assistant(`{"reasoningContent":{"reasoningText":{"text":"r","signature":"s"}}},{"text":"x"}`), hello),
		},
		"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc": {more(`"system":[{"text":"x"}]`)},
		"meta.llama3-2-11b-instruct-v1:0":                                          {content(imageBlock("gif", "R0lGODlh"))},
		nova:                                                                       {messages(hello, assistant(`{"text":"prefilled"}`)), more(`"inferenceConfig":{"stopSequences":["\n"]}`)},
		titan:                                                                      {more(`"inferenceConfig":{"stopSequences":["User:"]}`)},
	} {
		for _, body := range bodies {
			response, got := post(t, server, model, "converse", body)
			assert.Equal(t, 200, response.StatusCode, got)
		}
	}
	server.NoRefusals(t)
}

// TestNoRefusalsFails: a helper that cannot fail helps nobody.
func TestNoRefusalsFails(t *testing.T) {
	server := fake.Start(t, fake.WithoutSignatures())
	server.Always(fake.Status(503))
	response, _ := post(t, server, claude, "converse", more(`"temperature":1`))
	assert.Equal(t, 503, response.StatusCode)
	witness := &listener{TB: t}
	server.NoRefusals(witness)
	assert.Equal(t, 1, witness.errors, "a script does not hide what is wrong")
}

type listener struct {
	testing.TB
	errors int
}

func (l *listener) Helper()               {}
func (l *listener) Errorf(string, ...any) { l.errors++ }

func TestUnknownPaths(t *testing.T) {
	server := fake.Start(t, fake.WithoutSignatures())
	response, got := post(t, server, claude, "converse-loudly", messages(hello))
	assert.Equal(t, 404, response.StatusCode)
	assert.Equal(t, "UnknownOperationException", strings.SplitN(response.Header.Get("X-Amzn-Errortype"), ":", 2)[0], got)
	response, _ = post(t, server, claude, "invoke", `{"anthropic_version":"x"}`)
	assert.Equal(t, 400, response.StatusCode)
}
