package bedrock_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
)

// code is the name of the exception the SDK understood.
func code(t *testing.T, err error) string {
	t.Helper()
	var refused smithy.APIError
	require.ErrorAs(t, err, &refused)
	return refused.ErrorCode()
}

func TestRefusesWhoMayNotCome(t *testing.T) {
	cases := map[string]struct {
		change func(*sdk.Options)
		server func(*fake.Server)
		want   string
		says   string
	}{
		"wrong secret":       {change: with(fake.Credential{ID: fake.Test.ID, Secret: "no"}), want: "InvalidSignatureException", says: "does not match"},
		"unknown key":        {change: with(fake.Credential{ID: "AKIAOTHER", Secret: "no"}), want: "UnrecognizedClientException"},
		"wrong region":       {change: func(o *sdk.Options) { o.Region = "eu-west-1" }, want: "InvalidSignatureException", says: "valid region"},
		"token nobody gave":  {change: with(fake.Credential{ID: fake.Test.ID, Secret: fake.Test.Secret, Token: "t"}), want: "UnrecognizedClientException"},
		"clock ahead":        {server: func(s *fake.Server) { s.Skew(-6 * time.Minute) }, want: "InvalidSignatureException", says: "not yet current"},
		"clock behind":       {server: func(s *fake.Server) { s.Skew(6 * time.Minute) }, want: "InvalidSignatureException", says: "Signature expired"},
		"clock nearly right": {server: func(s *fake.Server) { s.Skew(4 * time.Minute) }},
		"expired": {server: func(s *fake.Server) {
			s.Accept(fake.Credential{ID: fake.Test.ID, Secret: fake.Test.Secret, Expired: true})
		}, want: "ExpiredTokenException"},
		"denied": {server: func(s *fake.Server) {
			s.Accept(fake.Credential{ID: fake.Test.ID, Secret: fake.Test.Secret, Denied: true})
		}, want: "AccessDeniedException", says: "not authorized"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := fake.Start(t)
			if c.server != nil {
				c.server(server)
			}
			change := c.change
			if change == nil {
				change = func(*sdk.Options) {}
			}
			_, err := client(t, server, change).Converse(t.Context(), ask(claude, "x"))
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Equal(t, c.want, code(t, err))
			require.ErrorContains(t, err, c.says)
			assert.Contains(t, server.Last().Refusal, c.want)
		})
	}
}

func with(c fake.Credential) func(*sdk.Options) {
	return func(o *sdk.Options) { o.Credentials = holder(c) }
}

func TestSessionToken(t *testing.T) {
	session := fake.Credential{ID: "ASIAFAKE", Secret: "s", Token: "token/of+a=session"}
	server := fake.Start(t, fake.WithCredentials(session), fake.WithRegion("eu-central-1"))
	c := client(t, server, with(session), func(o *sdk.Options) { o.Region = "eu-central-1" })
	_, err := c.Converse(t.Context(), ask(claude, "x"))
	require.NoError(t, err)
	assert.Contains(t, server.Last().Signature.Headers, "x-amz-security-token")
}

const body = `{"messages":[{"role":"user","content":[{"text":"x"}]}]}`

// signed is a request signed for a path and a host as a proxy may sign it: content
// type, host and date alone.
func signed(t *testing.T, server *fake.Server, path string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL()+path, nil)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	sum := sha256.Sum256([]byte(body))
	credentials := aws.Credentials{AccessKeyID: fake.Test.ID, SecretAccessKey: fake.Test.Secret}
	require.NoError(t, v4.NewSigner().SignHTTP(context.Background(), credentials, request, hex.EncodeToString(sum[:]), "bedrock", fake.Region, time.Now()))
	request.Body, request.ContentLength = http.NoBody, 0
	return send(request, body)
}

func send(request *http.Request, body string) *http.Request {
	request.Body, request.ContentLength = readCloser{bytes.NewReader([]byte(body))}, int64(len(body))
	return request
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

func TestEveryByteIsSigned(t *testing.T) {
	path := "/model/" + claude + "/converse"
	for name, c := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"nothing changed":       {func(*http.Request) {}, 200},
		"a header of no weight": {func(r *http.Request) { r.Header.Set("X-Request-ID", "1") }, 200},
		"a byte of the body":    {func(r *http.Request) { send(r, strings.Replace(body, `"x"`, `"y"`, 1)) }, 403},
		"a space in the body":   {func(r *http.Request) { send(r, body+" ") }, 403},
		"another host":          {func(r *http.Request) { r.Host = "other.example" }, 403},
		"another operation":     {func(r *http.Request) { r.URL.Path += "-stream" }, 403},
		"another escape":        {func(r *http.Request) { r.URL.RawPath = strings.ReplaceAll(path, ":", "%3A") }, 403},
		"a query":               {func(r *http.Request) { r.URL.RawQuery = "a=b" }, 403},
		"a signed header":       {func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 403},
		"an AWS header more":    {func(r *http.Request) { r.Header.Set("X-Amz-Else", "1") }, 403},
		"no signature":          {func(r *http.Request) { r.Header.Del("Authorization") }, 403},
		"an OpenAI key":         {func(r *http.Request) { r.Header.Set("Authorization", "Bearer sk-1") }, 403},
		"half a signature":      {func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x") }, 403},
		"another service": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/bedrock/", "/s3/", 1))
		}, 403},
		"the host left out": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "host;", "", 1))
		}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			server := fake.Start(t)
			request := signed(t, server, path)
			c.change(request)
			response, err := httpClient(t, server).Do(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			assert.Equal(t, c.status, response.StatusCode, server.Last().Refusal)
			assert.Equal(t, c.status == 403, response.Header.Get("X-Amzn-Errortype") != "")
		})
	}
}

// TestPathsAsTheyCome: the id's colon and slashes are escaped by some and not by
// others; each signs what it sends.
func TestPathsAsTheyCome(t *testing.T) {
	server := fake.Start(t)
	for _, path := range []string{
		"/model/" + claude + "/converse",
		"/model/" + strings.ReplaceAll(claude, ":", "%3A") + "/converse",
		"/model/" + strings.ReplaceAll(profile, ":", "%3A") + "/converse",
		"/model/" + strings.NewReplacer(":", "%3A", "/", "%2F").Replace(profile) + "/converse",
	} {
		response, err := httpClient(t, server).Do(signed(t, server, path))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, 200, response.StatusCode, path+": "+server.Last().Refusal)
		assert.Equal(t, path, server.Last().Target)
		assert.Contains(t, []string{claude, profile}, server.Last().Model)
	}
}

func TestHostAndNoSignatures(t *testing.T) {
	server := fake.Start(t, fake.WithHost("bedrock-runtime.us-east-1.amazonaws.com"), fake.WithoutSignatures())
	request := signed(t, server, "/model/"+claude+"/converse")
	request.Header.Del("Authorization")
	for host, status := range map[string]int{"bedrock-runtime.us-east-1.amazonaws.com": 200, "gateway.local": 403} {
		request.Host = host
		response, err := httpClient(t, server).Do(send(request, body))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, status, response.StatusCode)
	}
}
