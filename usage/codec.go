package usage

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// batch is one message of Envoy's log, not read yet. Its text is there until free.
type batch struct{ text mem.Buffer }

func (b *batch) free() {
	if b.text != nil {
		b.text.Free()
		b.text = nil
	}
}

// ServerOption has a gRPC server hand the log's messages over as they came. Reading
// them whole costs more than twice as much as reading what is needed, and fails for all
// entries of a message where one holds a text that is no UTF-8, which a client can
// send. A server that Service is registered at needs it.
func ServerOption() grpc.ServerOption { return grpc.ForceServerCodecV2(codec{}) }

type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name is that of the ordinary codec: to the other side it is the same.
func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("usage: %T is no message", v)
	}
	text, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(text)}, nil
}

func (codec) Unmarshal(from mem.BufferSlice, v any) error {
	switch to := v.(type) {
	case *batch:
		to.free()
		to.text = from.MaterializeToBuffer(mem.DefaultBufferPool())
		return nil
	case proto.Message:
		return proto.Unmarshal(from.Materialize(), to)
	default:
		return fmt.Errorf("usage: %T is no message", v)
	}
}
