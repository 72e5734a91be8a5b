// Package bedrock has tests of the whole gate with Amazon Bedrock behind it: a real
// Envoy signs, a real server checks each signature, and clients cannot tell it from
// OpenAI. There is no code in it but tests.
//
// The invariant: what a provider was sent is compared in bytes, and every request at
// Bedrock is one that it takes.
package bedrock
