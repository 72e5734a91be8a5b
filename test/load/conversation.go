package load

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// SmallestBody is the least size Conversation can make.
const SmallestBody = 280

// Conversation is the body of a chat request of exactly size bytes, the same for
// the same arguments: what a shop's assistant and its customer have said so far, in
// many messages of uneven length, with quotes, line breaks, letters beyond ASCII,
// and, in longer ones, tools and their calls. Its members stand in the order in
// which the official Python client writes them: the model after the messages.
func Conversation(model string, size int, stream bool) ([]byte, error) {
	if size < SmallestBody {
		return nil, fmt.Errorf("a conversation of %d bytes: at least %d are needed", size, SmallestBody)
	}
	tail := fmt.Sprintf(`],"model":%q,"temperature":0.7`, model)
	if stream {
		tail += `,"stream":true,"stream_options":{"include_usage":true}`
	}
	if size >= 4<<10 {
		tail += `,"tools":` + toolsOffered
	}
	tail += "}"

	w := writer{random: rand.New(rand.NewPCG(uint64(size), 7))}
	w.WriteString(`{"messages":[{"role":"system","content":"You help the customers of a shop. Be brief."}`)
	const last, end = `,{"role":"user","content":"`, `"}`
	room := func() int { return size - w.Len() - len(last) - len(end) - len(tail) }
	for turn := 0; ; turn++ {
		message := w.turn(turn, size >= 4<<10)
		if len(message) > room()-20 {
			break
		}
		w.WriteString(message)
	}
	if room() < 0 {
		return nil, fmt.Errorf("a conversation of %d bytes: %d too few for this model name", size, -room())
	}
	w.WriteString(last + w.plain(room()) + end + tail)
	return []byte(w.String()), nil
}

const toolsOffered = `[{"type":"function","function":{"name":"search_catalog","description":"Find products by words.",` +
	`"parameters":{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}},"required":["query"]}}},` +
	`{"type":"function","function":{"name":"get_product","description":"All there is to know about one product.",` +
	`"parameters":{"type":"object","properties":{"id":{"type":"string"}},"required":["id"]}}}]`

var vocabulary = strings.Fields(`the a this that parcel order shoes jacket size colour blue green wool cotton price delivery
	today tomorrow week return exchange refund store address would could please thank you where when how much many is are
	was has have not yet still again another smaller larger warmer light winter summer mountain city walking rain because`)

// spices are what makes a JSON string more than a run of letters.
var spices = []string{`\n`, `\n- `, ` \"quoted\" `, ` café `, ` 12,50 € `, ` größer `, ` \u2014 `, ` ½ `, ` <b>& `, ` https://shop.example/p/4711?ref=chat `}

type writer struct {
	strings.Builder
	random *rand.Rand
}

// turn is the next message or pair of messages, each with its comma before it.
func (w *writer) turn(n int, tools bool) string {
	switch {
	case n%2 == 0:
		return fmt.Sprintf(`,{"role":"user","content":"%s"}`, w.prose(20+w.random.IntN(300)))
	case tools && n%8 == 3:
		return w.toolCall(n)
	default:
		return fmt.Sprintf(`,{"role":"assistant","content":"%s"}`, w.prose(60+w.random.IntN(900)))
	}
}

func (w *writer) toolCall(n int) string {
	var products []string
	for i := range 2 + w.random.IntN(4) {
		products = append(products, fmt.Sprintf(`{\"id\":\"p-%d-%d\",\"title\":\"%s\",\"price\":%d}`, n, i, w.word()+" "+w.word(), 1000+w.random.IntN(9000)))
	}
	return fmt.Sprintf(`,{"role":"assistant","content":null,"tool_calls":[{"id":"call_%d","type":"function","function":`+
		`{"name":"search_catalog","arguments":"{\"query\":\"%s\",\"limit\":5}"}}]}`+
		`,{"role":"tool","tool_call_id":"call_%d","content":"{\"products\":[%s]}"}`,
		n, w.word()+" "+w.word(), n, strings.Join(products, ","))
}

func (w *writer) word() string { return vocabulary[w.random.IntN(len(vocabulary))] }

// prose is about n bytes of text, escaped for JSON.
func (w *writer) prose(n int) string {
	var text strings.Builder
	for text.Len() < n {
		text.WriteString(w.word())
		if w.random.IntN(15) == 0 {
			text.WriteString(spices[w.random.IntN(len(spices))])
		} else {
			text.WriteByte(' ')
		}
	}
	return text.String()
}

// plain is exactly n bytes that need no escape.
func (w *writer) plain(n int) string {
	var text strings.Builder
	for text.Len() < n {
		text.WriteString(w.word() + " ")
	}
	return text.String()[:n]
}
