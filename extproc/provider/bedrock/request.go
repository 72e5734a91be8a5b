package bedrock

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/extproc/body"
	"github.com/postern-proxy/postern/fault"
)

// Settings are what the operator configured for a provider.
type Settings struct {
	// Fields are top-level fields of a request that travel to the model as they are,
	// in additionalModelRequestFields: "top_k". A field that this package maps is
	// mapped all the same.
	Fields []string
	// Images fetches a remote image_url and gives the image's bytes. It must guard
	// what it connects to. Where it is nil, a remote image_url is refused.
	Images func(url string) ([]byte, error)
}

// Input is a client's request, and the model that is to answer it.
type Input struct {
	Path     string // the client's: "/v1/chat/completions", perhaps with a query
	Body     []byte // JSON; it is not changed and not kept
	Model    string // the provider's id of the model, or an ARN
	Settings Settings
}

// Request is a client's request as a call of Bedrock. Its errors are *fault.Error:
// of kind InvalidRequest with Param naming the field, for whatever in the request
// cannot be had from this model; of kind UnknownPath for another endpoint; and those
// of Settings.Images.
func Request(in Input) (Call, error) {
	return Read(in.Path, in.Body).call(in.Model, in.Settings, false)
}

// Reading is a client's request that may be asked of several models. What is the same for
// all of them is looked at once. It is for one goroutine.
type Reading struct {
	read   func(*request) (Call, *mistake)
	text   string
	fields body.Fields
	err    error
	images map[string]picture // of data URLs, by the URL as it is written
}

// Read begins to read a client's request. What is wrong with it is said by Check.
func Read(path string, text []byte) *Reading {
	r := &Reading{read: readerOf(path)}
	if r.read == nil {
		r.err = fault.New("bedrock.Request", fault.UnknownPath, "The model's provider has no such endpoint.")
		return r
	}
	fields, err := body.Scan(text)
	if err != nil {
		message := err.Error()
		r.err = fault.New("bedrock.Request", fault.InvalidRequest, "%s.", strings.ToUpper(message[:1])+message[1:])
		return r
	}
	r.text, r.fields = string(text), fields
	return r
}

// Check says what Request would say of the same request, but makes no call: what the
// client wrote is looked at where it lies, however long it is.
func (r *Reading) Check(model string, settings Settings) error {
	_, err := r.call(model, settings, true)
	return err
}

func (r *Reading) call(model string, settings Settings, dry bool) (Call, error) {
	if model == "" {
		return Call{}, fault.New("bedrock.Request", fault.Internal, "")
	}
	if r.err != nil {
		return Call{}, r.err
	}
	one := &request{text: r.text, fields: r.fields, model: identify(model), settings: settings, dry: dry, reading: r}
	entry := one.get("model")
	if entry.Type != gjson.String {
		return Call{}, fault.ModelMissing()
	}
	one.asked.Model = entry.Str
	call, m := r.read(one)
	if m != nil {
		return Call{}, m.fault()
	}
	return call, nil
}

// readerOf is what reads the form of a path; nil for a path of no form.
func readerOf(path string) func(*request) (Call, *mistake) {
	path, _, _ = strings.Cut(path, "?")
	switch {
	case strings.HasSuffix(path, "/chat/completions"):
		return (*request).chat
	case strings.HasSuffix(path, "/completions"):
		return (*request).completion
	case strings.HasSuffix(path, "/embeddings"):
		return (*request).embedding
	case strings.HasSuffix(path, "/responses"):
		return (*request).response
	}
	return nil
}

// request is a request that is being read.
type request struct {
	text     string // the body, which body.Scan accepted
	fields   body.Fields
	model    model
	settings Settings
	asked    Asked
	extra    members // of additionalModelRequestFields
	dry      bool    // nobody wants the call, only whether there is one
	reading  *Reading
}

// get is a field of the top level; one that is absent or null has type Null.
func (r *request) get(name string) gjson.Result {
	field, there := r.fields.Find(name)
	if !there {
		return gjson.Result{}
	}
	return r.value(field)
}

func (r *request) value(field body.Field) gjson.Result {
	return gjson.Parse(r.text[field.Start:field.End])
}

// members are members of a JSON object, without its braces.
type members []byte

// add adds a member. name needs no escaping, value is JSON.
func (m *members) add(name, value string) {
	*m = slices.Grow(*m, len(name)+len(value)+4)
	if len(*m) > 0 {
		*m = append(*m, ',')
	}
	*m = append(*m, '"')
	*m = append(*m, name...)
	*m = append(*m, `":`...)
	*m = append(*m, value...)
}
