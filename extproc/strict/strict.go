// Package strict judges request bodies field by field, so that a mistake is answered
// here, by the name of the field, and not in whatever words a provider has for it.
// Its rules are those of OpenAI's API reference
// (https://platform.openai.com/docs/api-reference) where it states any; limits.go
// says where each bound comes from. A field that no rule knows passes, so that a
// provider may have more of them than the reference.
//
// The invariant: a body is judged where it lies. Nothing is unmarshalled, every
// part is passed over a fixed number of times, strings are decoded only where they
// must be compared, and nothing is written for a request that is right.
//
// All functions are pure and safe for concurrent use.
package strict

import (
	"strings"

	"github.com/postern-proxy/postern/extproc/body"
)

// Mistake is the first thing that is wrong with a request.
type Mistake struct {
	Param   string // where: "messages[3].content", "temperature"
	Message string // one sentence for the client, without a word of the client's own
}

// Chat judges a request for a chat completion. text must be a body that body.Scan
// accepted, and fields what it gave. It returns nil for a request that is right.
func Chat(fields body.Fields, text []byte) *Mistake {
	return judgeChat(object{fields, text}).told()
}

// Completion judges a request for a completion, on the terms of Chat.
func Completion(fields body.Fields, text []byte) *Mistake {
	return judgeCompletion(object{fields, text}).told()
}

// Embedding judges a request for embeddings, on the terms of Chat.
func Embedding(fields body.Fields, text []byte) *Mistake {
	return judgeEmbedding(object{fields, text}).told()
}

// Response judges a request for a response, on the terms of Chat.
func Response(fields body.Fields, text []byte) *Mistake {
	return judgeResponse(object{fields, text}).told()
}

func (m *mistake) told() *Mistake {
	if m == nil {
		return nil
	}
	param := strings.TrimPrefix(m.where, ".")
	return &Mistake{Param: param, Message: `"` + param + `" ` + m.what + "."}
}

// object is the body's top level.
type object struct {
	fields body.Fields
	text   []byte
}

// get is a field's value; absent if it is not there, or null, which the reference
// allows for everything that may be left out.
func (o object) get(name string) value {
	field, there := o.fields.Find(name)
	if !there {
		return nil
	}
	return value(field.Raw(o.text)).orAbsent()
}

// must is get for a field that has to be there.
func (o object) must(name string) (value, *mistake) {
	v := o.get(name)
	if v == nil {
		return nil, missing(name)
	}
	return v, nil
}

// judge holds every field against its rule, in the order of the body.
func (o object) judge(rules map[string]rule) *mistake {
	for _, field := range o.fields {
		judge, ruled := rules[field.Name]
		if !ruled {
			continue
		}
		if v := value(field.Raw(o.text)).orAbsent(); v != nil {
			if m := judge(v); m != nil {
				return m.field(field.Name)
			}
		}
	}
	return nil
}
