package fault

import (
	"encoding/json"
	"errors"

	"google.golang.org/grpc/codes"
)

// The closed vocabulary of the "type" field in OpenAI's error form
// (https://platform.openai.com/docs/guides/error-codes).
const (
	TypeInvalidRequest = "invalid_request_error"
	TypePermission     = "permission_error"
	TypeRateLimit      = "rate_limit_error"
	TypeServer         = "server_error"
)

// row is how one kind looks in each protocol.
type row struct {
	name    string     // in logs and metrics
	status  int        // HTTP
	typ     string     // OpenAI "type"
	code    string     // OpenAI "code"
	grpc    codes.Code // gRPC
	mcp     int        // JSON-RPC error code of MCP
	message string     // the sentence where the error brings none
}

// The JSON-RPC codes of MCP (https://www.jsonrpc.org/specification#error_object).
const (
	rpcInvalidRequest = -32600
	rpcInvalidParams  = -32602
	rpcInternal       = -32603
	rpcServer         = -32000
)

// table is indexed by Kind.
var table = [kindCount]row{
	Internal:            {"internal", 500, TypeServer, "internal_error", codes.Internal, rpcInternal, "The gateway failed to handle this request."},
	InvalidRequest:      {"invalid_request", 400, TypeInvalidRequest, "invalid_request", codes.InvalidArgument, rpcInvalidParams, "The request could not be understood."},
	InvalidKey:          {"invalid_key", 401, TypeInvalidRequest, "invalid_api_key", codes.Unauthenticated, rpcInvalidRequest, "The API key is missing, wrong or expired. Send it as 'Authorization: Bearer pk_…'."},
	Forbidden:           {"forbidden", 403, TypePermission, "not_allowed", codes.PermissionDenied, rpcInvalidRequest, "This API key is not allowed to do this."},
	ModelNotFound:       {"model_not_found", 404, TypeInvalidRequest, "model_not_found", codes.NotFound, rpcInvalidParams, "The model does not exist here, or this key has no access to it. GET /v1/models lists what it may use."},
	UnknownPath:         {"unknown_path", 404, TypeInvalidRequest, "unknown_url", codes.NotFound, rpcInvalidRequest, "There is no such endpoint."},
	MethodNotAllowed:    {"method_not_allowed", 405, TypeInvalidRequest, "method_not_allowed", codes.Unimplemented, rpcInvalidRequest, "This endpoint does not take this method."},
	BodyTooLarge:        {"body_too_large", 413, TypeInvalidRequest, "request_too_large", codes.ResourceExhausted, rpcInvalidRequest, "The request body is larger than this gateway accepts."},
	RateLimited:         {"rate_limited", 429, TypeRateLimit, "rate_limit_exceeded", codes.ResourceExhausted, rpcServer, "The rate limit of this API key is reached. Try again after the time in the retry-after header."},
	UpstreamRefused:     {"upstream_refused", 502, TypeServer, "provider_unreachable", codes.Unavailable, rpcServer, "The model's provider could not be reached or broke off the connection."},
	UpstreamGarbage:     {"upstream_garbage", 502, TypeServer, "provider_invalid_response", codes.Unavailable, rpcServer, "The model's provider sent an answer that could not be understood."},
	UpstreamTimeout:     {"upstream_timeout", 504, TypeServer, "provider_timeout", codes.DeadlineExceeded, rpcServer, "The model's provider did not answer in time."},
	Unavailable:         {"unavailable", 503, TypeServer, "gateway_unavailable", codes.Unavailable, rpcServer, "A part of the gateway is not available. Try again shortly."},
	RequestTimeout:      {"request_timeout", 408, TypeInvalidRequest, "request_timeout", codes.DeadlineExceeded, rpcInvalidRequest, "The request was not sent completely in time."},
	UnsupportedEncoding: {"unsupported_encoding", 415, TypeInvalidRequest, "unsupported_content_encoding", codes.InvalidArgument, rpcInvalidRequest, "The request body must not be compressed on this route."},
	UpstreamRefusal:     {"upstream_refusal", 400, TypeInvalidRequest, "provider_error", codes.InvalidArgument, rpcInvalidRequest, "The model's provider refused this request and did not say why in a form that can be passed on."},
	UpstreamFailed:      {"upstream_failed", 500, TypeServer, "provider_error", codes.Unavailable, rpcServer, "The model's provider failed to handle this request."},
}

func (k Kind) row() row {
	if k >= kindCount {
		k = Internal
	}
	return table[k]
}

// String is the kind's name in logs and metrics.
func (k Kind) String() string { return k.row().name }

// Status is the HTTP status.
func (k Kind) Status() int { return k.row().status }

// GRPC is the gRPC status code.
func (k Kind) GRPC() codes.Code { return k.row().grpc }

// MCP is the JSON-RPC error code.
func (k Kind) MCP() int { return k.row().mcp }

// Type is the "type" of OpenAI's error form.
func (k Kind) Type() string { return k.row().typ }

// Code is the "code" of OpenAI's error form.
func (k Kind) Code() string { return k.row().code }

// Sentence is the message for a client where the error brings none of its own.
func (k Kind) Sentence() string { return k.row().message }

// Kinds lists every kind, for tests and for generated tables.
func Kinds() []Kind {
	all := make([]Kind, 0, int(kindCount))
	for k := range kindCount {
		all = append(all, k)
	}
	return all
}

// openAI is the error form of OpenAI's API: {"error":{message,type,param,code}}.
type openAI struct {
	Error struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	} `json:"error"`
}

// OpenAI is err in OpenAI's error form. An error without a kind is shown as
// Internal, with nothing of its own text.
func OpenAI(err error) []byte {
	e := &Error{Kind: Internal}
	errors.As(err, &e)
	var body openAI
	body.Error.Message = e.Message
	if body.Error.Message == "" {
		body.Error.Message = e.Kind.Sentence()
	}
	body.Error.Type, body.Error.Code = e.Kind.Type(), e.Kind.Code()
	if e.Param != "" {
		body.Error.Param = &e.Param
	}
	text, _ := json.Marshal(body) //nolint:errchkjson // strings only: cannot fail
	return text
}
