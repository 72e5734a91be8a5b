package reader_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/need"
	"github.com/postern-proxy/postern/xds/reader"
)

// player is the module in a process that plays Envoy and ends at the first wrong access.
type player struct {
	in  io.Writer
	out io.Reader
}

// sanitizers stop at what a compiler lets pass; a machine without them tests the rest.
const sanitizers = "-fsanitize=address,undefined"

// compile makes a program of a file in C.
func compile(t testing.TB, binary, source string, more ...string) ([]byte, error) {
	t.Helper()
	args := append([]string{"-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-o", binary, source}, more...)
	return exec.CommandContext(t.Context(), need.Program(t, "cc"), args...).CombinedOutput()
}

func play(t testing.TB) *player {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "harness")
	if _, err := compile(t, binary, "testdata/harness.c", sanitizers, "-fno-sanitize-recover=all"); err != nil {
		t.Log("without sanitizers: this compiler has none")
		text, err := compile(t, binary, "testdata/harness.c")
		require.NoError(t, err, "%s", text)
	}
	in, out := begin(t, binary)
	return &player{in: in, out: out}
}

// begin runs a program that plays Envoy. It ends with its input.
func begin(t testing.TB, binary string, args ...string) (in io.Writer, out io.Reader) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err = cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = input.Close()
		assert.NoError(t, cmd.Wait(), "it read or wrote where it must not, lost memory, or raced")
	})
	return input, out
}

// answer is one answer of a provider, in pieces of slices.
type answer struct {
	stream, strip, trailers bool
	pieces                  [][][]byte
}

// pass sends an answer through. found is false if no usage object was noted.
func (p *player) pass(t testing.TB, a answer) (body []byte, usage string, found bool) {
	t.Helper()
	text := []byte{bit(a.stream), bit(a.strip), bit(a.trailers)}
	for i, slices := range a.pieces {
		text = append(text, 1, bit(i == len(a.pieces)-1 && !a.trailers))
		text = binary.LittleEndian.AppendUint32(text, uint32(len(slices)))
		for _, slice := range slices {
			text = binary.LittleEndian.AppendUint32(text, uint32(len(slice)))
			text = append(text, slice...)
		}
	}
	_, err := p.in.Write(append(text, 0))
	require.NoError(t, err)
	body, _ = p.read(t)
	said, found := p.read(t)
	return body, string(said), found
}

