// Package config is the document an operator writes: its types, its defaults, its
// rules, and where it comes from.
//
// The invariant: a Config that Parse or Load returned is complete and valid. Every
// default is filled in, every name that is referred to exists, and nothing in it
// will be refused later on. A document with mistakes gives no Config at all, but
// all its mistakes at once, each with its place. No message shows a secret: messages
// quote what stands in the document, never what the environment or a file gave, and
// nothing at all of what stands under a key, a certificate or a header.
//
// A Config is immutable and safe to share between goroutines. Parse and Load may be
// called concurrently. Watch calls its caller from one goroutine only.
package config
