package config

// Config is one validated configuration version. It is immutable after Load or
// Parse returned it: every part of the gate may read it without a lock.
type Config struct {
	// Version is the content hash of the document, 12 hex digits, without the values
	// of secrets. What is compiled of one version is the same everywhere: variables count
	// by their values, and secrets by whether they have one.
	Version string `json:"-" yaml:"-"`

	Listen    Listen               `json:"listen,omitzero" yaml:"listen,omitempty" jsonschema_description:"Where the gate listens."`
	Providers map[string]*Provider `json:"providers" yaml:"providers" jsonschema_description:"Who answers: one entry an account at a provider."`
	Models    map[string]*Model    `json:"models" yaml:"models" jsonschema_description:"What clients may ask for: an exact name, or a pattern that ends in * (the longest wins)."`
	Tiers     map[string]*Tier     `json:"tiers,omitempty" yaml:"tiers,omitempty" jsonschema_description:"Limits, by the tier an API key was made for. 'default' always exists."`

	// Views are the parts of the configuration that the clusters of a fleet get, by
	// node.cluster.
	Views map[string]*View `json:"views,omitempty" yaml:"views,omitempty" jsonschema_description:"What the Envoys of a fleet get, by their node.cluster: a cluster without an entry gets the view 'default', which is everything unless it stands here."`

	// Prices stand over the prices that Postern knows, by "provider/model", as the
	// provider is asked for it.
	Prices map[string]*Price `json:"prices,omitempty" yaml:"prices,omitempty" jsonschema_description:"What tokens cost, over the prices that Postern knows: by provider/model, the model as the provider is asked for it."`

	Metrics Metrics `json:"metrics,omitzero" yaml:"metrics,omitempty" jsonschema_description:"What the metrics name."`

	Health Health `json:"health,omitzero" yaml:"health,omitempty" jsonschema_description:"When a provider is held to be down, and how it is asked whether it is."`

	DNS DNS `json:"dns,omitzero" yaml:"dns,omitempty" jsonschema_description:"Who is asked for the addresses of providers."`

	Extproc Extproc `json:"extproc,omitzero" yaml:"extproc,omitempty" jsonschema_description:"The service that reads request bodies."`

	// DefaultProvider takes every /v1/* endpoint that names no model (files,
	// images, audio, moderations). Unset: the first provider of the model "*".
	DefaultProvider string `json:"default_provider,omitempty" yaml:"default_provider,omitempty" jsonschema_description:"The provider of /v1/* endpoints that name no model; unset: the first provider of the model '*'."`

	marks    map[string]mark // where each key stands in the document
	warnings Problems
	files    []string // what file: references were read, for Watch

	absent     Problems
	partial    bool // see Rehearsal
	foreignTLS bool // TLS is not what a gate has
}

// Listen is the gate's own door.
type Listen struct {
	Address   string `json:"address,omitempty" yaml:"address,omitempty" jsonschema_description:"host:port; default 127.0.0.1:8080. A change needs a restart."`
	TLS       *TLS   `json:"tls,omitempty" yaml:"tls,omitempty" jsonschema_description:"Serve TLS. Switching it on or off needs a restart; new certificates do not."`
	BodyLimit Size   `json:"body_limit,omitempty" yaml:"body_limit,omitempty" jsonschema_description:"Largest request body; default 20MiB, at most 64MiB."`
	CORS      *CORS  `json:"cors,omitempty" yaml:"cors,omitempty" jsonschema_description:"Browser origins that may call the gate."`
}

// TLS is a certificate and its key, PEM, by reference.
type TLS struct {
	Certificate Secret `json:"certificate" yaml:"certificate" jsonschema_description:"PEM chain: file:PATH, ${ENV} or ssm:NAME."`
	Key         Secret `json:"key" yaml:"key" jsonschema_description:"PEM key: file:PATH, ${ENV} or ssm:NAME."`
}

