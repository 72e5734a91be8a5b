package bedrock

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/extproc/body"
)

// role is who speaks in a turn.
type role string

const (
	nobody    role = ""
	user      role = "user"
	assistant role = "assistant"
)

// turns writes the messages of a conversation as Converse wants them: user and
// assistant in turn, each with all that it says one after the other. Messages of the
// same role that follow each other become one turn, and what is blank, which Converse
// refuses, is left out.
type turns struct {
	out      []byte // "messages" without its closing brackets
	system   members
	start    int // of the first turn in out
	first    role
	last     role
	tools    bool // there is a call of a tool, or a tool's result
	blocks   int
	pending  bool // the last turn of the assistant calls a tool
	reasoned bool // and begins with its reasoning
}

// begin readies t; size is about how long the messages are.
func (t *turns) begin(size int) {
	t.out = make([]byte, 0, size+512)
	t.out = append(t.out, `{"messages":[`...)
	t.start = len(t.out)
}

// block begins a content block of a role's turn.
func (t *turns) block(who role) {
	t.blocks++
	if t.last == who {
		t.out = append(t.out, ',')
		return
	}
	if t.last == nobody {
		t.first = who
	} else {
		t.out = append(t.out, "]},"...)
	}
	t.last = who
	if who == assistant {
		t.pending, t.reasoned = false, false
	}
	t.out = append(t.out, `{"role":"`...)
	t.out = append(t.out, who...)
	t.out = append(t.out, `","content":[`...)
}

// text adds a JSON string as it stands.
func (t *turns) text(who role, v gjson.Result) {
	if blank(v) {
		return
	}
	t.block(who)
	t.out = append(t.out, `{"text":`...)
	t.out = append(t.out, v.Raw...)
	t.out = append(t.out, '}')
}

// instruct adds a system block. Converse has one place for them, before the turns.
func (t *turns) instruct(v gjson.Result) {
	if blank(v) {
		return
	}
	t.system = slices.Grow(t.system, len(v.Raw)+16)
	if len(t.system) > 0 {
		t.system = append(t.system, ',')
	}
	t.system = append(t.system, `{"text":`...)
	t.system = append(t.system, v.Raw...)
	t.system = append(t.system, '}')
}

// call adds a call of a tool by the assistant. arguments is a JSON text of an object;
// an empty one, which some models write for a tool without parameters, is an empty
// object. idField is what the form calls the id.
func (t *turns) call(idField string, id, name, arguments gjson.Result) *mistake {
	switch {
	case filled(id) != nil:
		return filled(id).field(idField)
	case !isName(name):
		return is(mustBeName).field("name")
	case arguments.Type != gjson.String:
		return is(mustBeString).field("arguments")
	}
	input := arguments.Str
	if blank(arguments) {
		input = "{}"
	}
	if _, err := body.Scan([]byte(input)); err != nil {
		return is("must be a string that is one JSON object, with no key twice").field("arguments")
	}
	t.block(assistant)
	t.tools, t.pending = true, true
	t.out = append(t.out, `{"toolUse":{"toolUseId":"`...)
	t.out = appendCallID(t.out, id.Str)
	t.out = append(t.out, `","name":"`...)
	t.out = append(t.out, name.Str...)
	t.out = append(t.out, `","input":`...)
	t.out = append(t.out, input...)
	t.out = append(t.out, "}}"...)
	return nil
}

// beginResult begins a tool's result, whose blocks follow.
func (t *turns) beginResult(id gjson.Result) {
	t.block(user)
	t.tools = true
	t.out = append(t.out, `{"toolResult":{"toolUseId":"`...)
	t.out = appendCallID(t.out, id.Str)
	t.out = append(t.out, `","content":[`...)
}

// endResult ends it. A result that says nothing is an empty object, because Converse
// refuses an empty text.
func (t *turns) endResult() {
	if t.out[len(t.out)-1] == '[' {
		t.out = append(t.out, `{"json":{}}`...)
	}
	t.out = append(t.out, "]}}"...)
}

// resultText adds a text to a tool's result.
func (t *turns) resultText(v gjson.Result) {
	if blank(v) {
		return
	}
	t.resultBlock()
	t.out = append(t.out, `{"text":`...)
	t.out = append(t.out, v.Raw...)
	t.out = append(t.out, '}')
}

func (t *turns) resultBlock() {
	if t.out[len(t.out)-1] != '[' {
		t.out = append(t.out, ',')
	}
}

// end closes the messages and says what of their order no model would take. A model
// without system blocks is told first of all what they say: as the first words of the
// user, which is the nearest it has.
func (t *turns) end(m model) *mistake {
	switch {
	case t.first == nobody:
		return is("must have a message of the user that is not blank")
	case t.first == assistant:
		return is("must begin with a message of the user: Amazon Bedrock takes no conversation that the assistant begins")
	case t.last == assistant && !m.has(canContinue):
		return is("must end with a message of the user or of a tool: this model does not go on where the assistant ended")
	}
	t.out = append(t.out, "]}]"...)
	if len(t.system) == 0 {
		return nil
	}
	if m.has(canSystem) {
		t.out = append(t.out, `,"system":[`...)
		t.out = append(t.out, t.system...)
		t.out = append(t.out, ']')
		return nil
	}
	t.system = append(t.system, ',')
	t.out = slices.Insert(t.out, t.start+len(`{"role":"user","content":[`), t.system...)
	return nil
}

// maxCallID is how long Converse takes the id of a call.
const maxCallID = 64

// appendCallID adds the id of a call as Converse takes it. Another provider's ids may
// be longer or have other characters: such a one becomes another name that is always
// the same, so that a call and its result still belong together.
func appendCallID(out []byte, id string) []byte {
	if len(id) <= maxCallID && plainName(id) {
		return append(out, id...)
	}
	sum := sha256.Sum256([]byte(id))
	out = append(out, "call_"...)
	return hex.AppendEncode(out, sum[:12])
}
