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
//
// Converse takes no call or result of a tool without toolConfig, and whatever tool is
// named there may be called. Where none may be (tool_choice none, or no tools), an agent
// that wants its last words is still to be told what came of its tools: calls and results
// are then said in words.
type turns struct {
	out      []byte // "messages" without its closing brackets
	system   members
	start    int // of the first turn in out
	first    role
	last     role
	blocks   int
	pending  bool // the last turn of the assistant calls a tool
	reasoned bool // and begins with its reasoning

	inWords    bool     // calls and results of tools are said in words
	open       []string // ids of calls in the last turn of the assistant that have no result yet
	unanswered bool     // a call of an earlier turn has none
	words      bool     // the last turn of the user has more than results

	dry bool // nobody wants the text, only whether it can be had
}

// begin readies t; size is about how long the messages are.
func (t *turns) begin(size int) {
	if t.dry {
		size = 0
	}
	t.out = make([]byte, 0, size+512)
	t.out = append(t.out, `{"messages":[`...)
	t.start = len(t.out)
}

// block begins a content block of a role's turn.
func (t *turns) block(who role) {
	t.turn(who)
	t.words = t.words || who == user
}

func (t *turns) turn(who role) {
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
		t.unanswered = t.unanswered || len(t.open) > 0
		t.open = t.open[:0]
	}
	t.words = false
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
	t.textBlock(v)
}

func (t *turns) textBlock(v gjson.Result) {
	t.out = append(t.out, `{"text":`...)
	t.raw(v.Raw)
	t.out = append(t.out, '}')
}

// raw adds what the client wrote, as it stands.
func (t *turns) raw(text string) {
	if !t.dry {
		t.out = append(t.out, text...)
	}
}

// instruct adds a system block. Converse has one place for them, before the turns.
func (t *turns) instruct(v gjson.Result) {
	if blank(v) || t.dry {
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
	if t.inWords {
		t.sayCall(id.Str, name.Str, arguments)
		return nil
	}
	if slices.Contains(t.open, id.Str) {
		return is("must be an id that no other call beside it has").field(idField)
	}
	t.open = append(t.open, id.Str)
	t.pending = true
	t.out = append(t.out, `{"toolUse":{"toolUseId":"`...)
	t.out = appendCallID(t.out, id.Str)
	t.out = append(t.out, `","name":"`...)
	t.out = append(t.out, name.Str...)
	t.out = append(t.out, `","input":`...)
	t.raw(input)
	t.out = append(t.out, "}}"...)
	return nil
}

// beginResult begins a tool's result, whose blocks follow. A turn of the user has results
// first, one for each call of the turn before.
func (t *turns) beginResult(id gjson.Result) *mistake {
	if t.inWords {
		t.block(user)
		t.sayResult(id.Str)
		return nil
	}
	at := slices.Index(t.open, id.Str)
	switch {
	case at < 0:
		return is("must be the id of a call in the turn before that has no result yet")
	case t.last == user && t.words:
		return is("must be the id of a call right before: a result cannot stand behind what the user said")
	}
	t.open = slices.Delete(t.open, at, at+1)
	t.turn(user)
	t.out = append(t.out, `{"toolResult":{"toolUseId":"`...)
	t.out = appendCallID(t.out, id.Str)
	t.out = append(t.out, `","content":[`...)
	return nil
}

// endResult ends it. A result that says nothing is an empty object, because Converse
// refuses an empty text.
func (t *turns) endResult() {
	if t.inWords {
		return
	}
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
	if t.inWords { // and is not to run into what the user says next
		t.out = append(t.out, `{"text":"`...)
		said, _ := inner(v)
		t.raw(said)
		t.out = append(t.out, `\n"}`...)
		return
	}
	t.textBlock(v)
}

func (t *turns) resultBlock() {
	if t.inWords {
		t.block(user)
		return
	}
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
	case t.unanswered || len(t.open) > 0:
		return is("must have a tool's result for each call, right behind the message that calls")
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

// sayCall says in words that a tool was called. arguments is a JSON string. The line
// break is in front: Claude takes no last turn that ends in one.
func (t *turns) sayCall(id, name string, arguments gjson.Result) {
	t.out = append(t.out, `{"text":"\nCalled the tool `...)
	t.out = append(t.out, name...)
	t.out = append(t.out, `, id `...)
	t.out = appendCallID(t.out, id)
	t.out = append(t.out, `, with `...)
	if said, ok := inner(arguments); ok && !blank(arguments) {
		t.raw(said)
	} else {
		t.out = append(t.out, "{}"...)
	}
	t.out = append(t.out, `"}`...)
}

// sayResult says in words that what follows is what a tool gave back.
func (t *turns) sayResult(id string) {
	t.out = append(t.out, `{"text":"\nThe result of the call `...)
	t.out = appendCallID(t.out, id)
	t.out = append(t.out, `:\n"}`...)
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
