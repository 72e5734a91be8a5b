package bedrock

import (
	"strconv"
	"time"
)

// named are the behaviours clients in other processes can ask for.
var named = map[string]Behavior{
	"throttled":        Throttled(time.Second),
	"validation":       Fail(Validation),
	"access-denied":    Fail(AccessDenied),
	"not-found":        Fail(NotFound),
	"model-timeout":    Fail(ModelTimeout),
	"model-not-ready":  Fail(ModelNotReady),
	"model-error":      Fail(ModelError),
	"model-stream":     Fail(ModelStreamError),
	"internal":         Fail(Internal),
	"unavailable":      Fail(Unavailable),
	"quota":            Fail(QuotaExceeded),
	"expired":          Fail(ExpiredToken),
	"exception-first":  FailInStream(Throttling, 0),
	"exception-middle": FailInStream(ModelStreamError, 3),
	"exception-last":   FailInStream(Internal, AtEnd),
	"no-message-stop":  {Omit: []string{"messageStop"}},
	"no-metadata":      {Omit: []string{"metadata"}},
	"late-metadata":    {MetadataDelay: time.Second},
	"crc":              {CorruptMessage: 3},
	"crc-prelude":      {CorruptPrelude: 3},
	"cut":              CutStream(Close, 3),
	"cut-frame":        CutMidFrame(Close, 3),
	"stall":            CutStream(Stall, 3),
	"empty":            {Empty: true},
	"bad-tool":         {ToolInput: `{"tools": [`},
	"reasoning":        {Reasoning: "The user wants an echo."},
	"cached":           {CacheRead: 30, CacheWrite: 12},
	"html":             HTML(),
	"garbage":          Garbage(),
	"garbage-json":     GarbageJSON(),
	"close":            NoAnswer(Close),
	"reset":            NoAnswer(Reset),
	"silence":          NoAnswer(Stall),
	"bytes":            {ByteByByte: true},
	"together":         {Together: true},
	"big":              {Size: 5 << 20},
	"slow":             {FirstByteDelay: time.Second, EventDelay: 100 * time.Millisecond},
}

// Named is the behaviour of a word, for clients in other processes. Three digits are
// a status without an exception's name. The exceptions by name: "throttled" (with
// Retry-After: 1), "validation", "access-denied", "not-found", "model-timeout",
// "model-not-ready", "model-error", "model-stream", "internal", "unavailable",
// "quota", "expired"; in a stream: "exception-first", "exception-middle",
// "exception-last". A stream's frames: "no-message-stop", "no-metadata",
// "late-metadata" (a second), "crc", "crc-prelude", "cut", "cut-frame", "stall" (all
// at the third or fourth frame), "bytes", "together". The model: "empty", "bad-tool",
// "reasoning", "cached" (30 read, 12 written), "big" (5 MiB), "slow". And "html",
// "garbage", "garbage-json"; "close", "reset", "silence" come before the status line.
func Named(word string) (Behavior, bool) {
	if status, err := strconv.Atoi(word); err == nil {
		return Status(status), status >= 200 && status <= 599
	}
	b, ok := named[word]
	return b, ok
}
