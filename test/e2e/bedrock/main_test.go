package bedrock_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

func TestMain(m *testing.M) { gate.Main(m.Run) }

// The models of the fake, a family each.
const (
	claude = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
	llama  = "meta.llama3-3-70b-instruct-v1:0"
	sight  = "us.meta.llama4-scout-17b-instruct-v1:0"
	titan  = "amazon.titan-text-express-v1"
	nova   = "amazon.nova-lite-v1:0"
	embed  = "amazon.titan-embed-text-v2:0"
	arn    = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0"
)

// credentials are those of the fake, as an operator gives them.
func credentials(c fake.Credential) []string {
	all := []string{"AWS_ACCESS_KEY_ID=" + c.ID, "AWS_SECRET_ACCESS_KEY=" + c.Secret, "AWS_EC2_METADATA_DISABLED=true"}
	if c.Token != "" {
		all = append(all, "AWS_SESSION_TOKEN="+c.Token)
	}
	return all
}

// house is a gate with both kinds of providers behind it.
type house struct {
	*gate.Gate
	bedrock *fake.Server
	openai  *openai.Server
}

// providers are the two, as openai and aws.
func (h *house) providers() string {
	return fmt.Sprintf("  openai: {schema: openai, url: %q, key: \"${OPENAI_KEY}\"}\n"+
		"  aws: {schema: bedrock, region: us-east-1, url: %q, fields: [top_k], images: {hosts: [images.example.com, nowhere.example.com]}}\n",
		h.openai.URL()+"/v1", h.bedrock.URL())
}

// build starts a gate for models, which are lines of YAML.
func build(t *testing.T, models string) *house {
	t.Helper()
	h := &house{bedrock: fake.Start(t), openai: openai.Start(t)}
	h.Gate = gate.Start(t, gate.Settings{
		Config: "listen: {address: \"{{address}}\"}\nproviders:\n" + h.providers() + "models:\n" + models,
		Env:    append(credentials(fake.Test), "OPENAI_KEY=secret-of-openai"),
	})
	return h
}

// only is an entry with one target of Bedrock's.
func only(name, model string) string {
	return fmt.Sprintf("  %q: {route: [[{provider: aws, model: %q}]], timeouts: {first_byte: 5s, idle: 5s}}\n", name, model)
}

// ask sends a body to chat, and gives the answer and its text.
func (h *house) ask(t *testing.T, body string, header ...string) (*http.Response, string) {
	t.Helper()
	return h.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions", body, header...)
}

func hello(model, more string) string {
	if more != "" {
		more = "," + strings.TrimPrefix(more, ",")
	}
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"hello there"}]%s}`, model, more)
}
