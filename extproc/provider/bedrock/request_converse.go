package bedrock

import (
	"regexp"
	"strconv"

	"github.com/tidwall/gjson"
)

// converse is a call of Converse or ConverseStream that is being written. The forms
// of chat, completions and responses all end in one.
type converse struct {
	*request

	at       places
	turns    turns
	tools    members // toolSpecs
	names    []string
	choice   choice
	serial   bool
	limit    int64    // of tokens; 0 where there is none
	thinking thinking // the model is to reason first
}

// places are the names that a form has for what the others have under another.
type places struct {
	messages, limit, effort, format string
	thoughts                        string // where a model's signed reasoning is to be sent back
}

// thinking is how a model is to reason.
type thinking struct {
	on     bool
	budget int64 // in tokens; 0 where the model is told an effort
}

// begin reads what all three forms have in common.
func (c *converse) begin(rules rules) *mistake {
	if c.model.family == titanEmbed {
		return is("is a model for embeddings: it does not answer").field("model")
	}
	if m := c.judge(rules); m != nil {
		return m
	}
	return c.streaming()
}

// call writes what is left, and gives the call.
func (c *converse) call() (Call, *mistake) {
	if m := c.turns.end(c.model); m != nil {
		return Call{}, m.field(c.at.messages)
	}
	c.writeTools()
	if m := c.writeInference(); m != nil {
		return Call{}, m
	}
	if len(c.extra) > 0 {
		c.turns.out = append(c.turns.out, `,"additionalModelRequestFields":{`...)
		c.turns.out = append(c.turns.out, c.extra...)
		c.turns.out = append(c.turns.out, '}')
	}
	c.asked.Operation = Converse
	if c.asked.Stream {
		c.asked.Operation = ConverseStream
	}
	return Call{
		Path:  path(c.model.id, c.asked.Operation),
		Body:  append(c.turns.out, '}'),
		Asked: c.asked,
	}, nil
}

// readLimit reads how many tokens the answer may have, by whatever names the form has
// for it.
func (c *converse) readLimit(names ...string) *mistake {
	for _, name := range names {
		v := c.get(name)
		if v.Type == gjson.Null {
			continue
		}
		n, err := strconv.ParseInt(v.Raw, 10, 32)
		switch {
		case err != nil || n < 1:
			return is("must be an integer of at least 1").field(name)
		case c.limit != 0 && c.limit != n:
			return is(`must be the same as "` + c.at.limit + `", or left out`).field(name)
		}
		c.limit = n
	}
	return nil
}

// writeInference adds inferenceConfig.
func (c *converse) writeInference() *mistake {
	var config members
	if c.limit != 0 {
		config.add("maxTokens", strconv.FormatInt(c.limit, 10))
	}
	if m := c.addSampling(&config); m != nil {
		return m
	}
	stop, m := c.stops()
	if m != nil {
		return m.field("stop")
	}
	if stop != "" {
		config.add("stopSequences", stop)
	}
	if len(config) > 0 {
		c.turns.out = append(c.turns.out, `,"inferenceConfig":{`...)
		c.turns.out = append(c.turns.out, config...)
		c.turns.out = append(c.turns.out, '}')
	}
	return nil
}

// addSampling adds temperature and top_p.
func (c *converse) addSampling(config *members) *mistake {
	temperature, m := c.share("temperature", 2)
	if m != nil {
		return m
	}
	topP, m := c.share("top_p", 1)
	if m != nil {
		return m
	}
	switch {
	case temperature != "" && c.thinking.on:
		return is(`must be 1 or left out with "` + c.at.effort + `": this model reasons at no other`).field("temperature")
	case topP != "" && c.thinking.on && c.get("top_p").Num < 0.95:
		return is(`must be at least 0.95 or left out with "` + c.at.effort + `"`).field("top_p")
	case temperature != "" && topP != "" && c.model.has(mustChoose):
		return is(`cannot be used with this model beside "temperature": it takes one of the two`).field("top_p")
	}
	if temperature != "" {
		config.add("temperature", temperature)
	}
	if topP != "" {
		config.add("topP", topP)
	}
	return nil
}

// share reads a number from 0 to 1, as it is written; most is OpenAI's own bound.
// Claude's default of both is 1, as OpenAI's is, and some of its models take only
// one of the two, so that a 1 is left out there.
func (c *converse) share(name string, most float64) (raw string, m *mistake) {
	v := c.get(name)
	switch {
	case v.Type == gjson.Null || c.model.family == claude && v.Type == gjson.Number && v.Num == 1:
		return "", nil
	case v.Type == gjson.Number && v.Num >= 0 && v.Num <= 1:
		return v.Raw, nil
	case v.Type == gjson.Number && v.Num > 1 && v.Num <= most:
		return "", is("must be from 0 to 1 for this model: there is no counterpart of more").field(name)
	}
	return "", is("must be a number from 0 to 1").field(name)
}

// titanStop is all that Titan stops at
// (https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-text.html).
var titanStop = regexp.MustCompile(`^(\|+|User:)$`)

// fewStops is how many texts Nova and Titan stop at; OpenAI's models take as many.
const fewStops = 4

const titanStops = "must be User: or bars (|) with this model: it stops at no other text"

// stops reads stop as a JSON list; empty where there is none.
func (c *converse) stops() (list string, m *mistake) {
	v := c.get("stop")
	switch {
	case v.Type == gjson.Null || v.IsArray() && empty(v):
		return "", nil
	case !c.model.has(canStop) && c.model.family != titanText:
		return "", is("cannot be used with this model: it stops at no text")
	case v.Type == gjson.String && v.Str != "":
		return "[" + v.Raw + "]", c.stopsAt(v)
	case !v.IsArray():
		return "", is("must be a string or a list of strings, none of them empty")
	}
	if c.model.family == nova || c.model.family == titanText {
		if len(v.Array()) > fewStops {
			return "", is("must have at most 4 texts with this model")
		}
	}
	return v.Raw, each(v, func(_ int, one gjson.Result) *mistake { return c.stopsAt(one) })
}

// stopsAt judges one of a list.
func (c *converse) stopsAt(one gjson.Result) *mistake {
	switch {
	case one.Type != gjson.String || one.Str == "":
		return is("must be a string that is not empty")
	case c.model.family == claude && blank(one):
		return is("must be more than white space with this model")
	case c.model.family == titanText && !titanStop.MatchString(one.Str):
		return is(titanStops)
	}
	return nil
}
