package bedrock

import (
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/fault"
)

// StreamType is the content type of what a Stream writes.
const StreamType = "text/event-stream"

// Header is one header of an answer.
type Header struct {
	Name, Value string
}

// Reply is a whole answer as the client is to get it.
type Reply struct {
	Status int
	Header []Header // content-type, and retry-after where it helps
	Body   []byte
	Usage  *Usage // nil if Bedrock did not say it
	Err    error  // why the answer is an error, for the log; nil if it is none
	Odd    string // a stop reason that is not known, for the log; it was told as a normal end
}

// Answer makes OpenAI's form of a whole answer: of Converse's and InvokeModel's, and of
// every operation's error before a stream has begun. header gives the value of a header
// of Bedrock's by its name in lower letters, empty if it is missing. The id is the
// request's, without a prefix.
//
// Only a 200 with everything that Bedrock's form must have becomes an answer; anything
// else is an error in OpenAI's form, whose status is its kind's.
func Answer(a Asked, status int, header func(name string) string, body []byte, now time.Time, id string) Reply {
	if status != http.StatusOK {
		return errorAnswer(status, header, body, now)
	}
	if !validJSON(body) {
		return failedReply(garbage("the body is not JSON"))
	}
	doc := gjson.ParseBytes(body)
	if name := doc.Get("Output.__type"); name.Exists() { // an error that calls itself a 200
		err, _ := refusalOf(name.String(), http.StatusNotFound, "")
		return failedReply(err)
	}
	if a.Operation == Invoke || a.Form == Embeddings {
		return embeddings(a, header, doc)
	}
	if a.Operation == ConverseStream {
		return failedReply(garbage("a stream was asked for, and this is none"))
	}
	t, err := readTurn(a, doc)
	if err != nil {
		return failedReply(err)
	}
	reply := answeredReply(t.render(a, newStamp(a, now, id)), t.usage)
	reply.Odd = t.odd
	return reply
}

func answeredReply(body []byte, used *Usage) Reply {
	return Reply{Status: http.StatusOK, Header: jsonHeader(), Body: body, Usage: used}
}

func failedReply(err *fault.Error) Reply {
	return Reply{Status: err.Kind.Status(), Header: jsonHeader(), Body: fault.OpenAI(err), Err: err}
}

func jsonHeader() []Header { return []Header{{Name: "content-type", Value: "application/json"}} }

// stamp is what every answer of a request carries, as JSON.
type stamp struct {
	id      []byte // the request's, escaped, without quotes
	model   []byte // with quotes
	created int64
}

func newStamp(a Asked, now time.Time, id string) stamp {
	return stamp{id: appendEscaped(nil, id), model: appendString(nil, a.Model), created: now.Unix()}
}

// render writes the turn in the form that was asked for.
func (t *turn) render(a Asked, s stamp) []byte {
	switch a.Form {
	case Completions:
		return t.completion(s)
	case Responses:
		return t.response(s)
	default:
		return t.chat(s)
	}
}
