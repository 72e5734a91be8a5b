// Package fault is the one vocabulary of failure in Postern: an error has a kind
// for machines, an operation for whoever debugs it, and a message that is safe to
// show to a client.
//
// The invariant: the text of Message never holds a secret, a path of this machine
// or another error's words, because it crosses the wire; the cause may, because it
// only reaches the log. Every mapping from a kind to a protocol stands in the one
// table of table.go.
//
// All functions are pure and safe for concurrent use.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an error is.
type Kind uint8

// The kinds. The zero value is Internal, so that an error nobody classified is
// never shown as the client's own mistake.
const (
	Internal            Kind = iota // a defect of ours
	InvalidRequest                  // the request cannot be understood
	InvalidKey                      // no key, or one that is wrong, expired or revoked
	Forbidden                       // a good key without the right to do this
	ModelNotFound                   // no such model, or none of its providers is usable
	UnknownPath                     // no such endpoint
	MethodNotAllowed                // the endpoint exists, not with this method
	BodyTooLarge                    // the body is over the limit
	RateLimited                     // a bucket is empty
	UpstreamRefused                 // the provider could not be reached, or broke off
	UpstreamGarbage                 // the provider answered something that is not HTTP or not its own form
	UpstreamTimeout                 // the provider took too long
	Unavailable                     // a part of the gate is away or full
	RequestTimeout                  // the client took too long to send its request
	UnsupportedEncoding             // a content-encoding that is not understood
	UpstreamFailed                  // the provider says that it failed itself
	UpstreamRefusal                 // the provider refused, and nothing of that can be passed on
	kindCount
)

// Error is a failure with its kind.
type Error struct {
	Op      string // what was being done: "config.Load", "xds.Build"
	Kind    Kind
	Message string // for the client: one sentence, no secrets
	Param   string // the request field at fault, where there is one
	Cause   error  // for the log only
}

// Error gives the operation, the message and the cause: for logs, not for clients.
func (e *Error) Error() string {
	text := e.Message
	if text == "" {
		text = e.Kind.String()
	}
	if e.Op != "" {
		text = e.Op + ": " + text
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New makes an error of a kind with a message for the client.
func New(op string, kind Kind, format string, args ...any) *Error {
	return &Error{Op: op, Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// ModelMissing is the refusal of a request whose model could not be read. It is
// said from two places, by Envoy and by Postern itself.
func ModelMissing() *Error {
	return &Error{
		Kind: InvalidRequest, Param: "model",
		Message: `The body must be one JSON object with a string "model", sent with content-type: application/json.`,
	}
}

// What is said of a provider from two places, by Envoy and by the translation of a
// provider's own form.
const (
	MessageKeyRefused = "The model's provider refused the gateway's own credentials. The key of this request is not at fault; the gateway's operator has to act."
	MessageBusy       = "The model's provider limits how much is asked of it. Try again later."
)

// KeyRefused is a provider's refusal of our own credential.
func KeyRefused() *Error { return &Error{Kind: UpstreamRefused, Message: MessageKeyRefused} }

// Busy is a provider that limits us.
func Busy() *Error { return &Error{Kind: RateLimited, Message: MessageBusy} }

// Wrap adds an operation and a kind to a cause. It gives nil for a nil cause.
func Wrap(op string, kind Kind, cause error) error {
	if cause == nil {
		return nil
	}
	return &Error{Op: op, Kind: kind, Cause: cause}
}

// KindOf is the kind of the outermost Error in the chain; Internal if there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
