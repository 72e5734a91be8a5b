package extproc_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/postern-proxy/postern/extproc"
	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

// stage is one of a test's own.
type stage func(ctx context.Context, r *extproc.Request) error

func (stage) Name() string { return "test" }

func (s stage) Apply(ctx context.Context, r *extproc.Request) error { return s(ctx, r) }

// asked is the metadata of a stream for the entry "m" of the version "v".
func asked() []string {
	return []string{
		wire.MetaLane, wire.LaneUnderstand, wire.MetaConfig, "v", wire.MetaEntry, "m",
		wire.MetaPath, "/v1/chat/completions", wire.MetaLength, "100", wire.MetaRequest, "req-1",
	}
}

func planWith(stages ...extproc.Stage) *extproc.Plan {
	return extproc.PlanOf("v", map[string][]extproc.Stage{"m": stages})
}

// syncBuffer is a log that a test reads while the service writes.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestAStageThatPanics(t *testing.T) {
	var log syncBuffer
	s := service(t, planWith(stage(func(context.Context, *extproc.Request) error { panic("the stage broke") })))
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	client := serve(t, s)
	for range 3 { // the service goes on
		answers, err := converse(t, client, asked(), headers(false), body([]byte(`{"model":"m"}`)))
		require.NoError(t, err)
		require.Len(t, answers, 2)
		refusal := answers[1].GetImmediateResponse()
		require.NotNil(t, refusal)
		assert.Equal(t, 500, int(refusal.GetStatus().GetCode()))
		assert.Equal(t, "postern_internal", refusal.GetDetails())
		assert.JSONEq(t, string(fault.OpenAI(&fault.Error{Kind: fault.Internal})), string(refusal.GetBody()))
		assert.NotContains(t, string(refusal.GetBody()), "broke")
	}
	assert.Contains(t, log.String(), "the stage broke")
	assert.Contains(t, log.String(), "request=req-1")
	assert.Contains(t, log.String(), "service_test.go", "the stack is in the log")
	assert.Eventually(t, func() bool { return s.Budget.Taken() == 0 }, waitFor, tick, "the budget was not given back")
}

func TestAnErrorWithoutAKindSaysNothing(t *testing.T) {
	s := service(t, planWith(stage(func(context.Context, *extproc.Request) error { return errors.New("/etc/secret") })))
	answers, err := converse(t, serve(t, s), asked(), headers(false), body([]byte(`{}`)))
	require.NoError(t, err)
	require.Len(t, answers, 2)
	assert.Equal(t, 500, int(answers[1].GetImmediateResponse().GetStatus().GetCode()))
	assert.NotContains(t, string(answers[1].GetImmediateResponse().GetBody()), "secret")
}

func TestStagesRunInOrderUntilOneRefuses(t *testing.T) {
	var ran []string
	note := func(name string, err error) extproc.Stage {
		return stage(func(_ context.Context, r *extproc.Request) error {
			assert.Equal(t, extproc.Chat, r.Endpoint)
			ran = append(ran, name)
			return err
		})
	}
	s := service(t, planWith(note("first", nil), note("second", fault.New("x", fault.Forbidden, "No.")), note("third", nil)))
	var seen []string
	s.Observe = func(stage, outcome string, took time.Duration) {
		assert.GreaterOrEqual(t, took, time.Duration(0))
		seen = append(seen, stage+" "+outcome)
	}
	answers, err := converse(t, serve(t, s), asked(), headers(false), body([]byte(`{}`)))
	require.NoError(t, err)
	assert.Equal(t, 403, int(answers[1].GetImmediateResponse().GetStatus().GetCode()))
	assert.Equal(t, []string{"first", "second"}, ran)
	assert.Equal(t, []string{"test ok", "test forbidden"}, seen)
}

func TestWhatIsHeldIsGivenBackWhenTheClientGoes(t *testing.T) {
	s := service(t, planWith())
	client := serve(t, s)
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), asked()...))
	defer cancel()
	conversation, err := client.Process(ctx)
	require.NoError(t, err)
	require.NoError(t, conversation.Send(headers(false)))
	_, err = conversation.Recv()
	require.NoError(t, err)
	require.Equal(t, int64(extproc.Copies*100), s.Budget.Taken(), "the announced length, with its copies")
	cancel() // before the body
	assert.Eventually(t, func() bool { return s.Budget.Taken() == 0 }, waitFor, tick)
}

