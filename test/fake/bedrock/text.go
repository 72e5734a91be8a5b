package bedrock

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// words is what the model says to a prompt.
func words(b Behavior, prompt string) string { return stage.Words(b.Content, b.Size, prompt) }

// pieces cuts what is said for a stream.
func pieces(b Behavior, said string) []string { return stage.Pieces(said, b.Pieces) }

// promptText joins all texts, for counting: the system's, the messages', and those of
// tools' results.
func promptText(r *Request) string {
	texts := []string{textOf(r.JSON("system"))}
	for _, message := range r.JSON("messages").Array() {
		texts = append(texts, textOf(message.Get("content")))
		for _, block := range message.Get("content").Array() {
			for _, part := range block.Get("toolResult.content").Array() {
				texts = append(texts, part.Get("text").String(), part.Get("json").Raw)
			}
		}
	}
	return strings.Join(texts, " ")
}

func textOf(blocks gjson.Result) string {
	var texts []string
	for _, block := range blocks.Array() {
		if text := block.Get("text"); text.Exists() {
			texts = append(texts, text.String())
		}
	}
	return strings.Join(texts, " ")
}

// lastUser is the content of the last message in which the user, not a tool, speaks.
func lastUser(messages gjson.Result) gjson.Result {
	var last gjson.Result
	for _, message := range messages.Array() {
		if message.Get("role").String() != "user" {
			continue
		}
		for _, block := range message.Get("content").Array() {
			if !block.Get("toolResult").Exists() {
				last = message.Get("content")
				break
			}
		}
	}
	return last
}

func lastUserText(messages gjson.Result) string { return textOf(lastUser(messages)) }

// seen says what images the user showed: " (saw png of 70 bytes)".
func seen(content gjson.Result) string {
	var said strings.Builder
	for _, block := range content.Array() {
		for _, picture := range imagesOf(block) {
			data, _ := base64.StdEncoding.DecodeString(picture.Get("source.bytes").String()) // shape has seen it
			fmt.Fprintf(&said, " (saw %s of %d bytes)", picture.Get("format"), len(data))
		}
	}
	return said.String()
}

// imagesOf are the images of a block, a tool's result among them.
func imagesOf(block gjson.Result) []gjson.Result {
	var found []gjson.Result
	if picture := block.Get("image"); picture.Exists() {
		found = append(found, picture)
	}
	for _, part := range block.Get("toolResult.content").Array() {
		if picture := part.Get("image"); picture.Exists() {
			found = append(found, picture)
		}
	}
	return found
}

// askedTools are the tools to call: the one toolChoice names, the first if one is
// required, or if the user's words contain "call a tool"; none after a tool's result,
// so that loops end.
func askedTools(r *Request, all []string, count int) []string {
	messages := r.JSON("messages").Array()
	last := messages[len(messages)-1].Get("content").Array()
	switch {
	case last[len(last)-1].Get("toolResult").Exists(), len(all) == 0:
		return nil
	case r.JSON("toolConfig.toolChoice.tool").Exists():
		return []string{r.JSON("toolConfig.toolChoice.tool.name").String()}
	case r.JSON("toolConfig.toolChoice.any").Exists(), strings.Contains(lastUserText(r.JSON("messages")), "call a tool"):
		return all[:min(max(count, 1), len(all))]
	}
	return nil
}
