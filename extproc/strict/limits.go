package strict

// The bounds of a strict request. "Reference" is OpenAI's API reference; "API" is
// what its error messages say where the reference is silent; the rest are ours, far
// above what a sane client sends, so that one request cannot buy unbounded work.
const (
	maxMessages    = 4096     // ours; the API takes 2048 today
	maxParts       = 4096     // ours: parts of one message's content
	maxPartText    = 10 << 20 // ours: bytes of one text, as it stands in the body
	maxTools       = 128      // reference, chat: "a max of 128 functions are supported"
	maxCalls       = 128      // API: messages[].tool_calls "expected an array with maximum length 128"
	maxName        = 64       // reference: names of functions, tools and schemas
	maxID          = 256      // ours; the API makes ids of some 30 bytes
	maxStops       = 4        // reference: "up to 4 sequences"
	maxChoices     = 128      // reference: n
	maxTopLogprobs = 20       // reference: top_logprobs
	maxLogprobs    = 5        // reference: logprobs of completions
	maxBestOf      = 20       // reference: best_of
	maxTemperature = 2        // reference
	maxPenalty     = 2        // reference: presence_penalty, frequency_penalty
	maxInputs      = 2048     // reference, embeddings: "any array must be 2048 dimensions or less"
	maxTokens      = 8192     // reference, embeddings: tokens of one input
	maxItems       = maxMessages
)
