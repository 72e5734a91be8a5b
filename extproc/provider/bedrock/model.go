package bedrock

import (
	"strconv"
	"strings"
)

// family is whose model it is, as far as it changes what may be asked.
type family uint8

const (
	other      family = iota // not known, or an ARN that does not say: Converse as it is documented
	claude                   // anthropic.claude…
	nova                     // amazon.nova…, those that converse
	llama                    // meta.llama…
	titanText                // amazon.titan-text…
	titanEmbed               // amazon.titan-embed…: InvokeModel only
)

// ability is something a model can do beyond answering text with text.
type ability uint16

const (
	canSystem      ability = 1 << iota // take system blocks
	canTools                           // call tools
	canForce                           // be made to call one, by toolChoice
	canStreamTools                     // call tools in a stream
	canSee                             // take images
	canSeeResults                      // take images as a tool's result
	canJSON                            // answer by a tool that is forced, well enough to be a response_format
	canSerial                          // be kept to one call at a time
	canStrict                          // hold to a tool's schema
	canThink                           // reason before it answers
	canAdapt                           // reason by effort and not by budget
	canContinue                        // go on where a last message of the assistant ends
	mustChoose                         // take temperature or top_p, not both
	canStop                            // stop at any text
)

// plain is what Converse offers for any model: Bedrock refuses what the model at the
// end cannot do.
const plain = canSystem | canTools | canForce | canStreamTools | canSee | canContinue | canStop

// model is a model's id and what it can do, which is read off the id. The table is
// https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html.
type model struct {
	id     string
	family family
	can    ability
}

func (m model) has(what ability) bool { return m.can&what != 0 }

// identify reads a model's id or ARN.
func identify(id string) model {
	name := bare(id)
	m := model{id: id, can: plain}
	switch {
	case strings.HasPrefix(name, "anthropic.claude"):
		m.family, m.can = claude, claudeCan(name[len("anthropic.claude"):])
	case strings.HasPrefix(name, "meta.llama"):
		m.family, m.can = llama, llamaCan(name[len("meta.llama"):])
	case strings.HasPrefix(name, "amazon.titan-text"):
		m.family, m.can = titanText, 0
	case strings.HasPrefix(name, "amazon.titan-embed"):
		m.family, m.can = titanEmbed, 0
	case strings.HasPrefix(name, "amazon.nova") && !drawsOrSpeaks(name):
		m.family, m.can = nova, plain|canJSON
		if strings.HasPrefix(name, "amazon.nova-micro") {
			m.can &^= canSee
		}
	}
	return m
}

// bare is a model's id without its ARN and without the prefix of an inference
// profile's geography ("us.", "eu.", "apac.", "global."). It is empty for an ARN that
// does not say which model is behind it: provisioned throughput, application
// profiles, imported and custom models.
func bare(id string) string {
	if strings.HasPrefix(id, "arn:") {
		resource := id[strings.LastIndexByte(id[:strings.IndexByte(id+"/", '/')], ':')+1:]
		kind, name, _ := strings.Cut(resource, "/")
		if kind != "foundation-model" && kind != "inference-profile" {
			return ""
		}
		id = name
	}
	for _, vendor := range []string{"anthropic.", "meta.", "amazon."} {
		if at := strings.Index(id, vendor); at == 0 || at > 0 && id[at-1] == '.' {
			return id[at:]
		}
	}
	return id
}

func drawsOrSpeaks(name string) bool {
	for _, kind := range []string{"canvas", "reel", "sonic", "embed"} {
		if strings.Contains(name, kind) {
			return true
		}
	}
	return false
}

// newest is the version of a model whose name has none: it is taken for a new one.
const newest = 9900

// version is the version in the rest of a model's name, a hundred for each major
// one: "-3-7-sonnet-20250219-v1:0" is 307, "-sonnet-4-20250514-v1:0" is 400 and
// "-v2:1" is 200.
func version(rest string) int {
	words := strings.Split(rest, "-")
	for i, word := range words {
		major, isNumber := number(word)
		if !isNumber {
			continue
		}
		minor := 0
		if i+1 < len(words) {
			minor, _ = number(words[i+1])
		}
		return major*100 + minor
	}
	for _, word := range words {
		release, _, _ := strings.Cut(strings.TrimPrefix(word, "v"), ":")
		if major, isNumber := number(release); isNumber {
			return major * 100
		}
	}
	return newest
}

// number reads a word that is a version's part; a date is none.
func number(word string) (n int, ok bool) {
	if len(word) == 0 || len(word) > 2 {
		return 0, false
	}
	n, err := strconv.Atoi(word)
	return n, err == nil && n >= 0
}

// claudeCan knows that Haiku 3.5 has eyes at Anthropic and none at Bedrock
// (https://github.com/boto/boto3/issues/4581), and that from 4.6 on the user must have
// spoken last.
func claudeCan(rest string) ability {
	version, can := version(rest), plain|canJSON|canSeeResults
	if version < 300 {
		return canSystem | canContinue | canStop
	}
	if strings.HasPrefix(rest, "-3-5-haiku") {
		can &^= canSee | canSeeResults
	}
	if version >= 307 {
		can |= canThink
	}
	if version >= 401 {
		can |= mustChoose
	}
	if version >= 405 {
		can |= canSerial | canStrict
	}
	if version >= 406 {
		can = can&^canContinue | canAdapt
	}
	return can
}

// llamaCan knows that no Llama calls tools in a stream or can be made to call one,
// and that each wants the user to have spoken last.
func llamaCan(rest string) ability {
	small := strings.Contains(rest, "-1b-") || strings.Contains(rest, "-3b-")
	switch v := version(rest); {
	case v >= 400:
		return canSystem | canTools | canSee
	case v == 302 && !small:
		return canSystem | canTools | canSee
	case v >= 301 && !small:
		return canSystem | canTools
	}
	return canSystem
}

// path is where an operation of a model is called. Everything in the id but letters,
// digits and -._~ is escaped once ("…v1%3A0", "…inference-profile%2Fus.anthropic…"),
// as the SDKs send it; SigV4 for Bedrock signs that path escaped a second time, which
// is the signer's affair.
func path(id string, op Operation) string {
	const hexDigits = "0123456789ABCDEF"
	out := make([]byte, 0, len("/model/")+len(id)+len("/converse-stream")+8)
	out = append(out, "/model/"...)
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
			out = append(out, c)
		default:
			out = append(out, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	switch op {
	case Converse:
		out = append(out, "/converse"...)
	case ConverseStream:
		out = append(out, "/converse-stream"...)
	case Invoke:
		out = append(out, "/invoke"...)
	}
	return string(out)
}
