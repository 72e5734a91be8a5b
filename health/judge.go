package health

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/postern-proxy/postern/fault"
)

// Judge says what an attempt means from what Envoy's log has of it: the status (0: no
// answer), the response flags by their short names ("UF,URX"), the response code
// details, and whether the client left before the end.
//
// A broken answer is a failure whatever its status was. Statuses between 400 and 499
// are the client's doing, but for those that speak of our credential (401, 403), of
// time (408), of the model (424) or of too much (429).
func Judge(status int, flags, details string, left bool) (Result, Class) {
	if left {
		return Ignored, Left
	}
	local, nowhere := false, false
	for flag := range strings.SplitSeq(flags, ",") {
		switch flag {
		case "LR":
			local = true // Envoy let go of it; another flag may say why
		case "NC", "UO", "DI", "FI", "OM", "DPE", "DT", "UMSDR":
			return Ignored, Ours
		case "DF":
			return Failed, DNS
		case "UH":
			nowhere = true // DF says more
		case "UF":
			return Failed, unconnected(details)
		case "UT", "SI":
			return Failed, Timeout
		case "UR", "UC":
			return Failed, Reset
		case "UPE":
			return Failed, Malformed
		}
	}
	switch {
	case nowhere:
		return Failed, NoHost
	case local && status == 0:
		return Ignored, Ours
	}
	return judgeStatus(status)
}

// unconnected tells the ways apart in which a connection is not made.
func unconnected(details string) Class {
	switch {
	case strings.Contains(details, "TLS_error"), strings.Contains(details, "CERTIFICATE"):
		return TLS
	case strings.Contains(details, "connection_timeout"):
		return Connect
	}
	return Refused
}

func judgeStatus(status int) (Result, Class) {
	switch {
	case status == 0:
		return Failed, Other
	case status >= 500:
		return Failed, Server
	case status == http.StatusUnauthorized:
		return Failed, BadKey
	case status == http.StatusForbidden:
		return Failed, Forbidden
	case status == http.StatusRequestTimeout:
		return Failed, Timeout
	case status == http.StatusFailedDependency:
		return Failed, Server // the model failed (Amazon Bedrock)
	case status == http.StatusTooManyRequests:
		return Limited, TooMany
	case status >= 400:
		return Ignored, Mistake
	case status >= 300:
		return Ignored, Other // a redirect, which is not followed
	}
	return Good, ""
}

// Broken says what an answer means that began well and ended with a failure of that kind
// (fault.Kind): what a status would have meant that says the same.
func Broken(kind string) (Result, Class) {
	switch kind {
	case fault.UpstreamGarbage.String():
		return Failed, Malformed
	case fault.UpstreamTimeout.String():
		return Failed, Timeout
	}
	for _, k := range fault.Kinds() {
		if k.String() == kind {
			return judgeStatus(k.Status())
		}
	}
	return Failed, Malformed
}

// RetryAfter reads the header's value: seconds or an HTTP date. 0 is that it says
// nothing that can be used; what is absurdly far is clipped by the Tracker.
func RetryAfter(value string, now time.Time) time.Duration {
	if value == "" { // nearly always
		return 0
	}
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		if math.IsNaN(seconds) || seconds <= 0 {
			return 0
		}
		return time.Duration(min(seconds, farAway.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, at.Sub(now)), farAway)
	}
	return 0
}

// farAway keeps sums of times within their type.
const farAway = 24 * time.Hour
