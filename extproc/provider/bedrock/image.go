package bedrock

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/fault"
)

// maxImage is how many bytes Converse takes for an image: 3.75 MiB
// (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html).
const maxImage = 15 << 18

const tooLarge = "must be an image of at most 3.75 MiB"

// image adds an image by its URL: a data URL, or a remote one where the operator
// allows it. begin begins the block. The format is read off the image itself, because
// what a data URL calls it is often wrong, and Bedrock then refuses the image.
func (c *converse) image(url gjson.Result, begin func()) *mistake {
	if url.Type != gjson.String {
		return is(`must have its "url", a string`)
	}
	if !c.model.has(canSee) {
		return is("cannot be shown to this model: it takes no images")
	}
	p := c.picture(url)
	if p.wrong != nil {
		m := *p.wrong // the place is this one's, and the picture may be asked for again
		return &m
	}
	begin()
	c.turns.out = append(c.turns.out, `{"image":{"format":"`...)
	c.turns.out = append(c.turns.out, p.format...)
	c.turns.out = append(c.turns.out, `","source":{"bytes":"`...)
	c.turns.raw(p.data)
	c.turns.out = append(c.turns.out, `"}}}`...)
	return nil
}

// picture is an image as Converse takes it, or why it does not.
type picture struct {
	format string
	data   string // in base64
	wrong  *mistake
}

// picture reads an image. One that stands in the request is looked through once, however
// many models are asked.
func (c *converse) picture(url gjson.Result) (p picture) {
	scheme, rest, _ := strings.Cut(url.Str, ":")
	switch strings.ToLower(scheme) {
	case "data":
		if p, known := c.reading.images[url.Raw]; known {
			return p
		}
		p.data, p.wrong = dataOf(rest)
	case "http", "https":
		p.data, p.wrong = c.fetch(url.Str)
	default:
		p.wrong = is("must be a data: URL, or an https: URL where the operator allows its host")
	}
	if p.wrong == nil {
		if p.format = imageFormat(p.data); p.format == "" {
			p.wrong = is("must be an image in PNG, JPEG, GIF or WebP")
		}
	}
	if c.dry && strings.EqualFold(scheme, "data") {
		if c.reading.images == nil {
			c.reading.images = map[string]picture{}
		}
		c.reading.images[url.Raw] = p
	}
	return p
}

// dataOf is the data of a data URL, what stands behind "data:".
func dataOf(rest string) (data string, m *mistake) {
	head, data, found := strings.Cut(rest, ",")
	head = strings.ToLower(head)
	if !found || !strings.HasPrefix(head, "image/") || !strings.HasSuffix(head, ";base64") {
		return "", is("must be a data: URL of an image in base64: data:image/png;base64,…")
	}
	if base64.StdEncoding.DecodedLen(len(data)) > maxImage+2 {
		return "", is(tooLarge)
	}
	if !isBase64(data) {
		return "", is("must have its image in base64, with its padding and without line breaks")
	}
	return data, nil
}

func (c *converse) fetch(url string) (data string, m *mistake) {
	if c.settings.Images == nil {
		return "", is("must be a data: URL: images are not fetched for this model")
	}
	image, err := c.settings.Images(url)
	if err != nil {
		m = is("could not be fetched")
		m.cause = err
		if e, ok := errors.AsType[*fault.Error](err); ok {
			m.kind = e.Kind
		}
		return "", m
	}
	if len(image) > maxImage {
		return "", is(tooLarge)
	}
	return base64.StdEncoding.EncodeToString(image), nil
}

// isBase64 says that text is base64 as RFC 4648 §4 has it, with its padding and nothing
// behind its last byte. It decodes no more than the end: it may be megabytes.
func isBase64(text string) bool {
	if len(text) == 0 || len(text)%4 != 0 {
		return false
	}
	if _, err := base64.StdEncoding.Strict().DecodeString(text[len(text)-4:]); err != nil {
		return false
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "="), "=")
	for i := range len(text) {
		if !inBase64[text[i]] {
			return false
		}
	}
	return true
}

var inBase64 = func() (set [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		set[c] = true
	}
	return set
}()

// imageFormat is an image's format as Converse calls it, by the image's first bytes;
// empty for another.
func imageFormat(data string) string {
	head, _ := base64.StdEncoding.DecodeString(data[:min(len(data), 16)])
	switch {
	case bytes.HasPrefix(head, []byte("\x89PNG\r\n\x1a\n")):
		return "png"
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		return "jpeg"
	case bytes.HasPrefix(head, []byte("GIF87a")), bytes.HasPrefix(head, []byte("GIF89a")):
		return "gif"
	case len(head) == 12 && string(head[:4]) == "RIFF" && string(head[8:]) == "WEBP":
		return "webp"
	}
	return ""
}
