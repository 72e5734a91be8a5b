// Package wire is the names by which Postern's rooms and Envoy's filters know each
// other: what the control plane writes into Envoy's configuration and the services
// read again. It stands below all rooms, so that none must import another for a
// word.
//
// The invariant: constants only. Changing one changes what a running Envoy and a
// newer service say to each other, so a name is never given another meaning.
package wire

// Header names below HeaderPrefix are Postern's own: what a client sends under it is
// dropped before the first route match, and none of it reaches a provider.
const (
	HeaderPrefix = "x-postern-"
	HeaderModel  = HeaderPrefix + "model"  // the model's name, between two route matches
	HeaderTenant = HeaderPrefix + "tenant" // claim "tenant" of the verified key
	HeaderUser   = HeaderPrefix + "user"   // claim "sub"
	HeaderKey    = HeaderPrefix + "key"    // claim "jti"
	HeaderTier   = HeaderPrefix + "tier"   // claim "tier"
	HeaderConfig = HeaderPrefix + "config" // in answers: the configuration version
	HeaderForm   = HeaderPrefix + "form"   // in answers, until they are in OpenAI's: FormBedrock
)

// FormBedrock is Amazon Bedrock's form of an answer.
const FormBedrock = "bedrock"

// API keys: KeyPrefix and a JWT whose issuer is KeyIssuer.
const (
	KeyIssuer = "postern"
	KeyPrefix = "pk_"
)

// Paths of the endpoints whose body names a model.
const (
	PathChat        = "/v1/chat/completions"
	PathCompletions = "/v1/completions"
	PathEmbeddings  = "/v1/embeddings"
	PathResponses   = "/v1/responses"
)

// Metadata of an ext_proc stream: what Envoy says of a request before its first
// message.
const (
	MetaLane    = "postern-lane"    // one of the lanes
	MetaConfig  = "postern-config"  // the configuration version
	MetaEntry   = "postern-entry"   // the model's entry in the configuration
	MetaPath    = "postern-path"    // the request's path
	MetaLength  = "postern-length"  // the body's length in bytes
	MetaRequest = "postern-request" // the request's id
	MetaPattern = "postern-pattern" // LaneRename, LaneBedrock: the entry's name, if MetaName has a *
	MetaName    = "postern-name"    // LaneRename, LaneBedrock: the target's name for the model
	MetaGroups  = "postern-groups"  // LaneUnderstand: the route's groups, where some may be left out (Groups)
	MetaStands  = "postern-stands"  // LaneUnderstand: how each of those groups stands, a digit each (Standing); absent: all are usable
	MetaFields  = "postern-fields"  // LaneBedrock: fields that travel to the model as they are, with commas
	MetaHosts   = "postern-hosts"   // LaneBedrock: hosts whose images are fetched, with commas
	MetaAsked   = "postern-asked"   // LaneAnswer: what the last attempt's LaneBedrock said (MetadataAsked)
)

// The lanes of ext_proc.
const (
	LaneFind       = "find"       // which model does a large body name
	LaneUnderstand = "understand" // the stages of the model's entry
	LaneRename     = "rename"     // one attempt's own name for the model
	LaneBedrock    = "bedrock"    // the request of one attempt at Amazon Bedrock
	LaneAnswer     = "answer"     // the answer to a client, where an attempt may have had another form
)

// Names of clusters: one of these, and the variant of a provider.
const (
	ClusterProvider = "provider/" // for the last attempt of a request
	ClusterGuarded  = "guarded/"  // the same provider, for those before, which go on to one of two:
	ClusterWatched  = "watched/"  // its addresses, but for those that fail
	ClusterSink     = "sink/"     // where they are refused, while there is no such address
)

// Envoy's access logs, by the names that stand in their streams, and the namespace of
// the metadata that holds what was read of a request.
const (
	LogRequests     = "postern.request" // one entry a request
	LogAttempts     = "postern.attempt" // one entry an attempt that failed
	MetadataRequest = "postern.request" // "model", MetadataLane and MetadataStrip
	MetadataLane    = "lane"            // "found": Go read the body for the model's name
	MetadataStrip   = "strip"           // true: take the usage chunk out, the client did not ask for it
	MetadataUsage   = "postern.usage"   // what the provider said: "input", "output", "total", "cached", "written" (to a cache), and "failed"
	MetadataForm    = "postern.form"    // MetadataPath, and more that is noted of a request for its attempts
	MetadataPath    = "path"            // what follows /v1 in the client's path, without the query
	MetadataAttempt = "postern.bedrock" // MetadataAsked
	MetadataAsked   = "asked"           // what the answer of an attempt has to be made for
	MetadataGroups  = "postern.groups"  // the groups that a request may be sent to, in Envoy's form
)

// SinkAddress and SinkPort are where an attempt is refused at once whose provider has no
// address that Envoy would try.
const (
	SinkAddress = "127.0.0.1"
	SinkPort    = 1
)

// DetailsPrefix begins the response code details of each refusal that a service
// makes itself, so that Envoy's own error texts do not replace it.
const DetailsPrefix = "postern_"
