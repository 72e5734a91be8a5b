package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
)

// The mock provider's answers.
const (
	PlainBytes   = 1024 // of the plain answer's body
	StreamEvents = 34   // of the streamed answer, [DONE] among them
	LongEvents   = 104  // of the one that a model gets whose name ends so
	longModel    = "-long"
)

// Upstream is a provider that does as little as HTTP/1.1 permits: each request gets
// the same answer, or the same stream if its body asks for one. It understands
// keep-alive, content-length and chunks, and nothing else of HTTP.
type Upstream struct {
	// Together is how many events of a stream go out in one write; 0 means 1, as
	// providers send them.
	Together int

	mu     sync.Mutex
	open   map[io.Closer]struct{}
	closed bool
	work   sync.WaitGroup
}

// Serve accepts until Close, and then gives nil.
func (u *Upstream) Serve(listener net.Listener) error {
	if !u.enter(listener) {
		return nil
	}
	defer u.leave(listener)
	stream := streams{streamWrites(max(u.Together, 1), StreamEvents), streamWrites(max(u.Together, 1), LongEvents)}
	for {
		c, err := listener.Accept()
		if err != nil {
			u.mu.Lock()
			defer u.mu.Unlock()
			if u.closed {
				return nil
			}
			return err
		}
		if !u.enter(c) {
			continue
		}
		go func() {
			defer u.leave(c)
			_ = converse(c, stream) // how a client leaves is its own affair
		}()
	}
}

// Close ends the listeners and the connections, and waits for their goroutines.
func (u *Upstream) Close() {
	u.mu.Lock()
	u.closed = true
	for c := range u.open {
		_ = c.Close()
	}
	u.mu.Unlock()
	u.work.Wait()
}

func (u *Upstream) enter(c io.Closer) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		_ = c.Close()
		return false
	}
	if u.open == nil {
		u.open = map[io.Closer]struct{}{}
	}
	u.open[c] = struct{}{}
	u.work.Add(1)
	return true
}

func (u *Upstream) leave(c io.Closer) {
	_ = c.Close()
	u.mu.Lock()
	delete(u.open, c)
	u.mu.Unlock()
	u.work.Done()
}

var (
	plainWrite  = plainAnswer()
	streamAsked = [][]byte{[]byte(`"stream":true`), []byte(`"stream": true`)}
	longAsked   = []byte(longModel + `"`)
)

// streams are the writes of the streamed answers.
type streams struct{ usual, long [][]byte }

// converse answers the requests of one connection, one after the other.
func converse(c net.Conn, stream streams) error {
	reader := bufio.NewReaderSize(c, 64<<10)
	var body []byte
	for {
		head, err := readHead(reader)
		if err != nil {
			return err
		}
		if body, err = readBody(reader, head, body[:0]); err != nil {
			return err
		}
		writes := [][]byte{plainWrite}
		if bytes.Contains(body, streamAsked[0]) || bytes.Contains(body, streamAsked[1]) {
			writes = stream.usual
			if bytes.Contains(body, longAsked) {
				writes = stream.long
			}
		}
		for _, write := range writes {
			if _, err := c.Write(write); err != nil {
				return err
			}
		}
	}
}

func readBody(reader *bufio.Reader, head head, into []byte) ([]byte, error) {
	err := head.body(reader, func(piece []byte) { into = append(into, piece...) })
	if errors.Is(err, errUnsized) { // a request without either has no body
		err = nil
	}
	return into, err
}

func plainAnswer() []byte {
	const front = `{"id":"chatcmpl-bench","object":"chat.completion","created":1767225600,"model":"bench","choices":[{"index":0,` +
		`"message":{"role":"assistant","content":"`
	const back = `","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":120,"completion_tokens":110,` +
		`"total_tokens":230,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},` +
		`"service_tier":"default","system_fingerprint":"fp_bench"}`
	words := strings.Repeat("The parcel left the house this morning. ", PlainBytes/40+1)
	body := front + words[:PlainBytes-len(front)-len(back)] + back
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: req_bench\r\n\r\n%s", len(body), body)
}

// streamWrites are the writes of a streamed answer: a role, words, the reason, the
// usage and [DONE], each event a chunk of its own.
func streamWrites(together, count int) [][]byte {
	const front = `{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1767225600,"model":"bench","system_fingerprint":"fp_bench",`
	delta := func(delta, reason string) string {
		return front + `"choices":[{"index":0,"delta":` + delta + `,"logprobs":null,"finish_reason":` + reason + `}],"usage":null}`
	}
	events := []string{delta(`{"role":"assistant","content":""}`, "null")}
	for i := range count - 4 {
		events = append(events, delta(fmt.Sprintf(`{"content":"word%d "}`, i), "null"))
	}
	events = append(events, delta("{}", `"stop"`),
		front+`"choices":[],"usage":{"prompt_tokens":120,"completion_tokens":30,"total_tokens":150}}`, "[DONE]")

	writes := [][]byte{[]byte("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\nx-request-id: req_bench\r\n\r\n")}
	for i, event := range events {
		data := "data: " + event + "\n\n"
		chunk := fmt.Appendf(nil, "%x\r\n%s\r\n", len(data), data)
		if i%together == 0 && i > 0 {
			writes = append(writes, nil)
		}
		last := len(writes) - 1 // headers go with the first event
		writes[last] = append(writes[last], chunk...)
	}
	writes[len(writes)-1] = append(writes[len(writes)-1], "0\r\n\r\n"...)
	return writes
}