func (p *player) read(t testing.TB) (text []byte, found bool) {
	t.Helper()
	var size [4]byte
	_, err := io.ReadFull(p.out, size[:])
	require.NoError(t, err)
	n := binary.LittleEndian.Uint32(size[:])
	if n == 1<<32-1 {
		return nil, false
	}
	text = make([]byte, n)
	_, err = io.ReadFull(p.out, text)
	require.NoError(t, err)
	return text, true
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// cut makes pieces of slices of a text, by chance.
func cut(text []byte, random *rand.Rand) [][][]byte {
	sizes := []int{1, 3, 40, 1000, 20_000, 1 << 20}
	if len(text) > 10_000 {
		sizes = sizes[3:]
	}
	most := sizes[random.IntN(len(sizes))]
	var pieces [][][]byte
	for len(text) > 0 {
		var slices [][]byte
		for range 1 + random.IntN(3) {
			n := min(len(text), random.IntN(most)+random.IntN(2))
			slices = append(slices, text[:n:n])
			text = text[n:]
		}
		pieces = append(pieces, slices)
	}
	if len(pieces) == 0 || random.IntN(2) == 0 { // an end of its own
		pieces = append(pieces, nil)
	}
	return pieces
}

const object = `{"prompt_tokens":7,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":1}}`

func TestTheEndOfAnAnswer(t *testing.T) {
	p := play(t)
	random := rand.New(rand.NewPCG(1, 2))
	deep := strings.Repeat("{", 1000)
	for name, test := range map[string]struct{ text, want string }{
		"plain":                 {`{"choices":[],"usage":` + object + `}`, object},
		"with spaces":           {"{\"usage\" \t\r\n:\n " + object + "}", object},
		"the last one":          {`{"a":{"usage":{"x":1}},"usage":` + object + `}`, object},
		"null":                  {`{"usage":null}`, ""},
		"deeper":                {`{"tools":[{"parameters":{"properties":{"usage":{"input_tokens":0}}}}],"usage":null}`, ""},
		"in a list":             {`{"a":[{"usage":{"input_tokens":0}}]}`, ""},
		"deeper, behind it":     {`{"usage":` + object + `,"tools":[{"usage":{"input_tokens":0}}],"x":"}]\\\"{"}`, object},
		"deeper, many times":    {`{"usage":` + object + `,"tools":[` + strings.Repeat(`{"usage":{}},`, 3) + `0]}`, object},
		"nothing":               {``, ""},
		"no object":             {`{"usage":[1]}`, ""},
		"not closed":            {`{"usage":{"a":1`, ""},
		"the last is broken":    {`{"usage":{"a":1},"b":{"usage":{`, ""},
		"in a text":             {`{"content":"\"usage\": {1}"}`, ""},
		"not printable":         {`{"usage":{"a":"` + "\x1b" + `"}}`, ""},
		"not ASCII":             {`{"usage":{"a":"ä"}}`, ""},
		"NUL":                   {"{\"usage\":{\x00}}", ""},
		"deep":                  {`{"usage":` + deep + strings.Repeat("}", 1000) + `}`, deep + strings.Repeat("}", 1000)},
		"too deep":              {`{"usage":` + strings.Repeat("{", 2000) + strings.Repeat("}", 2000), ""},
		"too long":              {`{"usage":{"a":"` + strings.Repeat("x", 3000) + `"}}`, ""},
		"behind a lot":          {strings.Repeat("x", 100_000) + `"usage":` + object + "}", object},
		"before a little":       {`{"usage":` + object + `,"b":"` + strings.Repeat("x", 8000-len(object)) + `"}`, object},
		"before a lot":          {`{"usage":` + object + `,"b":"` + strings.Repeat("x", 100_000) + `"}`, ""},
		"a hundred thousand":    {strings.Repeat(`"usage":{`, 100_000), ""},
		"nothing but the words": {strings.Repeat(`"usage"`, 10_000), ""},
	} {
		t.Run(name, func(t *testing.T) {
			for range 15 {
				a := answer{stream: random.IntN(2) == 0, trailers: random.IntN(2) == 0, pieces: cut([]byte(test.text), random)}
				body, usage, _ := p.pass(t, a)
				require.Equal(t, test.text, string(body), "nothing is changed")
				require.Equal(t, test.want, usage)
			}
		})
	}
}

// In a stream the usage of a response stands in the event that holds it.
func TestWhereAnEventHasItsUsage(t *testing.T) {
	p := play(t)
	random := rand.New(rand.NewPCG(5, 6))
	for _, test := range []struct{ text, want string }{
		{"event: x\ndata: {\"response\":{\"usage\":" + object + "}}\n\n", object},
		{"data: {\"usage\":" + object + "}\n\ndata: [DONE]\n\n", object},
		{"data: {\"response\":{\"usage\":" + object + "}}\n\ndata: {\"response\":{\"tools\":[{\"usage\":{}}]}}\n\n", object},
		{"data: {\"response\":{\"text\":{\"usage\":{\"input_tokens\":0}},\"usage\":null}}\n\n", ""},
	} {
		for range 20 {
			_, usage, _ := p.pass(t, answer{stream: true, pieces: cut([]byte(test.text), random)})
			require.Equal(t, test.want, usage, test.text)
		}
	}
	_, usage, _ := p.pass(t, answer{pieces: cut([]byte(`{"response":{"usage":`+object+`}}`), random)})
	require.Empty(t, usage, "a plain answer is the object itself")
}

var (
	listPattern   = regexp.MustCompile(`^data:[ \t-\r]*\[`)
	usagePattern  = regexp.MustCompile(`"usage"[ \t-\r]*:[ \t-\r]*\{`)
	choicePattern = regexp.MustCompile(`"choices"[ \t-\r]*:[ \t-\r]*\[[ \t-\r]*\]`)
)

// stripped is what is left of a whole stream, by the rule: lines that tell the tokens and
// have no choices go, and the empty line after each of them.
func stripped(text string) string {
	var out strings.Builder
	blank := false
	for line := range strings.Lines(text) {
		whole := strings.HasSuffix(line, "\n")
		if blank && (line == "\n" || line == "\r\n") {
			blank = false
			continue
		}
		blank = whole && len(line) <= 16384 && strings.HasPrefix(line, "data:") && !listPattern.MatchString(line) && usagePattern.MatchString(line) && choicePattern.MatchString(line)
		if !blank {
			out.WriteString(line)
		}
	}
	return out.String()
}

// parts are what streams are made of, good ones and others.
var parts = []string{
	"data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n",
	"data: {\"choices\":[],\"usage\":" + object + "}\n\n", "data:{\"choices\" : [ ],\"usage\" :\t" + object + "}\r\n\r\n",
	"data: {\"choices\":[{}],\"usage\":" + object + "}\n\n", "data: {\"choices\":[],\"usage\":null}\n\n",
	"data: {\"usage\":{", "data: [DONE]\n\n", "data: [", "data:", "dat", "d", "\n", "\r\n", "\r", "\r\r\n", ": comment\n",
	"event: x\n", "\"usage\":{", "\"choices\":[]", "}", strings.Repeat("x", 16380) + "\n", "data: " + strings.Repeat("y", 16378),
	"data: \"choices\":[],\"usage\":{}" + strings.Repeat("z", 16384-31), strings.Repeat("\n", 70), "\x00\xff", "",
}

// Whatever a stream is made of and however it is cut, what is left of it is the same.
func TestWhatIsLeftOfAStream(t *testing.T) {
	p := play(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	for run := range 3000 {
		var stream strings.Builder
		for range random.IntN(12) {
			stream.WriteString(parts[random.IntN(len(parts))])
		}
		a := answer{stream: true, strip: true, trailers: random.IntN(4) == 0, pieces: cut([]byte(stream.String()), random)}
		body, _, _ := p.pass(t, a)
		if want := stripped(stream.String()); want != string(body) {
			t.Fatalf("seed %d, run %d: of %q in %s\nis left %q\n    not %q", seed, run, stream.String(), shape(a), body, want)
		}
	}
}

// shape is where an answer is cut.
func shape(a answer) string {
	var sizes [][]int
	for _, piece := range a.pieces {
		of := make([]int, len(piece))
		for i := range piece {
			of[i] = len(piece[i])
		}
		sizes = append(sizes, of)
	}
	return fmt.Sprint(sizes)
}

func TestTheTokensOfAStrippedStream(t *testing.T) {
	p := play(t)
	random := rand.New(rand.NewPCG(3, 4))
	for _, last := range []string{"\n\n", "\r\n\r\n", "\n", ""} {
		text := parts[0] + strings.TrimRight(parts[1], "\n") + last
		for range 100 {
			_, usage, found := p.pass(t, answer{stream: true, strip: true, pieces: cut([]byte(text), random)})
			require.Equal(t, last != "", found, "a line that does not end is not known to be whole")
			if found {
				require.JSONEq(t, object, usage)
			}
		}
	}
}

// FuzzTheModule: nothing is read or written where it must not be, plain answers stay as
// they are, and of streams no more is left than there was.
func FuzzTheModule(f *testing.F) {
	for _, part := range parts {
		f.Add([]byte(part), uint64(1), true, true)
	}
	p := play(f)
	f.Fuzz(func(t *testing.T, text []byte, seed uint64, stream, strip bool) {
		a := answer{stream: stream, strip: strip, trailers: seed%3 == 0, pieces: cut(text, rand.New(rand.NewPCG(seed, 7)))}
		body, usage, found := p.pass(t, a)
		switch {
		case stream && strip:
			assert.Equal(t, stripped(string(text)), string(body))
		default:
			assert.True(t, bytes.Equal(text, body))
		}
		if found {
			assert.LessOrEqual(t, len(usage), 2048)
			assert.True(t, strings.HasPrefix(usage, "{") && strings.HasSuffix(usage, "}"))
		}
	})
}

func TestWhereTheModuleLies(t *testing.T) {
	folder := t.TempDir()
	binary := filepath.Join(folder, "envoy-1.40.0")
	assert.Empty(t, reader.Beside(binary, "1.40.0"), "nobody built it")
	assert.Empty(t, reader.Beside("", "1.40.0"))
	path := filepath.Join(folder, reader.Name("1.40.0"))
	require.NoError(t, os.Mkdir(path, 0o700))
	assert.Empty(t, reader.Beside(binary, "1.40.0"), "a folder is none")
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	assert.Equal(t, path, reader.Beside(binary, "1.40.0"))
	assert.Empty(t, reader.Beside(binary, "1.41.0"), "it is another Envoy's")
}
