package extproc

import (
	"fmt"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/fault"
)

// limited is a target of which the configuration says what it cannot do.
type limited struct {
	target
	images, tools bool  // it has none
	context       int64 // tokens; 0: nobody says
}

func limitedOf(t config.Target) (limited, bool) {
	l := limited{
		target: target{t.Provider, t.Model}, context: int64(t.Context),
		images: slices.Contains(t.Without, config.WithoutImages), tools: slices.Contains(t.Without, config.WithoutTools),
	}
	return l, l.images || l.tools || l.context > 0
}

// need is what a request asks of a model.
type need struct {
	images, tools string // the fields that ask; empty: none does
	tokens        int64  // at least so many, the answer's among them
}

// bytesEach is how many bytes of a body make a token, for a bound that is rather too low:
// a model is left out only if the request cannot fit.
const bytesEach = 6

// needOf reads what a request asks for. Images are counted for what they are and not as
// tokens.
func needOf(endpoint Endpoint, text []byte) need {
	var n need
	body := gjson.ParseBytes(text)
	if tools := body.Get("tools"); tools.IsArray() && len(tools.Array()) > 0 {
		n.tools = "tools"
	}
	list := "messages"
	if endpoint == Responses {
		list = "input"
	}
	pictures := 0
	body.Get(list).ForEach(func(i, message gjson.Result) bool {
		message.Get("content").ForEach(func(j, part gjson.Result) bool {
			if kind := part.Get("type").Str; kind == "image_url" || kind == "input_image" {
				pictures += len(part.Raw)
				if n.images == "" {
					n.images = fmt.Sprintf("%s[%d].content[%d]", list, i.Int(), j.Int())
				}
			}
			return true
		})
		return true
	})
	n.tokens = int64(len(text)-pictures)/bytesEach + longestAnswer(body)
	return n
}

func longestAnswer(body gjson.Result) int64 {
	for _, name := range []string{"max_completion_tokens", "max_tokens", "max_output_tokens"} {
		if n := body.Get(name); n.Type == gjson.Number && n.Num > 0 && n.Num < 1e9 {
			return n.Int()
		}
	}
	return 0
}

// refuses says why a target cannot serve a request; nil if it can.
func (l limited) refuses(n need) error {
	switch {
	case l.images && n.images != "":
		return wrong(n.images, "No model of this name takes images.")
	case l.tools && n.tools != "":
		return wrong(n.tools, "No model of this name takes tools.")
	case l.context > 0 && n.tokens > l.context:
		return &fault.Error{Op: "extproc.pick", Kind: fault.InvalidRequest, Param: "messages",
			Message: "The request is longer than what any model of this name reads."}
	}
	return nil
}
