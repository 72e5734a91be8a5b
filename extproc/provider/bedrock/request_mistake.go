package bedrock

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/fault"
)

// mistake is what cannot be had from this model, and where the request asks for it.
// The place grows as it is handed up, so that nothing is written for a request that
// is right.
type mistake struct {
	where string // ".function.name", "[3].content"
	what  string // "must be a string": without a word of the client's own
	kind  fault.Kind
	cause error
}

func is(what string) *mistake { return &mistake{what: what, kind: fault.InvalidRequest} }

// field says that the value is a member.
func (m *mistake) field(name string) *mistake {
	m.where = "." + name + m.where
	return m
}

// item says that the value is an element.
func (m *mistake) item(i int) *mistake {
	m.where = "[" + strconv.Itoa(i) + "]" + m.where
	return m
}

func (m *mistake) fault() *fault.Error {
	param := strings.TrimPrefix(m.where, ".")
	message := "A field of the request " + m.what + "."
	if param != "" {
		message = `"` + param + `" ` + m.what + "."
	}
	return &fault.Error{Op: "bedrock.Request", Kind: m.kind, Message: message, Param: param, Cause: m.cause}
}

// unknown refuses a member by its name. A name that no field has is not repeated,
// because it may be anything.
func unknown(name string) *mistake {
	m := is("is not known here, and would not be told to the model: leave it out")
	if len(name) > 64 || !plainName(name) {
		return m
	}
	return m.field(name)
}

func plainName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return name != ""
}

// only refuses an object that has other members than these, null ones apart.
func only(v gjson.Result, names ...string) (m *mistake) {
	if !v.IsObject() {
		return nil
	}
	v.ForEach(func(key, member gjson.Result) bool {
		if member.Type != gjson.Null && !slices.Contains(names, key.Str) {
			m = unknown(key.Str)
		}
		return m == nil
	})
	return m
}

// alone is a member of an object, which has no others than these beside it. It goes through
// the object once: an image's may be megabytes.
func alone(v gjson.Result, name string, beside ...string) (member gjson.Result, m *mistake) {
	v.ForEach(func(key, one gjson.Result) bool {
		switch {
		case key.Str == name && !member.Exists():
			member = one
		case one.Type != gjson.Null && key.Str != name && !slices.Contains(beside, key.Str):
			m = unknown(key.Str)
		}
		return m == nil
	})
	return member, m
}

// each goes through a list, and says where in it a mistake is.
func each(list gjson.Result, read func(i int, v gjson.Result) *mistake) (m *mistake) {
	if !list.IsArray() {
		return nil
	}
	i := 0
	list.ForEach(func(_, v gjson.Result) bool {
		if m = read(i, v); m != nil {
			m = m.item(i)
		}
		i++
		return m == nil
	})
	return m
}

// blank says that a text has nothing in it. Converse refuses such a text block.
func blank(text gjson.Result) bool { return strings.TrimSpace(text.Str) == "" }

// isName says that v is a name that Bedrock takes for a tool. OpenAI's rule is the
// same.
func isName(v gjson.Result) bool {
	return v.Type == gjson.String && len(v.Str) <= 64 && plainName(v.Str)
}

const (
	mustBeName    = "must be a name of 1 to 64 letters, digits, underscores or dashes"
	mustBeString  = "must be a string"
	mustBeObject  = "must be an object"
	mustBeBoolean = "must be true or false"
)

// filled refuses what is not a string that says something.
func filled(v gjson.Result) *mistake {
	if v.Type != gjson.String || blank(v) {
		return is("must be a string that is not blank")
	}
	return nil
}
