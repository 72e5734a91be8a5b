package strict

import (
	"slices"
	"strconv"
)

// part is a kind of content part.
type part struct {
	kind  string
	judge func(part value) *mistake
	who   []role // who may send it
}

// parts are the kinds of content parts, with their required member.
var parts = []part{
	{"text", func(v value) *mistake { return member(v, "text", partText) }, []role{system, user, assistant, tool}},
	{"image_url", judgeImage, []role{user}},
	{"input_audio", judgeAudio, []role{user}},
	{"file", judgeFile, []role{user}},
	{"refusal", func(v value) *mistake { return member(v, "refusal", partText) }, []role{assistant}},
}

// partKinds is what a role may send, for people.
var partKinds = func() map[role]string {
	all := map[role]string{}
	for _, p := range parts {
		for _, r := range p.who {
			if all[r] != "" {
				all[r] += ", "
			}
			all[r] += p.kind
		}
	}
	return all
}()

// judgeContent judges what a message says: a string, or a list of parts. Only an
// assistant who does something else may say nothing.
func (msg *message) judgeContent() *mistake {
	switch msg.content.kind() {
	case 0:
		if msg.kind == assistant && (msg.toolCalls != nil || msg.functionCall != nil || msg.refusal != nil || msg.audio != nil) {
			return nil
		}
		return is("is missing")
	case '"':
		return notLong(msg.content)
	case '[':
		if msg.kind != function {
			return msg.judgeParts()
		}
	}
	if msg.kind == function {
		return is("must be a string")
	}
	return is("must be a string or a list of parts")
}

func (msg *message) judgeParts() *mistake {
	count := 0
	for w := msg.content.each(); w.next(); count++ {
		if w.index == maxParts {
			return is("must have at most " + strconv.Itoa(maxParts) + " parts")
		}
		if m := msg.judgePart(w.value); m != nil {
			return m.item(w.index)
		}
	}
	if count == 0 {
		return is("must not be an empty list")
	}
	return nil
}

func (msg *message) judgePart(v value) *mistake {
	if m := dictionary(v); m != nil {
		return m
	}
	kind := v.get("type")
	if kind == nil {
		return missing("type")
	}
	if kind.kind() == '"' {
		said := kind.inner()
		for i := range parts {
			if string(said) == parts[i].kind && parts[i].from(msg.kind) {
				return parts[i].judge(v)
			}
		}
	}
	return is("must be one of " + partKinds[msg.kind] + " in a message of this role").field("type")
}

func (p *part) from(who role) bool { return slices.Contains(p.who, who) }

var (
	imageDetail = oneOf("auto", "low", "high")
	audioFormat = oneOf("wav", "mp3")
)

func judgeImage(v value) *mistake {
	if m := member(v, "image_url", dictionary); m != nil {
		return m
	}
	image := v.get("image_url")
	m := member(image, "url", filled)
	if detail := image.get("detail"); m == nil && detail != nil {
		if m = imageDetail(detail); m != nil {
			m = m.field("detail")
		}
	}
	if m != nil {
		return m.field("image_url")
	}
	return nil
}

func judgeAudio(v value) *mistake {
	if m := member(v, "input_audio", dictionary); m != nil {
		return m
	}
	audio := v.get("input_audio")
	m := member(audio, "data", filled)
	if m == nil {
		m = member(audio, "format", audioFormat)
	}
	if m != nil {
		return m.field("input_audio")
	}
	return nil
}

func judgeFile(v value) *mistake {
	if m := member(v, "file", dictionary); m != nil {
		return m
	}
	file := v.get("file")
	id, data := file.get("file_id"), file.get("file_data")
	switch {
	case id == nil && data == nil:
		return is(`needs "file_id" or "file_data"`).field("file")
	case id != nil && filled(id) != nil:
		return filled(id).field("file_id").field("file")
	case data != nil && filled(data) != nil:
		return filled(data).field("file_data").field("file")
	}
	return nil
}
