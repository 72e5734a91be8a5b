package bedrock

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// canonical is the text the client must have signed, made anew from what arrived:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
// The body's hash is that of the body, whatever x-amz-content-sha256 says.
func canonical(r *Request) string {
	path, query, _ := strings.Cut(r.Target, "?")
	var headers strings.Builder
	for _, name := range r.Signature.Headers {
		headers.WriteString(name + ":" + value(r, name) + "\n")
	}
	return strings.Join([]string{
		r.Method, escape(path, true), canonicalQuery(query), headers.String(),
		strings.Join(r.Signature.Headers, ";"), r.BodyHash,
	}, "\n")
}

// value joins a header's lines, with runs of spaces as one. net/http has taken host
// and content-length away.
func value(r *Request, name string) string {
	values := slices.Clone(r.Header.Values(name))
	switch {
	case name == "host":
		values = []string{r.Host}
	case name == "content-length" && len(values) == 0:
		values = []string{strconv.Itoa(r.BodyBytes)}
	}
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

func canonicalQuery(query string) string {
	var pairs []string
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, text, _ := strings.Cut(pair, "=")
		pairs = append(pairs, escape(unescape(name), false)+"="+escape(unescape(text), false))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

func unescape(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// escape writes every byte that is not unreserved as %XX. For a path it takes the
// bytes of the request line, escapes and all, and so escapes them once more: every
// service but S3 signs "a%3Ab" as "a%253Ab", and "a:b" as "a%3Ab".
func escape(text string, path bool) string {
	var out strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0, path && c == '/':
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text)) // a hash takes everything
	return h.Sum(nil)
}
