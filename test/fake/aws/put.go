package aws

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// Put writes a parameter, whatever is there and whatever fails at the time.
func (s *Server) Put(t testing.TB, name, value string, secure bool) {
	t.Helper()
	kind := "String"
	if secure {
		kind = "SecureString"
	}
	body, err := json.Marshal(map[string]any{"Name": name, "Value": value, "Type": kind, "Overwrite": true})
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPost, s.moto, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("X-Amz-Target", "AmazonSSM.PutParameter")
	// The emulator chooses the service and the region by what stands in here.
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ssm/aws4_request, SignedHeaders=host, Signature=none")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		t.Fatalf("the emulator refuses %s: %s", name, text)
	}
}
