// Package openai is a provider for tests: a small, real HTTP server that speaks
// OpenAI's form well enough for the official SDKs, remembers what it was sent,
// and misbehaves on request.
//
// Its ordinary answers are correct and depend on the request alone, so that a test
// can tell what it should have got. Whatever it does wrong, it does because a
// [Behavior] asked for it: one given to every request ([Server.Always]), to the
// next few ([Server.Next]), to a model or user name ([Server.ForModel],
// [Server.ForUser]), or named by the request itself, whose field "user" reads
// "fake:" and a word of [Named].
//
// All methods of Server may be called at the same time. Close ends every
// connection, waits for everything the server started, and may be called again.
package openai
