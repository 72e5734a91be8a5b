package bedrock_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/document"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; none is expected to last.
const patience = 10 * time.Second

const (
	claude  = "anthropic.claude-3-7-sonnet-20250219-v1:0"
	llama   = "us.meta.llama3-3-70b-instruct-v1:0"
	titan   = "amazon.titan-text-express-v1"
	nova    = "amazon.nova-pro-v1:0"
	profile = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-7-sonnet-20250219-v1:0"
)

var chatModels = []string{claude, llama, titan, nova, profile, "arn:aws:bedrock:us-east-1::foundation-model/" + claude}

func httpClient(t *testing.T, server *fake.Server) *http.Client {
	t.Helper()
	// A timeout of the client's would outlive the bodies that the SDK leaves open
	// when it cannot read them.
	transport := &http.Transport{ForceAttemptHTTP2: true, ResponseHeaderTimeout: patience}
	if pem := server.CA(); pem != nil {
		pool := x509.NewCertPool()
		require.True(t, pool.AppendCertsFromPEM(pem))
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, ServerName: "localhost"}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: patient{transport}}
}

// patient sends a copy of the body. The SDK closes its own as soon as there is an
// answer, which over the loopback may be before net/http has looked for the body's
// end; net/http then takes the connection, and the stream on it, for broken.
type patient struct{ http.RoundTripper }

func (p patient) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body == nil {
		return p.RoundTripper.RoundTrip(request)
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	request = request.Clone(request.Context())
	request.Body = io.NopCloser(bytes.NewReader(body))
	return p.RoundTripper.RoundTrip(request)
}

// client is the SDK's client, as it is.
func client(t *testing.T, server *fake.Server, changes ...func(*sdk.Options)) *sdk.Client {
	t.Helper()
	return sdk.New(sdk.Options{
		Region: fake.Region, BaseEndpoint: aws.String(server.URL()), HTTPClient: httpClient(t, server),
		Credentials: holder(fake.Test), RetryMaxAttempts: 1,
	}, changes...)
}

func holder(c fake.Credential) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: c.ID, SecretAccessKey: c.Secret, SessionToken: c.Token}, nil
	})
}

func user(blocks ...types.ContentBlock) types.Message {
	return types.Message{Role: types.ConversationRoleUser, Content: blocks}
}

func text(s string) types.ContentBlock { return &types.ContentBlockMemberText{Value: s} }

func ask(model, said string) *sdk.ConverseInput {
	return &sdk.ConverseInput{ModelId: aws.String(model), Messages: []types.Message{user(text(said))}}
}

func tools(names ...string) *types.ToolConfiguration {
	config := &types.ToolConfiguration{}
	for _, name := range names {
		schema := &types.ToolInputSchemaMemberJson{Value: document.NewLazyDocument(map[string]any{"type": "object"})}
		config.Tools = append(config.Tools, &types.ToolMemberToolSpec{Value: types.ToolSpecification{Name: aws.String(name), InputSchema: schema}})
	}
	return config
}

// png is a picture of one point.
func png(t *testing.T) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=")
	require.NoError(t, err)
	return data
}

func answerText(t *testing.T, out *sdk.ConverseOutput) string {
	t.Helper()
	message := out.Output.(*types.ConverseOutputMemberMessage).Value
	require.Equal(t, types.ConversationRoleAssistant, message.Role)
	require.Len(t, message.Content, 1)
	return message.Content[0].(*types.ContentBlockMemberText).Value
}

// streamed is all that a stream of the SDK gave.
type streamed struct {
	text, reasoning, input, tool string
	stop                         types.StopReason
	usage                        *types.TokenUsage
	events                       int
	err                          error
}

func stream(t *testing.T, c *sdk.Client, in *sdk.ConverseInput) streamed {
	t.Helper()
	out, err := c.ConverseStream(t.Context(), &sdk.ConverseStreamInput{
		ModelId: in.ModelId, Messages: in.Messages, System: in.System, InferenceConfig: in.InferenceConfig, ToolConfig: in.ToolConfig,
	})
	if err != nil {
		return streamed{err: err}
	}
	var all streamed
	events := out.GetStream()
	for event := range events.Events() {
		all.events++
		switch e := event.(type) {
		case *types.ConverseStreamOutputMemberContentBlockStart:
			all.tool += *e.Value.Start.(*types.ContentBlockStartMemberToolUse).Value.Name
		case *types.ConverseStreamOutputMemberContentBlockDelta:
			switch d := e.Value.Delta.(type) {
			case *types.ContentBlockDeltaMemberText:
				all.text += d.Value
			case *types.ContentBlockDeltaMemberToolUse:
				all.input += *d.Value.Input
			case *types.ContentBlockDeltaMemberReasoningContent:
				if r, ok := d.Value.(*types.ReasoningContentBlockDeltaMemberText); ok {
					all.reasoning += r.Value
				}
			}
		case *types.ConverseStreamOutputMemberMessageStop:
			all.stop = e.Value.StopReason
		case *types.ConverseStreamOutputMemberMetadata:
			all.usage = e.Value.Usage
		}
	}
	all.err = events.Err()
	_ = events.Close() // says Err again
	return all
}

func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, what)
}
