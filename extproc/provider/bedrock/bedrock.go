// Package bedrock is the form of Amazon Bedrock's runtime: a request in OpenAI's form
// becomes a call of Converse, ConverseStream or InvokeModel, and what Bedrock answers
// becomes an answer in OpenAI's form, event by event where it streams.
//
// The invariant: nothing that would change the answer is dropped in silence. A field
// is mapped, or it is known not to matter to the model, or the request is refused by
// the field's name. An answer that did not end as Bedrock ends one never looks
// complete: an error in the middle is an error event, and there is no [DONE] after it.
//
// Functions and values are for one request and one goroutine at a time; nothing is
// shared between requests. Shapes are those of
// https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html,
// API_runtime_ConverseStream.html and API_runtime_InvokeModel.html.
package bedrock

// Operation is one of Bedrock's runtime operations.
type Operation uint8

// The operations.
const (
	Converse       Operation = iota + 1 // POST /model/ID/converse
	ConverseStream                      // POST /model/ID/converse-stream: frames of application/vnd.amazon.eventstream
	Invoke                              // POST /model/ID/invoke: Titan's embeddings
)

// Form is the OpenAI endpoint whose form the client speaks.
type Form uint8

// The forms.
const (
	Chat        Form = iota + 1 // /v1/chat/completions
	Completions                 // /v1/completions
	Embeddings                  // /v1/embeddings
	Responses                   // /v1/responses
)

// Asked is what the answer's side has to know of the request. It has no part of the
// request's text.
type Asked struct {
	Operation    Operation `json:"operation"`
	Form         Form      `json:"form"`
	Model        string    `json:"model"` // as the client named it: answers carry it back
	Stream       bool      `json:"stream,omitempty"`
	IncludeUsage bool      `json:"includeUsage,omitempty"` // the client asked for a usage chunk at a stream's end
	Base64       bool      `json:"base64,omitempty"`       // embeddings: the client asked for encoding_format base64
	JSON         bool      `json:"json,omitempty"`         // response_format was made by a tool of ours: its input is the text
}

// Call is a request as Bedrock is to get it.
type Call struct {
	Path  string // with the model's id escaped as SigV4 signs it: "/model/…/converse"
	Body  []byte // JSON
	Asked Asked
}
