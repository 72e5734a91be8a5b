package extproc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/fault"
)

// limited is a target of which the configuration says what it cannot do.
type limited struct {
	target  int  // its place among the Pick's
	images  bool // it has none
	tools   bool
	context int64 // tokens; 0: nobody says
}

func limitedOf(t config.Target) (limited, bool) {
	l := limited{
		context: int64(t.Context),
		images:  slices.Contains(t.Without, config.WithoutImages), tools: slices.Contains(t.Without, config.WithoutTools),
	}
	return l, l.images || l.tools || l.context > 0
}

// need is what a request asks of a model.
type need struct {
	images, tools string // the fields that ask; empty: none does
	pictures      int64  // how many

	text   tokens // all of it
	one    tokens // what has to fit into a model at once
	field  string // where that stands
	answer int64  // the longest that it wants, in tokens; 0: it does not say
	n      int64  // how many answers
	silent bool   // the answer is no text
}

// needOf reads what a request asks for. Images are counted for what they are and not as
// tokens. counted says that tokens are wanted.
func needOf(endpoint Endpoint, text []byte, counted bool) need {
	n := need{n: 1, field: "messages"}
	body := gjson.ParseBytes(text)
	if tools := body.Get("tools"); tools.IsArray() && len(tools.Array()) > 0 {
		n.tools = "tools"
	}
	if counted {
		n.text = tokensOf(text)
		n.one = n.text
	}
	switch endpoint {
	case Embeddings:
		n.field, n.silent = "input", true
		n.parts(body.Get(n.field), counted)
	case Completions:
		n.field = "prompt"
		n.parts(body.Get(n.field), counted)
	case Responses:
		n.field = "input"
		n.messages(body.Get(n.field), counted)
	case Chat, OtherEndpoint:
		n.messages(body.Get(n.field), counted)
	}
	n.answer = longestAnswer(body)
	if several := body.Get("n"); several.Type == gjson.Number && several.Num >= 1 && several.Num < 1e4 {
		n.n = several.Int()
	}
	return n
}

// messages looks for pictures and sound. Most have none, and are not read for it.
func (n *need) messages(list gjson.Result, counted bool) {
	if !strings.Contains(list.Raw, `"image_url"`) && !strings.Contains(list.Raw, `"input_`) {
		return
	}
	list.ForEach(func(i, message gjson.Result) bool {
		message.Get("content").ForEach(func(j, part gjson.Result) bool {
			switch part.Get("type").Str {
			case "image_url", "input_image":
				n.pictures++
				if n.images == "" {
					n.images = fmt.Sprintf("%s[%d].content[%d]", n.field, i.Int(), j.Int())
				}
			case "input_audio":
				if counted {
					n.text.less(tokensOf([]byte(part.Raw)))
					n.one = n.text
				}
			}
			return true
		})
		return true
	})
}

// parts are texts that a model reads one by one, some as the numbers of tokens.
func (n *need) parts(list gjson.Result, counted bool) {
	if !counted || !list.IsArray() {
		return
	}
	n.one = tokens{}
	numbers := false
	list.ForEach(func(_, part gjson.Result) bool {
		var its tokens
		switch {
		case part.Type == gjson.Number:
			numbers = true
			return false
		case part.IsArray():
			its.known(part.Raw)
			n.text.more(its)
		default:
			its = tokensOf([]byte(part.Raw))
		}
		if its.likely >= n.one.likely {
			n.one = its
		}
		return true
	})
	if numbers {
		n.one.known(list.Raw)
		n.text.more(n.one)
	}
}

// known are the tokens of a list of their numbers.
func (t *tokens) known(list string) {
	count := int64(strings.Count(list, ",")) + 1
	*t = tokens{count, count, count}
}

func longestAnswer(body gjson.Result) int64 {
	for _, name := range []string{"max_completion_tokens", "max_tokens", "max_output_tokens"} {
		if n := body.Get(name); n.Type == gjson.Number && n.Num > 0 && n.Num < 1e9 {
			return n.Int()
		}
	}
	return 0
}

// judge says how sure it is that a target serves a request, and why it cannot.
func (l limited) judge(n *need) (verdict, error) {
	switch {
	case l.images && n.images != "":
		return cannot, wrong(n.images, "No model of this name takes images.")
	case l.tools && n.tools != "":
		return cannot, wrong(n.tools, "No model of this name takes tools.")
	case l.context > 0 && n.one.least+n.answer > l.context:
		return cannot, &fault.Error{Op: "extproc.pick", Kind: fault.InvalidRequest, Param: n.field,
			Message: "The request is longer than what any model of this name reads."}
	case l.context > 0 && n.one.most+n.answer > l.context:
		return doubtful, nil
	}
	return serves, nil
}
