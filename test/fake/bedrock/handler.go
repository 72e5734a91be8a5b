package bedrock

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// attend answers one request.
func (s *Server) attend(v *stage.Visit[Request]) stage.Outcome {
	behavior, final := s.script.Take()
	if !behavior.IgnoreBody {
		v.Read(0)
	}
	seen := Request{Request: v.Seen}
	seen.Model, seen.Operation = place(seen.Target)
	if seen.BodyError != nil {
		v.Keep(seen)
		return v.Blame()
	}
	if !final {
		behavior = s.late(seen, behavior)
	}
	answer := s.answer(&seen, behavior)
	v.Keep(seen)
	return v.Perform(answer.as(behavior))
}

// as is the answer as a behaviour wants it sent.
func (a answer) as(b Behavior) stage.Performance {
	p := stage.Performance{
		Status: a.status, Header: a.header, Pieces: a.pieces(b.Together), Stream: a.stream(),
		Raw: b.Raw, FirstByteDelay: b.FirstByteDelay, Gate: b.Gate, ByteByByte: b.ByteByByte, How: b.Break.How,
	}
	p.Pause = func(i int) time.Duration {
		if i == a.metadata {
			return b.EventDelay + b.MetadataDelay
		}
		return b.EventDelay
	}
	if !p.Stream {
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
	case b.Bytes == 0:
		return pieces, b.Frames
	case b.Frames >= len(pieces):
		return pieces, len(pieces) + 1 // it ends before it could be broken off
	}
	piece := pieces[b.Frames]
	return append(slices.Clone(pieces[:b.Frames]), piece[:min(b.Bytes, len(piece))]), b.Frames + 1
}