func TestARequestThatIsOverRunsNoMoreStages(t *testing.T) {
	inside := make(chan struct{})
	var second bool
	s := service(t, planWith(
		stage(func(ctx context.Context, _ *extproc.Request) error {
			close(inside)
			<-ctx.Done()
			return nil
		}),
		stage(func(context.Context, *extproc.Request) error {
			second = true
			return nil
		})))
	client := serve(t, s)
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), asked()...))
	defer cancel()
	conversation, err := client.Process(ctx)
	require.NoError(t, err)
	require.NoError(t, conversation.Send(headers(false)))
	_, err = conversation.Recv()
	require.NoError(t, err)
	require.NoError(t, conversation.Send(body([]byte(`{}`))))
	<-inside
	cancel()
	_, err = conversation.Recv()
	require.Equal(t, codes.Canceled, status.Code(err))
	require.Eventually(t, func() bool { return s.Budget.Taken() == 0 }, waitFor, tick)
	assert.False(t, second)
}

func TestManyStreamsAtOnce(t *testing.T) {
	plan := extproc.NewPlan(parse(t, everyStage), nil)
	s := service(t, plan)
	client := serve(t, s)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 10 {
				answers, err := converse(t, client,
					[]string{wire.MetaLane, wire.LaneUnderstand, wire.MetaConfig, plan.Version(), wire.MetaEntry, "m", wire.MetaPath, "/v1/chat/completions", wire.MetaLength, "60"},
					headers(false), body([]byte(`{"model":"m","messages":[{"role":"user","content":"Hi"}]}`)))
				if assert.NoError(t, err) && assert.Len(t, answers, 2) {
					assert.Equal(t, `{"model":"other","messages":[{"role":"system","content":"Be kind."},{"role":"user","content":"Hi"}]}`,
						string(answers[1].GetRequestBody().GetResponse().GetBodyMutation().GetBody()))
				}
			}
		})
	}
	all.Wait()
	assert.Eventually(t, func() bool { return s.Budget.Taken() == 0 }, waitFor, tick)
}

// everyStage is a model "m" with every stage that there is.
const everyStage = `
providers: {openai: {schema: openai, url: "https://api.openai.com/v1", key: "${OPENAI_API_KEY}"}}
models: {m: {route: [[{provider: openai, model: other}]], system: Be kind., validate: strict}}
`

// conversation is a stream without gRPC, for what is measured.
type conversation struct {
	pb.ExternalProcessor_ProcessServer

	ctx context.Context //nolint:containedctx // as every stream of gRPC
	in  []*pb.ProcessingRequest
	at  int
	out *pb.ProcessingResponse
}

func (c *conversation) Context() context.Context { return c.ctx }

func (c *conversation) Recv() (*pb.ProcessingRequest, error) {
	c.at++
	return c.in[c.at-1], nil
}

func (c *conversation) Send(out *pb.ProcessingResponse) error {
	c.out = out
	return nil
}

func messages(n int) string {
	one := `{"role":"user","content":"` + strings.Repeat("A few words of a conversation. ", 6) + `\n"},`
	return `{"model":"m","stream":true,"messages":[` + strings.TrimSuffix(strings.Repeat(one, n), ",") + `]}`
}

// A body that is long in coming is judged by the version that its request was routed with,
// however many came meanwhile.
func TestASlowBodyIsJudgedByItsOwnVersion(t *testing.T) {
	plan := extproc.NewPlan(parse(t, `{providers: {p: {schema: openai, url: "http://p.example/v1"}}, models: {m: {route: [[{provider: p}]], system: Be kind.}}}`), nil)
	service := service(t, plan)
	client := serve(t, service)
	conversation, err := client.Process(metadata.AppendToOutgoingContext(t.Context(), wire.MetaLane, wire.LaneUnderstand,
		wire.MetaConfig, plan.Version(), wire.MetaEntry, "m", wire.MetaPath, "/v1/chat/completions", wire.MetaLength, "60"))
	require.NoError(t, err)
	require.NoError(t, conversation.Send(headers(false)))
	_, err = conversation.Recv()
	require.NoError(t, err)
	history, _ := service.Plans.(*extproc.History)
	for n := range 2 * extproc.Kept {
		history.Add(version(n))
	}
	require.Nil(t, history.Plan(plan.Version()))
	require.NoError(t, conversation.Send(body([]byte(`{"model":"m","messages":[{"role":"user","content":"Hello"}]}`))))
	answer, err := conversation.Recv()
	require.NoError(t, err)
	require.Nil(t, answer.GetImmediateResponse(), "%s", answer.GetImmediateResponse().GetBody())
	assert.Contains(t, string(answer.GetRequestBody().GetResponse().GetBodyMutation().GetBody()), "Be kind.")
}