// CORS names the origins whose pages may call the gate.
type CORS struct {
	Origins []string `json:"origins" yaml:"origins" jsonschema_description:"Exact origins (https://app.example.com), or a lone *."`
}

// Extproc is the service that reads the bodies of large requests, and of requests
// for models that ask for more than routing.
type Extproc struct {
	Memory Size `json:"memory,omitempty" yaml:"memory,omitempty" jsonschema_description:"Room for the bodies that are read at one time, copies included; above it requests get 503 with retry-after. Default 512MiB, at least five times listen.body_limit."`
}

// Provider is one account at one provider.
type Provider struct {
	Schema     string            `json:"schema" yaml:"schema" jsonschema:"enum=openai,enum=azure,enum=bedrock" jsonschema_description:"The API form it speaks; azure is OpenAI's with Azure's paths and api-key header; bedrock is Amazon Bedrock's runtime, with AWS's default credential chain."`
	URL        string            `json:"url,omitempty" yaml:"url,omitempty" jsonschema_description:"Base URL, as an OpenAI client would take it: https://api.openai.com/v1"`
	Builtin    string            `json:"builtin,omitempty" yaml:"builtin,omitempty" jsonschema:"enum=demo" jsonschema_description:"A provider inside Postern: demo answers offline."`
	Key        Secret            `json:"key,omitzero" yaml:"key,omitempty" jsonschema_description:"The credential, by reference: ${ENV}, file:PATH or ssm:NAME. Without its value the provider is left out."`
	Keys       []Key             `json:"keys,omitempty" yaml:"keys,omitempty" jsonschema:"minItems=1,maxItems=16" jsonschema_description:"Several credentials of one account, in place of key: requests are shared out by weight, and one that is refused with a key is tried with the next."`
	APIVersion string            `json:"api_version,omitempty" yaml:"api_version,omitempty" jsonschema_description:"Azure's api-version, such as 2024-10-21. Needed unless the url ends in /openai/v1."`
	Region     string            `json:"region,omitempty" yaml:"region,omitempty" jsonschema_description:"Bedrock's AWS region, such as us-east-1. Needed unless the url says it."`
	Images     *Images           `json:"images,omitempty" yaml:"images,omitempty" jsonschema_description:"Bedrock: which remote images of requests are fetched. Unset: none, only data: URLs are taken."`
	Fields     []string          `json:"fields,omitempty" yaml:"fields,omitempty" jsonschema:"maxItems=64" jsonschema_description:"Bedrock: fields of requests that travel to the model as they are, in additionalModelRequestFields, such as top_k."`
	CA         string            `json:"ca,omitempty" yaml:"ca,omitempty" jsonschema_description:"PEM file of the authorities to trust instead of the system's: file:PATH."`
	Headers    map[string]string `json:"headers,omitempty" yaml:"headers,omitempty" jsonschema_description:"Headers set on each request to this provider, such as OpenAI-Organization. Not for credentials."`
	Vendor     string            `json:"vendor,omitempty" yaml:"vendor,omitempty" jsonschema_description:"Whose price list it has: openai, bedrock. Unset: by its URL or schema, else its own name."`
	Connect    Duration          `json:"connect_timeout,omitempty" yaml:"connect_timeout,omitempty" jsonschema_description:"Time to connect; default 2s, or what the models' timeouts.connect say."`
	Probe      string            `json:"probe,omitempty" yaml:"probe,omitempty" jsonschema:"enum=on,enum=off" jsonschema_description:"off: it is never asked for its models to see whether it is there. Default on."`

	authorities string   // the content of CA
	resolvers   []string // of DNS
}

// Key is one of a provider's credentials.
type Key struct {
	Key    Secret `json:"key" yaml:"key" jsonschema_description:"The credential, by reference: ${ENV}, file:PATH or ssm:NAME. Without its value it is left out."`
	Weight *int   `json:"weight,omitempty" yaml:"weight,omitempty" jsonschema:"minimum=1,maximum=1000" jsonschema_description:"Share among the keys; default 1."`
}

