package usage

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The longest texts that are kept, in bytes. Configured names are far shorter; what is
// longer was made by somebody else.
const (
	maxID      = 128
	maxName    = 256
	maxDetails = 256
)

// clean makes a text safe for a terminal, a log and a label: control characters,
// marks that turn the direction of text and broken UTF-8 become '?', and it is at most
// limit bytes. The result never holds on to a longer text.
func clean(text string, limit int) string {
	if len(text) <= limit && plain(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text[:min(len(text), limit*utf8.UTFMax)] {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

func plain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// span is a duration that can be true of a request: between nothing and a week. Envoy
// measures with a clock that never jumps, so another one is a broken entry, and counts
// as missing: 0.
func span(seconds int64, nanos int32) time.Duration {
	const week = 7 * 24 * 60 * 60
	if seconds < -week || seconds > week {
		return 0
	}
	took := time.Duration(seconds)*time.Second + time.Duration(nanos)
	if took <= 0 || took > week*time.Second {
		return 0
	}
	return took
}

// moment is a time between the years 1 and 9999, or else the zero time.
func moment(seconds int64, nanos int32) time.Time {
	const first, last = -62_135_596_800, 253_402_300_799
	if seconds < first || seconds > last || nanos < 0 || nanos >= 1e9 {
		return time.Time{}
	}
	return time.Unix(seconds, int64(nanos)).UTC()
}

// size is a number of bytes; one that does not fit is cut.
func size(n uint64) int64 {
	const most = 1 << 50
	return int64(min(n, most))
}
