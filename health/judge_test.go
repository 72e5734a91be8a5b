package health

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestJudge(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		flags   string
		details string
		left    bool
		result  Result
		class   Class
	}{
		"fine":                      {status: 200, result: Good},
		"the client left":           {status: 200, flags: "DC", left: true, result: Ignored, class: Left},
		"left before an answer":     {flags: "DC,UR", left: true, result: Ignored, class: Left},
		"refused":                   {status: 503, flags: "UF,URX", details: "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}", result: Failed, class: Refused},
		"connected too slowly":      {status: 503, flags: "UF", details: "upstream_reset_before_response_started{connection_timeout}", result: Failed, class: Connect},
		"a bad certificate":         {status: 503, flags: "UF", details: "upstream_reset_before_response_started{remote_connection_failure|TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end}", result: Failed, class: TLS},
		"no name":                   {status: 503, flags: "UH,DF", result: Failed, class: DNS},
		"ejected":                   {status: 503, flags: "UH", result: Failed, class: NoHost},
		"no address":                {status: 503, flags: "DF", result: Failed, class: DNS},
		"no first byte":             {status: 504, flags: "UT", result: Failed, class: Timeout},
		"stalled":                   {status: 200, flags: "SI", result: Failed, class: Timeout},
		"cut":                       {status: 200, flags: "UC", result: Failed, class: Reset},
		"reset":                     {flags: "UR", result: Failed, class: Reset},
		"not HTTP":                  {status: 502, flags: "UPE", result: Failed, class: Malformed},
		"let go by Envoy":           {flags: "LR", result: Ignored, class: Ours},
		"let go after the timeout":  {status: 504, flags: "UT,LR", result: Failed, class: Timeout},
		"a circuit breaker of ours": {status: 503, flags: "UO", result: Ignored, class: Ours},
		"no cluster":                {status: 503, flags: "NC", result: Ignored, class: Ours},
		"it failed":                 {status: 500, result: Failed, class: Server},
		"overloaded":                {status: 529, result: Failed, class: Server},
		"a bad key":                 {status: 401, result: Failed, class: BadKey},
		"no right":                  {status: 403, result: Failed, class: Forbidden},
		"it waited too long":        {status: 408, result: Failed, class: Timeout},
		"too many":                  {status: 429, result: Limited, class: TooMany},
		"a bad request":             {status: 400, result: Ignored, class: Mistake},
		"no such model":             {status: 404, result: Ignored, class: Mistake},
		"elsewhere":                 {status: 307, result: Ignored, class: Other},
		"nothing at all":            {result: Failed, class: Other},
	} {
		t.Run(name, func(t *testing.T) {
			result, class := Judge(test.status, test.flags, test.details, test.left)
			assert.Equal(t, test.result.String(), result.String())
			assert.Equal(t, test.class, class)
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		" 7 ":                           7 * time.Second,
		"0.5":                           500 * time.Millisecond,
		"0":                             0,
		"-1":                            0,
		"NaN":                           0,
		"Inf":                           farAway,
		"1e300":                         farAway,
		"99999999999999999999":          farAway,
		"soon":                          0,
		"Sun, 01 Mar 2026 12:00:30 GMT": 30 * time.Second,
		"Sun, 01 Mar 2026 11:00:00 GMT": 0,
		"Fri, 01 Mar 2999 12:00:00 GMT": farAway,
		"2026-03-01T12:00:30Z":          0,
	} {
		assert.Equal(t, want, RetryAfter(value, now), "%q", value)
	}
}
