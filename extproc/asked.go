package extproc

import (
	"context"
	"slices"

	"github.com/postern-proxy/postern/extproc/body"
	"github.com/postern-proxy/postern/fault"
)

// AskUsage has a stream say its tokens, whether the client asked for that or not:
// stream_options.include_usage is set. Where the client did not ask, the request is
// marked, and Envoy takes the chunk out of the answer again. Other endpoints, and
// answers that are no streams, say their tokens anyhow.
type AskUsage struct{}

var _ Stage = AskUsage{}

// Name is "usage".
func (AskUsage) Name() string { return "usage" }

var includeUsage = []byte(`"include_usage":true`)

// Apply adds the edit.
func (AskUsage) Apply(_ context.Context, r *Request) error {
	if r.Endpoint != Chat && r.Endpoint != Completions {
		return nil
	}
	stream, there := r.Fields.Find("stream")
	if !there || r.Body[stream.Start] != 't' { // true; what is no boolean is the provider's to judge
		return nil
	}
	options, there := r.Fields.Find("stream_options")
	if !there {
		with := append([]byte(`,"stream_options":{`), includeUsage...)
		r.Edit(body.Edit{Start: stream.End, End: stream.End, With: append(with, '}')})
		r.Strip = true
		return nil
	}
	return askIn(r, options)
}

// askIn sets include_usage in options that the client gave.
func askIn(r *Request, options body.Field) error {
	raw := options.Raw(r.Body)
	if raw[0] == 'n' { // null is as good as none
		with := append(append([]byte{'{'}, includeUsage...), '}')
		r.Edit(body.Edit{Start: options.Start, End: options.End, With: with})
		r.Strip = true
		return nil
	}
	own, err := body.Scan(raw)
	if err != nil {
		return &fault.Error{
			Op: "extproc.usage", Kind: fault.InvalidRequest, Param: "stream_options", Message: `"stream_options" must be an object.`,
		}
	}
	asked, there := own.Find("include_usage")
	switch {
	case !there:
		with := includeUsage
		if len(own) > 0 {
			with = append(slices.Clip(with), ',')
		}
		r.Edit(body.Edit{Start: options.Start + 1, End: options.Start + 1, With: with})
	case raw[asked.Start] == 't':
		return nil // the client wants it
	default:
		r.Edit(body.Edit{Start: options.Start + asked.Start, End: options.Start + asked.End, With: []byte("true")})
	}
	r.Strip = true
	return nil
}
