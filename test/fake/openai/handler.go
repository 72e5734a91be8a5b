package openai

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// attend answers one request.
func (s *Server) attend(v *stage.Visit[Request]) stage.Outcome {
	behavior, final := s.early(v.HTTP)
	if !behavior.IgnoreBody {
		v.Read(behavior.ReadPause)
	}
	v.Keep(beginning(v.Seen, s.keep))
	if v.Seen.BodyError != nil {
		return v.Blame()
	}
	if !final {
		behavior = s.late(v.Seen, behavior)
	}
	answer := s.answer(v.Seen, behavior)
	if s.told != nil {
		s.told(v.Seen, answer.said())
	}
	return v.Perform(answer.as(behavior))
}

// as is the answer as a behaviour wants it sent.
func (a answer) as(b Behavior) stage.Performance {
	p := stage.Performance{
		Status: a.status, Header: a.header, Pieces: a.events, Stream: a.events != nil,
		Raw: b.Raw, FirstByteDelay: b.FirstByteDelay, Pause: func(int) time.Duration { return b.EventDelay }, Gate: b.Gate,
		ByteByByte: b.ByteByByte, Trickle: b.ByteByByte, How: b.Break.How,
	}
	if !p.Stream {
		p.Pieces = [][]byte{a.body}
	}
	switch {
	case b.CloseDelimited:
		p.Header.Set("Connection", "close")
		p.Header.Set("Transfer-Encoding", "identity") // net/http's word for "no chunks"; it is not sent
	case !p.Stream:
		p.Header.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	maps.Copy(p.Header, b.Header)
	if p.How != Finish {
		p.Pieces, p.After = b.Break.cut(p.Pieces)
	}
	return p
}

// cut gives the pieces up to the break, the last one as far as it goes, and how many
// there are before it.
func (b Break) cut(pieces [][]byte) (kept [][]byte, after int) {
	switch {
	case b.Early:
		return nil, stage.BeforeHead
	case b.Events == 0 && b.Bytes == 0:
		return nil, 0
	}
	sent := 0
	for i, piece := range pieces {
		if b.Bytes > 0 && sent+len(piece) >= b.Bytes {
			return append(slices.Clone(pieces[:i]), piece[:b.Bytes-sent]), i + 1
		}
		if b.Events == i+1 {
			return pieces[:i+1], i + 1
		}
		sent += len(piece)
	}
	return pieces, len(pieces) + 1 // it ends before it could be broken off
}