// Model is what happens to requests for one model name or pattern.
type Model struct {
	Route    [][]Target `json:"route" yaml:"route" jsonschema:"minItems=1,maxItems=16" jsonschema_description:"Groups of targets, tried in order; each group split by weight."`
	Prefer   string     `json:"prefer,omitempty" yaml:"prefer,omitempty" jsonschema:"enum=order,enum=cost,enum=latency" jsonschema_description:"What orders the groups: the document, their price, or how fast they answer. Default order."`
	Sticky   string     `json:"sticky,omitempty" yaml:"sticky,omitempty" jsonschema:"pattern=^(user|key|header:.+)$" jsonschema_description:"Who keeps the same target of a group: the user or the API key of the request, or a header of it (header:NAME). Unset: nobody, each request is drawn by weight."`
	Hold     string     `json:"hold,omitempty" yaml:"hold,omitempty" jsonschema:"enum=first_event" jsonschema_description:"first_event: a provider that answers and then stalls or breaks off before its first event, or first byte where it is no stream, has not answered, and the next group is tried. Unset: its response headers are its answer."`
	Timeouts Timeouts   `json:"timeouts,omitzero" yaml:"timeouts,omitempty" jsonschema_description:"How long the parts of a request may take."`

	// Each of these has the body of every request read by Go; usage only if it is exact.
	Usage    string `json:"usage,omitempty" yaml:"usage,omitempty" jsonschema:"enum=asked,enum=exact" jsonschema_description:"exact: every stream says its tokens, asked by the client or not. asked (default): as the client asked, else the tokens of streams are estimated."`
	System   string `json:"system,omitempty" yaml:"system,omitempty" jsonschema_description:"Text put in front of every chat and response."`
	Validate string `json:"validate,omitempty" yaml:"validate,omitempty" jsonschema:"enum=strict" jsonschema_description:"strict: refuse requests that are not well formed, naming the field."`
}

// Target is one provider of a group.
type Target struct {
	Provider string `json:"provider" yaml:"provider" jsonschema_description:"A name under providers."`
	Model    string `json:"model,omitempty" yaml:"model,omitempty" jsonschema_description:"The provider's own name for the model; a * in it is what the * of the entry's name stood for. Unset: the name the client gave."`
	Weight   *int   `json:"weight,omitempty" yaml:"weight,omitempty" jsonschema:"minimum=0,maximum=1000000" jsonschema_description:"Share within the group; default 1."`

	Without []string `json:"without,omitempty" yaml:"without,omitempty" jsonschema_description:"What this model cannot do: images, tools. Requests that need it go to the others."`
	Context int      `json:"context,omitempty" yaml:"context,omitempty" jsonschema:"minimum=0,maximum=100000000" jsonschema_description:"Tokens that it reads and writes at most; longer requests go to the others."`

	translated bool // its provider has another form; set by validation
}

// Timeouts of one request. Zero values were replaced by the defaults.
type Timeouts struct {
	Connect   Duration `json:"connect,omitempty" yaml:"connect,omitempty" jsonschema_description:"Time to connect to a provider; one value per provider. Default 2s."`
	FirstByte Duration `json:"first_byte,omitempty" yaml:"first_byte,omitempty" jsonschema_description:"Until a provider's response headers, or its first event with hold; then the next group is tried. Default 60s."`
	Idle      Duration `json:"idle,omitempty" yaml:"idle,omitempty" jsonschema_description:"Longest silence of an answer; at least first_byte. Default 5m."`
	Total     Duration `json:"total,omitempty" yaml:"total,omitempty" jsonschema_description:"The whole request, all attempts. Default 10m."`
}

// Tier is what the keys of one tier may use.
type Tier struct {
	Requests *Rate `json:"requests,omitempty" yaml:"requests,omitempty" jsonschema_description:"Requests per key: 20/m, 5/s, 1k/h. Unset: unlimited."`
}
