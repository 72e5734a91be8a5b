package bedrock

import (
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/fault"
)

// refusal is how one of Bedrock's errors is told to the client. Where it has no
// message, the kind's own sentence is told.
type refusal struct {
	kind    fault.Kind
	message string
	pass    bool // Bedrock's own message is about the client's request, and is told
	wait    int  // seconds to try again after, where Bedrock said none
}

// The messages of what is the gateway's or the provider's matter: they name no
// account, role or model of the provider's, and do not make a client doubt its key.
const (
	msgThrottled    = fault.MessageBusy
	msgQuota        = "The model's provider has no quota left for this model. Try again later."
	msgNotReady     = "The model is being made ready by its provider. Try again shortly."
	msgNoModel      = "The model's provider does not offer this model as it was asked for."
	msgRefusedUs    = fault.MessageKeyRefused
	msgModelFailed  = "The model failed while it worked on this request."
	msgUnavailable  = "The model's provider is not available for the moment. Try again shortly."
	msgUncarriable  = "The model answered with a kind of content that this endpoint cannot carry."
	msgMalformed    = "The model's answer was malformed, as its provider says."
	msgSelfConflict = "The model's provider sent an answer that contradicts itself."
)

// refusals is every error of Bedrock's runtime and of the front that checks
// signatures, by its name in lower letters without "exception"
// (https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html).
var refusals = map[string]refusal{
	"throttling":            {kind: fault.RateLimited, message: msgThrottled},
	"throttled":             {kind: fault.RateLimited, message: msgThrottled},
	"toomanyrequests":       {kind: fault.RateLimited, message: msgThrottled},
	"requestlimitexceeded":  {kind: fault.RateLimited, message: msgThrottled},
	"servicequotaexceeded":  {kind: fault.RateLimited, message: msgQuota},
	"modelnotready":         {kind: fault.RateLimited, message: msgNotReady, wait: 5},
	"validation":            {kind: fault.InvalidRequest, pass: true},
	"validationerror":       {kind: fault.InvalidRequest, pass: true},
	"serialization":         {kind: fault.InvalidRequest, pass: true},
	"conflict":              {kind: fault.InvalidRequest, pass: true},
	"requestentitytoolarge": {kind: fault.BodyTooLarge},
	"resourcenotfound":      {kind: fault.ModelNotFound, message: msgNoModel},
	"unknownoperation":      {kind: fault.UpstreamGarbage},

	"accessdenied":               {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"unrecognizedclient":         {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"expiredtoken":               {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"requestexpired":             {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"invalidsignature":           {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"signaturedoesnotmatch":      {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"incompletesignature":        {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"missingauthenticationtoken": {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"invalidclienttokenid":       {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"invalidtoken":               {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"notauthorized":              {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"optinrequired":              {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"subscriptionrequired":       {kind: fault.UpstreamRefused, message: msgRefusedUs},
	"modelerror":                 {kind: fault.UpstreamRefused, message: msgModelFailed},
	"modelstreamerror":           {kind: fault.UpstreamRefused, message: msgModelFailed},
	"modeltimeout":               {kind: fault.UpstreamTimeout},
	"requesttimeout":             {kind: fault.UpstreamTimeout},
	"internalserver":             {kind: fault.UpstreamFailed},
	"internalservererror":        {kind: fault.UpstreamFailed},
	"internalfailure":            {kind: fault.UpstreamFailed},
	"serviceunavailable":         {kind: fault.Unavailable, message: msgUnavailable},
}

// byStatus is for an error whose name is missing or not known.
func byStatus(status int) refusal {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return refusal{kind: fault.InvalidRequest, pass: true}
	case http.StatusUnauthorized, http.StatusForbidden:
		return refusal{kind: fault.UpstreamRefused, message: msgRefusedUs}
	case http.StatusNotFound:
		return refusal{kind: fault.ModelNotFound, message: msgNoModel}
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return refusal{kind: fault.UpstreamTimeout}
	case http.StatusRequestEntityTooLarge:
		return refusal{kind: fault.BodyTooLarge}
	case http.StatusFailedDependency:
		return refusal{kind: fault.UpstreamRefused, message: msgModelFailed}
	case http.StatusTooManyRequests:
		return refusal{kind: fault.RateLimited, message: msgThrottled}
	case http.StatusBadGateway:
		return refusal{kind: fault.UpstreamRefused}
	case http.StatusServiceUnavailable:
		return refusal{kind: fault.Unavailable, message: msgUnavailable}
	case http.StatusInternalServerError:
		return refusal{kind: fault.UpstreamFailed}
	default:
		return refusal{kind: fault.UpstreamGarbage}
	}
}

// refusalOf is an error of Bedrock's, given its name, as the header, the body or a
// frame has it, the status (0 in a frame) and Bedrock's own message.
func refusalOf(name string, status int, said string) (*fault.Error, refusal) {
	row, known := refusals[exception(name)]
	if !known && status == 0 {
		row = refusal{kind: fault.UpstreamRefused, message: msgModelFailed}
	} else if !known {
		row = byStatus(status)
	}
	said = scrub(said)
	if row.pass {
		row.message = said
		if aboutModel(said) {
			row = refusal{kind: fault.ModelNotFound, message: msgNoModel}
		}
	}
	cause := "Bedrock said " + scrub(name)
	if status != 0 {
		cause += " with status " + strconv.Itoa(status)
	}
	if said != "" {
		cause += ": " + said
	}
	return &fault.Error{Op: "bedrock", Kind: row.kind, Message: row.message, Cause: errors.New(cause)}, row
}

// exception is an error's bare name: "com.amazon…#ThrottlingException:http://…" and
// "throttlingException" are both "throttling".
func exception(name string) string {
	name, _, _ = strings.Cut(name, ":")
	name = name[strings.LastIndexAny(name, "#/")+1:]
	return strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), "exception")
}

// aboutModel says that a validation failed by the name of the model, which is the
// gateway's and not the client's.
func aboutModel(said string) bool {
	said = strings.ToLower(said)
	return strings.Contains(said, "model identifier is invalid") ||
		strings.Contains(said, "on-demand throughput")
}

// mostSaid is how much of Bedrock's own message is told.
const mostSaid = 600

// What a message may hold that is the operator's: names of AWS resources with their
// account, accounts, and ids of access keys.
var operatorsOwn = regexp.MustCompile(`arn:aws[^\s"'<>,;)]*|\b[0-9]{12}\b|\b(?:AKIA|ASIA)[A-Z0-9]{8,}\b`)

// scrub makes Bedrock's own text one that may be shown: no control characters, nothing
// of the operator's, and not long.
func scrub(text string) string {
	if len(text) > 4*mostSaid {
		text = text[:4*mostSaid]
	}
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	text = operatorsOwn.ReplaceAllString(text, "(hidden)")
	if len(text) <= mostSaid {
		return text
	}
	end := mostSaid
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// errorAnswer is an answer of Bedrock's that is an error.
func errorAnswer(status int, header func(string) string, body []byte, now time.Time) Reply {
	name, said := header("x-amzn-errortype"), ""
	if validJSON(body) {
		doc := gjson.ParseBytes(body)
		if name == "" {
			name = firstText(doc, "__type", "code", "Output.__type")
		}
		said = firstText(doc, "message", "Message", "errorMessage")
	}
	err, row := refusalOf(name, status, said)
	reply := failedReply(err)
	if after := retryAfter(header("retry-after"), now, row.wait); after != "" {
		reply.Header = append(reply.Header, Header{Name: "retry-after", Value: after})
	}
	return reply
}

// firstText is the first of the texts that is there.
func firstText(doc gjson.Result, paths ...string) string {
	for _, path := range paths {
		if v := doc.Get(path); v.Type == gjson.String && v.Str != "" {
			return v.Str
		}
	}
	return ""
}

// retryAfter is retry-after in seconds, of a number or a date; otherwise in seconds if it is
// not 0.
func retryAfter(value string, now time.Time, otherwise int) string {
	const longest = 24 * 60 * 60
	value = strings.TrimSpace(value)
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return strconv.FormatUint(min(n, longest), 10)
	}
	if at, err := http.ParseTime(value); err == nil {
		seconds := int64((at.Sub(now) + time.Second - 1) / time.Second)
		return strconv.FormatInt(min(max(seconds, 0), longest), 10)
	}
	if otherwise > 0 {
		return strconv.Itoa(otherwise)
	}
	return ""
}

// garbage is an answer that is not in Bedrock's own form; why is for the log.
func garbage(why string) *fault.Error {
	return &fault.Error{Op: "bedrock", Kind: fault.UpstreamGarbage, Cause: errors.New(why)}
}

func uncarriable(what string) *fault.Error {
	err := garbage("content of the kind " + scrub(what))
	err.Message = msgUncarriable
	return err
}
