package extproc_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/extproc"
)

// What OpenAI's two tokenizers make of a text: o200k_base and cl100k_base, counted with
// their published vocabularies. The bounds have to hold both.
var tokenized = map[string]struct {
	text     string
	new, old int64
}{
	"English": {"Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice she had peeped into the book her sister was reading, but it had no pictures or conversations in it, “and what is the use of a book,” thought Alice “without pictures or conversations?”", 67, 67},
	"German":  {"Die Würde des Menschen ist unantastbar. Sie zu achten und zu schützen ist Verpflichtung aller staatlichen Gewalt. Das Deutsche Volk bekennt sich darum zu unverletzlichen und unveräußerlichen Menschenrechten als Grundlage jeder menschlichen Gemeinschaft, des Friedens und der Gerechtigkeit in der Welt.", 64, 81},
	//nolint:misspell // it is French
	"French":  {"Les hommes naissent et demeurent libres et égaux en droits. Les distinctions sociales ne peuvent être fondées que sur l'utilité commune. Le but de toute association politique est la conservation des droits naturels et imprescriptibles de l'homme.", 49, 54},
	"Russian": {"Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом и совестью и должны поступать в отношении друг друга в духе братства.", 42, 75},
	//nolint:gosmopolitan // what it is about
	"Chinese": {"人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。人人有资格享有本宣言所载的一切权利和自由，不分种族、肤色、性别、语言、宗教、政治或其他见解、国籍或社会出身、财产、出生或其他身份等任何区别。", 91, 125},
	"Korean":  {"모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.", 51, 85},
	"Arabic":  {"يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميرًا وعليهم أن يعامل بعضهم بعضًا بروح الإخاء.", 44, 88},
	"emoji":   {"😀😃😄😁😆😅🤣😂🙂🙃😉😊😇🥰😍🤩😘😗", 27, 40},
	"a word":  {strings.Repeat("x", 10000), 1250, 1250},
	"words":   {strings.Repeat("words ", 2000) + "end.", 2002, 2002},
}

func TestTokensAreWithinTheirBounds(t *testing.T) {
	for name, c := range tokenized {
		t.Run(name, func(t *testing.T) {
			plain, err := json.Marshal(c.text)
			require.NoError(t, err)
			for form, text := range map[string]string{"plain": string(plain), "escaped": escaped(c.text)} {
				least, likely, most := extproc.TokensOf([]byte(text))
				assert.LessOrEqual(t, least, min(c.new, c.old), form)
				assert.GreaterOrEqual(t, most, max(c.new, c.old), form)
				assert.LessOrEqual(t, least, likely, form)
				assert.LessOrEqual(t, likely, most, form)
				assert.InEpsilon(t, c.new, likely, 0.4, form)
			}
		})
	}
}

// escaped is a text as JSON in ASCII, as Python's json writes it.
func escaped(text string) string {
	quoted, _ := json.Marshal(text)
	var b strings.Builder
	for _, r := range string(quoted) {
		if r < 0x80 {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

func TestWhatIsNoTextHasNoTokens(t *testing.T) {
	for text, want := range map[string]int64{
		``: 0, `{}`: 0, `[1,2,3]`: 0, `""`: 0, `{"a":1}`: 1, `"a`: 1, `"\`: 0, `"\u00`: 3, `"\u0061b"`: 1,
		`"data:image/png;base64,AAAABBBB"`: 0, `"data: is a word"`: 4, `"data:image/png;base64,AAAA`: 6,
	} {
		least, likely, most := extproc.TokensOf([]byte(text))
		assert.LessOrEqual(t, least, likely, text)
		assert.LessOrEqual(t, likely, most, text)
		assert.InDelta(t, want, least, 2, text)
		if want == 0 && !strings.Contains(text, `\`) {
			assert.Zero(t, most, text)
		}
	}
}

// FuzzTokens: any bytes are counted, and the bounds are in order.
func FuzzTokens(f *testing.F) {
	for _, c := range tokenized {
		f.Add([]byte(escaped(c.text)))
	}
	for _, text := range []string{`"\`, `"\u`, `"\ud800\udc00"`, `"\uDC00"`, "\"\xff\xfe\"", `"data:x;base64,`, `"a\"b"`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		least, likely, most := extproc.TokensOf(text)
		if least < 0 || likely < least || most < likely || most > 3*int64(len(text)) {
			t.Fatalf("%q has %d, %d, %d tokens", text, least, likely, most)
		}
	})
}

func BenchmarkTokens(b *testing.B) {
	text := []byte(messages(1000))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		extproc.TokensOf(text)
	}
}
