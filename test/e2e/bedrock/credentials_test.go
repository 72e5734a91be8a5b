package bedrock_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/gate"
)

// session is a role's credential, whose token is sent and signed as well.
var session = fake.Credential{ID: "ASIAFAKEFAKEFAKEFAKE", Secret: "another/secret", Token: "a session's token"}

// TestTheChainOfCredentials: Envoy finds what AWS's default chain has, where that can be
// had without AWS. What is only to be had from there, a web identity's STS and an
// instance's role, has no address that a test could give it.
func TestTheChainOfCredentials(t *testing.T) {
	for name, environment := range map[string]func(t *testing.T) []string{
		"environment": func(*testing.T) []string { return credentials(session) },
		"profile":     profile,
		"container":   container,
	} {
		t.Run(name, func(t *testing.T) {
			server := fake.Start(t, fake.WithCredentials(session))
			g := gate.Start(t, gate.Settings{
				Config: "listen: {address: \"{{address}}\"}\nproviders:\n  aws: {schema: bedrock, region: us-east-1, url: \"" + server.URL() + "\"}\nmodels:\n" + only("haiku", claude),
				Env:    append(environment(t), "AWS_EC2_METADATA_DISABLED=true"),
			})
			require.Eventually(t, func() bool { // those of a container are fetched
				r, text := g.Chat(t.Context(), t, "haiku")
				t.Log(r.StatusCode, text)
				return r.StatusCode == http.StatusOK
			}, 20*time.Second, 100*time.Millisecond)
			signed := server.Last().Signature
			assert.Contains(t, signed.Headers, "x-amz-security-token")
			assert.NotContains(t, g.EnvoyLog()+g.Output(), session.Secret)
			assert.NotContains(t, g.EnvoyLog()+g.Output(), session.Token)
		})
	}
}

// profile is a named profile of a shared file, beside another that nobody accepts.
func profile(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "credentials")
	require.NoError(t, os.WriteFile(file, []byte("[default]\naws_access_key_id = AKIAWRONG\naws_secret_access_key = wrong\n\n"+
		"[billing]\naws_access_key_id = "+session.ID+"\naws_secret_access_key = "+session.Secret+"\naws_session_token = "+session.Token+"\n"), 0o600))
	return []string{"AWS_SHARED_CREDENTIALS_FILE=" + file, "AWS_PROFILE=billing"}
}

// container is the endpoint that a container is told of, as on ECS and EKS.
func container(t *testing.T) []string {
	t.Helper()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/credentials" || r.Header.Get("Authorization") != "container-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"AccessKeyId": session.ID, "SecretAccessKey": session.Secret, "Token": session.Token,
			"Expiration": time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05Z"),
		})
	}))
	t.Cleanup(func() {
		server.Close()
		assert.Positive(t, asked.Load(), "it was asked")
	})
	return []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + server.URL + "/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN=container-token"}
}
