package ssm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsssm "github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
	"github.com/postern-proxy/postern/config/ssm"
)

// shelf is a Parameter Store in memory, so that an hour of it takes no time: it answers
// on the caller's own goroutine.
type shelf struct {
	mu       sync.Mutex
	values   map[string]string
	versions map[string]int64
	down     string // "", "away" or "throttling"
	asked    int
}

func (s *shelf) put(name, value string) {
	s.values[name] = value
	s.versions[name]++
}

// turn makes the store fail, or work again, and gives how often it was asked since.
func (s *shelf) turn(down string) (asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked = s.asked
	s.down, s.asked = down, 0
	return asked
}

func (s *shelf) Do(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if operation == "GetParameters" {
		s.asked++
	}
	switch s.down {
	case "away":
		return nil, errors.New("no route to host")
	case "throttling":
		return answer(http.StatusBadRequest, map[string]any{"__type": "ThrottlingException", "message": "Rate exceeded"}), nil
	}
	var asked struct {
		Name  string   `json:"Name"`
		Path  string   `json:"Path"`
		Value string   `json:"Value"`
		Names []string `json:"Names"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		return nil, err
	}
	parameter := func(name string) map[string]any {
		return map[string]any{"Name": name, "Value": s.values[name], "Version": s.versions[name]}
	}
	var found []any
	switch operation {
	case "PutParameter":
		s.put(asked.Name, asked.Value)
		return answer(http.StatusOK, map[string]any{"Version": s.versions[asked.Name]}), nil
	case "GetParameter":
		if s.versions[asked.Name] == 0 {
			return answer(http.StatusBadRequest, map[string]any{"__type": "ParameterNotFound"}), nil
		}
		return answer(http.StatusOK, map[string]any{"Parameter": parameter(asked.Name)}), nil
	case "GetParameters":
		for _, name := range asked.Names {
			if s.versions[name] > 0 {
				found = append(found, parameter(name))
			}
		}
	case "GetParametersByPath":
		for name := range s.values {
			if strings.HasPrefix(name, asked.Path+"/") {
				found = append(found, parameter(name))
			}
		}
	}
	return answer(http.StatusOK, map[string]any{"Parameters": found}), nil
}

func answer(status int, body any) *http.Response {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}},
		Body: io.NopCloser(bytes.NewReader(text)),
	}
}

// For an hour the store is away, or throttles: what is in force stays, it is said once,
// who is throttled asks less and less, and when it is over a change is seen as ever.
func TestParameterStoreIsAwayForAnHour(t *testing.T) {
	for down, test := range map[string]struct {
		says        string
		least, most int // looks in an hour
		back        time.Duration
	}{
		"away":       {"Parameter Store cannot be reached", 360, 450, ssm.DefaultPoll},
		"throttling": {"asks for fewer requests", 60, 80, time.Minute},
	} {
		t.Run(down, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shelf{values: map[string]string{}, versions: map[string]int64{}}
				store := &ssm.Store{Tree: set.Tree{Prefix: "/postern", Environment: "prod"}, Client: awsssm.NewFromConfig(sdk.Config{
					Region: "us-east-1", HTTPClient: s, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
					Retryer: func() sdk.Retryer {
						return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.RateLimiter = 1, ratelimit.None })
					},
				})}
				h := &house{t: t, store: store}
				h.push(limited("1/s"))
				source := &ssm.Source{Store: store, Env: config.Environment("."), Log: slog.New(slog.DiscardHandler)}
				told := make(chan news, 1000)
				source.Notify = func(c *config.Config, err error) error {
					told <- news{c, err}
					return nil
				}
				_, err := source.Open(t.Context())
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- source.Run(ctx) }()
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Empty(t, told)

				s.turn(down)
				time.Sleep(time.Hour)
				synctest.Wait()
				require.Len(t, told, 1, "it is said once")
				n := <-told
				require.ErrorContains(t, n.err, store.Tree.Active()+": ")
				require.ErrorContains(t, n.err, test.says)
				assert.Equal(t, 1, set.Number(source.Status().Set))
				assert.Contains(t, source.Status().Error, test.says)
				asked := s.turn("")
				assert.GreaterOrEqual(t, asked, test.least)
				assert.LessOrEqual(t, asked, test.most)
				h.push(limited("2/s"))
				over := time.Now()
				n = <-told
				require.NoError(t, n.err)
				assert.Equal(t, "2/s", rate(n.config))
				assert.LessOrEqual(t, time.Since(over), test.back)
				synctest.Wait()
				assert.Empty(t, source.Status().Error)
				h.push(limited("3/s"))
				over = time.Now()
				assert.Equal(t, "3/s", rate((<-told).config))
				assert.LessOrEqual(t, time.Since(over), ssm.DefaultPoll, "it asks as often as ever")
				cancel()
				require.NoError(t, <-ended)
			})
		})
	}
}
