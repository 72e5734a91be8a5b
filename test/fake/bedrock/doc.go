// Package bedrock is Amazon Bedrock's runtime for tests: a small, real HTTP server
// that speaks Converse, ConverseStream and InvokeModel (Titan's embeddings) well
// enough for the official SDK, recomputes every request's signature, remembers what
// it was sent, and misbehaves on request.
//
// It is strict where the service is, and stricter: a request that is not signed as
// it arrived, that has a field the service does not know, or that a model family
// does not take, is refused with the service's own error and remembered as refused
// ([Request].Refusal, [Server.NoRefusals]). Its ordinary answers depend on the
// request alone, and say and count the same as package test/fake/openai does for the
// same conversation. Whatever it does wrong, it does because a [Behavior] asked for
// it: one given to every request ([Server.Always]), to the next few ([Server.Next]),
// to a model ([Server.ForModel]) or a user's text ([Server.ForText]), or named by
// the request itself, whose last user text, or a value of its requestMetadata,
// begins with "fake:" and a word of [Named].
//
// What it does not do: guardrails, prompts by ARN, documents' contents, and other
// models' native bodies.
//
// All methods of Server may be called at the same time. Close ends every
// connection, waits for everything the server started, and may be called again.
package bedrock
