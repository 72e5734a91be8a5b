package bedrock

import (
	"encoding/base64"
	"strings"

	"github.com/tidwall/gjson"
)

// sealMark begins an encrypted_content of ours, so that one of OpenAI's is told from it.
const sealMark = "bedrock1."

// sealing is how what stands behind the mark is written.
var sealing = base64.RawURLEncoding

// appendSeal adds the encrypted_content of a reasoning item, without quotes. That field is
// OpenAI's for what only the model's provider can read, and is sent back as it came; so it
// has all that Claude wants back: what it thought, unchanged, with its signature. Clients
// may leave out an item's other members.
func appendSeal(to []byte, p answerPart) []byte {
	var inside []byte
	if p.kind == sealedBlock {
		inside = append(append(inside, `{"data":"`...), p.seal...)
	} else {
		inside = append(append(inside, `{"thinking":"`...), p.text...)
		inside = append(append(inside, `","signature":"`...), p.seal...)
	}
	return sealing.AppendEncode(append(to, sealMark...), append(inside, `"}`...))
}

// sealed adds the reasoning of an earlier answer, by its encrypted_content. What another
// provider sealed is dropped, and so is what has no seal: no model here could read it.
func (c *converse) sealed(v gjson.Result) *mistake {
	text, ours := strings.CutPrefix(v.Str, sealMark)
	if !ours || !c.model.has(canThink) {
		return nil
	}
	inside, err := sealing.DecodeString(text)
	if err != nil || !validJSON(inside) {
		return is("must be as it was in the answer")
	}
	doc := gjson.ParseBytes(inside)
	thinking, signature, data := doc.Get("thinking"), doc.Get("signature"), doc.Get("data")
	switch {
	case data.Type == gjson.String && isBase64(data.Str):
		c.addRedacted(data)
	case thinking.Type == gjson.String && filled(signature) == nil:
		c.addThought(thinking, signature)
	default:
		return is("must be as it was in the answer")
	}
	return nil
}
