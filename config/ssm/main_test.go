package ssm_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsssm "github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
	"github.com/postern-proxy/postern/config/ssm"
	"github.com/postern-proxy/postern/test/fake/aws"
)

func TestMain(m *testing.M) {
	code := m.Run()
	aws.Stop()
	if code == 0 {
		if err := goleak.Find(goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

const secretValue = "sk-secret-value"

var environments atomic.Int64

// house is an environment of its own in the emulator.
type house struct {
	t         *testing.T
	aws       *aws.Server
	store     *ssm.Store
	impatient atomic.Bool // the store's client waits for no answer that is slow
	first     string      // the set that a test began with
}

func newHouse(t *testing.T) *house {
	t.Helper()
	server := aws.Start(t)
	tree := set.Tree{Prefix: "/postern", Environment: fmt.Sprintf("e%d", environments.Add(1))}
	h := &house{t: t, aws: server}
	h.store = h.newStore(tree)
	return h
}

// client is an AWS library's: on a busy machine the emulator takes its time, and a test
// of no answer at all has none.
type client struct {
	patient, impatient *awshttp.BuildableClient
	which              *atomic.Bool
}

func (c client) Do(r *http.Request) (*http.Response, error) {
	if c.which.Load() {
		return c.impatient.Do(r)
	}
	return c.patient.Do(r)
}

// newStore is a store that tries again at once, so that tests of outages are short.
func (h *house) newStore(tree set.Tree) *ssm.Store {
	c := client{
		patient:   awshttp.NewBuildableClient().WithTimeout(time.Minute),
		impatient: awshttp.NewBuildableClient().WithTimeout(time.Second),
		which:     &h.impatient,
	}
	h.t.Cleanup(c.patient.GetTransport().CloseIdleConnections)
	h.t.Cleanup(c.impatient.GetTransport().CloseIdleConnections)
	return &ssm.Store{Tree: tree, Client: awsssm.NewFromConfig(sdk.Config{
		Region: "us-east-1", BaseEndpoint: &h.aws.URL, HTTPClient: c,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		Retryer: func() sdk.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff, o.RateLimiter = 3, time.Millisecond, ratelimit.None
			})
		},
	})}
}

func (h *house) put(name, value string, kind types.ParameterType) {
	h.t.Helper()
	overwrite := true
	_, err := h.store.Client.PutParameter(h.t.Context(), &awsssm.PutParameterInput{Name: &name, Value: &value, Type: kind, Overwrite: &overwrite})
	require.NoError(h.t, err)
}

// secret writes the one that documents here refer to.
func (h *house) secret(value string) {
	h.t.Helper()
	h.put(h.store.Tree.Secret("cloud"), value, types.ParameterTypeSecureString)
}

func (h *house) remove(name string) {
	h.t.Helper()
	_, err := h.store.Client.DeleteParameter(h.t.Context(), &awsssm.DeleteParameterInput{Name: &name})
	require.NoError(h.t, err)
}

// exists are the parameters below a folder.
func (h *house) exists(folder string) []string {
	h.t.Helper()
	var names []string
	recursive := true
	pages := awsssm.NewGetParametersByPathPaginator(h.store.Client, &awsssm.GetParametersByPathInput{Path: &folder, Recursive: &recursive})
	for pages.HasMorePages() {
		page, err := pages.NextPage(h.t.Context())
		require.NoError(h.t, err)
		for _, p := range page.Parameters {
			names = append(names, *p.Name)
		}
	}
	return names
}

func parts(t *testing.T, text string) []set.Part {
	t.Helper()
	all, err := set.Split([]byte(text))
	require.NoError(t, err)
	return all
}

// push puts a document in force over what is.
func (h *house) push(text string) set.Record {
	h.t.Helper()
	record, err := h.try(text)
	require.NoError(h.t, err)
	return record
}

func (h *house) try(text string) (set.Record, error) {
	state, old := h.state()
	return h.store.Put(h.t.Context(), state, old, draft(parts(h.t, text)))
}

func draft(parts []set.Part) ssm.Draft {
	return ssm.Draft{Kind: "push", Parts: parts, What: "test", Author: ssm.Author{By: "somebody", Host: "here"}, Now: time.Now()}
}

func (h *house) state() (ssm.State, *ssm.Set) {
	h.t.Helper()
	state, err := h.store.Active(h.t.Context())
	if err != nil {
		require.ErrorIs(h.t, err, ssm.ErrNothing)
		return state, nil
	}
	old, err := h.store.Read(h.t.Context(), state.Set, nil)
	require.NoError(h.t, err)
	return state, old
}

// limited is a document whose limit tells versions apart.
func limited(rate string) string {
	return `
providers:
  demo: {schema: openai, builtin: demo}
  cloud: {schema: openai, url: "https://x.example/v1", key: "ssm:cloud"}
models:
  "*": {route: [[{provider: demo}]]}
tiers: {default: {requests: ` + rate + "}}\n"
}

// many is a document of n models.
func many(n int) string {
	var b strings.Builder
	b.WriteString("providers: {demo: {schema: openai, builtin: demo}}\nmodels:\n")
	for i := range n {
		fmt.Fprintf(&b, "  m%d: {route: [[{provider: demo}]]}\n", i)
	}
	return b.String()
}

// news is one call of Notify.
type news struct {
	config *config.Config
	err    error
}

func (h *house) source(folder string) *ssm.Source {
	return &ssm.Source{
		Store: h.store, Env: config.Environment("."), Log: slog.New(slog.DiscardHandler), Poll: 10 * time.Millisecond,
		Copy: ssm.Copy{Folder: folder, Secrets: true},
	}
}

// follow opens and runs a source and gives what it tells.
func (h *house) follow(s *ssm.Source) (first *config.Config, told <-chan news) {
	h.t.Helper()
	first, err := s.Open(h.t.Context())
	require.NoError(h.t, err)
	return first, h.run(s)
}

func (h *house) run(s *ssm.Source) <-chan news {
	told := make(chan news, 1000)
	if s.Notify == nil {
		s.Notify = func(c *config.Config, err error) error {
			told <- news{c, err}
			return nil
		}
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	h.t.Cleanup(func() {
		cancel()
		require.NoError(h.t, <-ended)
	})
	return told
}

func next(t *testing.T, told <-chan news) news {
	t.Helper()
	select {
	case n := <-told:
		return n
	case <-time.After(2 * time.Minute): // a look may take 45 seconds, on a busy machine more
		require.Fail(t, "nothing was told")
		return news{}
	}
}

func rate(c *config.Config) string { return c.Tiers[config.DefaultTier].Requests.String() }
