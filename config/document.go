package config

// Config is one validated configuration version. It is immutable after Load or
// Parse returned it: every part of the gate may read it without a lock.
type Config struct {
	// Version is the content hash of the document, 12 hex digits, without the
	// values of secrets.
	Version string `json:"-" yaml:"-"`

	Listen    Listen               `json:"listen,omitzero" yaml:"listen,omitempty" jsonschema_description:"Where the gate listens."`
	Providers map[string]*Provider `json:"providers" yaml:"providers" jsonschema_description:"Who answers: one entry an account at a provider."`
	Models    map[string]*Model    `json:"models" yaml:"models" jsonschema_description:"What clients may ask for: an exact name, or a pattern that ends in * (the longest wins)."`
	Tiers     map[string]*Tier     `json:"tiers,omitempty" yaml:"tiers,omitempty" jsonschema_description:"Limits, by the tier an API key was made for. 'default' always exists."`

	Extproc Extproc `json:"extproc,omitzero" yaml:"extproc,omitempty" jsonschema_description:"The service that reads request bodies."`

	// DefaultProvider takes every /v1/* endpoint that names no model (files,
	// images, audio, moderations). Unset: the first provider of the model "*".
	DefaultProvider string `json:"default_provider,omitempty" yaml:"default_provider,omitempty" jsonschema_description:"The provider of /v1/* endpoints that name no model; unset: the first provider of the model '*'."`

	marks    map[string]mark // where each key stands in the document
	warnings Problems
	files    []string // what file: references were read, for Watch
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
	Certificate Secret `json:"certificate" yaml:"certificate" jsonschema_description:"PEM chain: file:PATH or ${ENV}."`
	Key         Secret `json:"key" yaml:"key" jsonschema_description:"PEM key: file:PATH or ${ENV}."`
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
	Schema  string            `json:"schema" yaml:"schema" jsonschema:"enum=openai" jsonschema_description:"The API form it speaks."`
	URL     string            `json:"url,omitempty" yaml:"url,omitempty" jsonschema_description:"Base URL, as an OpenAI client would take it: https://api.openai.com/v1"`
	Builtin string            `json:"builtin,omitempty" yaml:"builtin,omitempty" jsonschema:"enum=demo" jsonschema_description:"A provider inside Postern: demo answers offline."`
	Key     Secret            `json:"key,omitzero" yaml:"key,omitempty" jsonschema_description:"The credential, by reference: ${ENV} or file:PATH. Without its value the provider is left out."`
	CA      string            `json:"ca,omitempty" yaml:"ca,omitempty" jsonschema_description:"PEM file of the authorities to trust instead of the system's: file:PATH."`
	Headers map[string]string `json:"headers,omitempty" yaml:"headers,omitempty" jsonschema_description:"Headers set on each request to this provider, such as OpenAI-Organization. Not for credentials."`
	Connect Duration          `json:"connect_timeout,omitempty" yaml:"connect_timeout,omitempty" jsonschema_description:"Time to connect; default 2s, or what the models' timeouts.connect say."`

	authorities string // the content of CA
}

// Model is what happens to requests for one model name or pattern.
type Model struct {
	Route    [][]Target `json:"route" yaml:"route" jsonschema:"minItems=1,maxItems=16" jsonschema_description:"Groups of targets, tried in order; each group split by weight."`
	Prefer   string     `json:"prefer,omitempty" yaml:"prefer,omitempty" jsonschema:"enum=order" jsonschema_description:"What orders the groups."`
	Timeouts Timeouts   `json:"timeouts,omitzero" yaml:"timeouts,omitempty" jsonschema_description:"How long the parts of a request may take."`

	// Each of these has the body of every request read by Go.
	System   string `json:"system,omitempty" yaml:"system,omitempty" jsonschema_description:"Text put in front of every chat and response."`
	Validate string `json:"validate,omitempty" yaml:"validate,omitempty" jsonschema:"enum=strict" jsonschema_description:"strict: refuse requests that are not well formed, naming the field."`
}

// Target is one provider of a group.
type Target struct {
	Provider string `json:"provider" yaml:"provider" jsonschema_description:"A name under providers."`
	Model    string `json:"model,omitempty" yaml:"model,omitempty" jsonschema_description:"The provider's own name for the model; a * in it is what the * of the entry's name stood for. Unset: the name the client gave."`
	Weight   *int   `json:"weight,omitempty" yaml:"weight,omitempty" jsonschema:"minimum=0,maximum=1000000" jsonschema_description:"Share within the group; default 1."`
}

// Timeouts of one request. Zero values were replaced by the defaults.
type Timeouts struct {
	Connect   Duration `json:"connect,omitempty" yaml:"connect,omitempty" jsonschema_description:"Time to connect to a provider; one value per provider. Default 2s."`
	FirstByte Duration `json:"first_byte,omitempty" yaml:"first_byte,omitempty" jsonschema_description:"Until a provider's response headers; then the next group is tried. Default 60s."`
	Idle      Duration `json:"idle,omitempty" yaml:"idle,omitempty" jsonschema_description:"Longest silence of an answer; at least first_byte. Default 5m."`
	Total     Duration `json:"total,omitempty" yaml:"total,omitempty" jsonschema_description:"The whole request, all attempts. Default 10m."`
}

// Tier is what the keys of one tier may use.
type Tier struct {
	Requests *Rate `json:"requests,omitempty" yaml:"requests,omitempty" jsonschema_description:"Requests per key: 20/m, 5/s, 1k/h. Unset: unlimited."`
}
