package aws

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Kind is what goes wrong.
type Kind int

// The kinds of faults.
const (
	Throttle  Kind = iota // ThrottlingException
	Deny                  // AccessDeniedException
	Undecrypt             // the key that a SecureString was encrypted with is gone
	Keyless               // InvalidKeyId: the key was disabled
	Expire                // the credentials have expired
	Skew                  // the client's clock is wrong
	Forge                 // the signature is not the key's
	Break                 // InternalServerError
	Cut                   // the connection ends before the request is looked at
	Lose                  // the request is carried out, and its answer lost
	Slow                  // Delay passes first
)

// Fault is something that goes wrong with some requests.
type Fault struct {
	Kind      Kind
	Operation string        // "GetParameters"; "" is any
	Parameter string        // a piece of a name that the request has in it; "" is any
	Times     int           // how often; 0 is until Clear
	After     int           // how many such requests pass first
	Delay     time.Duration // of Slow
	Hook      func()        // called before, if set
}

// Server is the emulator as one test sees it.
type Server struct {
	URL string

	moto   string
	mu     sync.Mutex
	faults []*Fault
	calls  map[string]int
}

// Start starts the emulator, if no test has, and a proxy before it for this test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{moto: moto(t), calls: map[string]int{}}
	proxy := httptest.NewServer(s)
	t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
	})
	s.URL = proxy.URL
	return s
}

// Environment is what AWS's libraries need to find it: "NAME=value".
func (s *Server) Environment() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.URL, "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true",
	}
}

// Set gives this process that environment until the test ends.
func (s *Server) Set(t testing.TB) {
	t.Helper()
	for _, variable := range s.Environment() {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
}

// Fail adds a fault.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Clear takes all faults away.
func (s *Server) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Calls is how often an operation was asked for since the last call of Calls for it.
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer delete(s.calls, operation)
	return s.calls[operation]
}

// ServeHTTP passes a request on, or lets it fail.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	fault := s.next(operation, body)
	if fault != nil && fault.Hook != nil {
		fault.Hook()
	}
	switch {
	case fault == nil:
		s.pass(w, r, operation, body)
	case fault.Kind == Slow:
		select {
		case <-time.After(fault.Delay):
			s.pass(w, r, operation, body)
		case <-r.Context().Done():
		}
	case fault.Kind == Lose:
		s.pass(httptest.NewRecorder(), r, operation, body)
		panic(http.ErrAbortHandler)
	case fault.Kind == Cut:
		panic(http.ErrAbortHandler)
	default:
		refusals[fault.Kind].write(w)
	}
}

// next is the fault of a request, and counts it.
func (s *Server) next(operation string, body []byte) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[operation]++
	for i, f := range s.faults {
		about := (f.Operation == "" || f.Operation == operation) && bytes.Contains(body, []byte(f.Parameter))
		if f.Kind == Undecrypt || f.Kind == Keyless {
			about = about && bytes.Contains(body, []byte(`"WithDecryption":true`))
		}
		if !about {
			continue
		}
		if f.After > 0 {
			f.After--
			continue
		}
		if f.Times == 1 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		} else if f.Times > 1 {
			f.Times--
		}
		return f
	}
	return nil
}

// refusal is an error as AWS words it.
type refusal struct {
	status  int
	code    string
	message string
}

var refusals = map[Kind]refusal{
	Throttle:  {http.StatusBadRequest, "ThrottlingException", "Rate exceeded"},
	Deny:      {http.StatusBadRequest, "AccessDeniedException", "User: arn:aws:sts::123456789012:user/moto is not authorized to perform this operation"},
	Undecrypt: {http.StatusBadRequest, "AccessDeniedException", "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access."},
	Keyless:   {http.StatusBadRequest, "InvalidKeyId", "arn:aws:kms:us-east-1:123456789012:key/1 is disabled."},
	Expire:    {http.StatusBadRequest, "ExpiredTokenException", "The security token included in the request is expired"},
	Skew:      {http.StatusBadRequest, "InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than 20260101T002000Z (20260101T002500Z - 5 min.)"},
	Forge:     {http.StatusForbidden, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided."},
	Break:     {http.StatusInternalServerError, "InternalServerError", "An error occurred on the server side."},
}

func (r refusal) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Errortype", r.code)
	w.WriteHeader(r.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": r.code, "message": r.message})
}

// pass asks the emulator.
func (s *Server) pass(w http.ResponseWriter, r *http.Request, operation string, body []byte) {
	if no := refused(operation, body); no != nil {
		no.write(w)
		return
	}
	request, err := http.NewRequestWithContext(r.Context(), r.Method, s.moto+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	request.Header = r.Header.Clone()
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer response.Body.Close()
	for name, values := range response.Header {
		if name != "Connection" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}

// refused is what AWS says to a value that the emulator would take.
func refused(operation string, body []byte) *refusal {
	if operation != "PutParameter" {
		return nil
	}
	var put struct {
		Value string `json:"Value"`
		Tier  string `json:"Tier"`
	}
	if json.Unmarshal(body, &put) != nil {
		return nil
	}
	switch {
	case len(put.Value) > 8<<10 || put.Tier != "Advanced" && len(put.Value) > 4<<10:
		return &refusal{http.StatusBadRequest, "ValidationException", "Standard tier parameters support a maximum parameter value of 4096 characters."}
	case strings.Contains(put.Value, "{{") && strings.Contains(put.Value, "}}"):
		return &refusal{http.StatusBadRequest, "ValidationException", "Parameter value can't nest another parameter. Do not use \"{{}}\" in the value."}
	}
	return nil
}
