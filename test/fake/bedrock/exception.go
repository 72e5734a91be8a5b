package bedrock

import (
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// Exception is an error as the service says it: a status, its name in a header, and
// a message; in a stream, a frame.
type Exception struct {
	Name    string
	Status  int
	Message string
	Header  http.Header
	More    map[string]any // further fields of the body
}

// The service's exceptions, each with a message it is known to use.
var (
	Throttling         = Exception{Name: "ThrottlingException", Status: 429, Message: "Too many requests, please wait before trying again."}
	Validation         = Exception{Name: "ValidationException", Status: 400, Message: "The provided request is not valid."}
	Serialization      = Exception{Name: "SerializationException", Status: 400, Message: "The request cannot be read."}
	AccessDenied       = Exception{Name: "AccessDeniedException", Status: 403, Message: "You don't have access to the model with the specified model ID."}
	NotFound           = Exception{Name: "ResourceNotFoundException", Status: 404, Message: "Could not resolve the foundation model from the provided model identifier."}
	ModelTimeout       = Exception{Name: "ModelTimeoutException", Status: 408, Message: "Model has timed out in processing the request. Try your request again."}
	ModelNotReady      = Exception{Name: "ModelNotReadyException", Status: 429, Message: "Model is not ready for inference. Wait and try your request again."}
	ModelError         = Exception{Name: "ModelErrorException", Status: 424, Message: "The system encountered an unexpected error during processing. Try your request again.", More: map[string]any{"originalStatusCode": 500, "resourceName": "model"}}
	ModelStreamError   = Exception{Name: "ModelStreamErrorException", Status: 424, Message: "Model stream error: the model stopped in the middle.", More: map[string]any{"originalStatusCode": 500, "originalMessage": "out of words"}}
	Internal           = Exception{Name: "InternalServerException", Status: 500, Message: "The system encountered an unexpected error during processing. Try your request again."}
	Unavailable        = Exception{Name: "ServiceUnavailableException", Status: 503, Message: "Bedrock is unable to process your request."}
	QuotaExceeded      = Exception{Name: "ServiceQuotaExceededException", Status: 400, Message: "Your request exceeds the service quota for your account."}
	InvalidSignature   = Exception{Name: "InvalidSignatureException", Status: 403}
	UnrecognizedClient = Exception{Name: "UnrecognizedClientException", Status: 403, Message: "The security token included in the request is invalid."}
	ExpiredToken       = Exception{Name: "ExpiredTokenException", Status: 403, Message: "The security token included in the request is expired"}

	IncompleteSignature = Exception{Name: "IncompleteSignatureException", Status: 403}
	MissingToken        = Exception{Name: "MissingAuthenticationTokenException", Status: 403}
	UnknownOperation    = Exception{Name: "UnknownOperationException", Status: 404}
)

// With is the exception with another message.
func (e Exception) With(format string, values ...any) *Exception {
	e.Message = fmt.Sprintf(format, values...)
	return &e
}

func (e Exception) body() []byte {
	fields := object{"message": e.Message}
	maps.Copy(fields, e.More)
	return stage.Encode(fields)
}

// answer is the exception in place of an answer. The service's own have a name space
// behind the name; those of the gate before it have not.
func (e Exception) answer() answer {
	a := whole(e.Status, e.body())
	name := e.Name
	if e.Status != http.StatusForbidden {
		name += ":http://internal.amazon.com/coral/com.amazon.bedrock/"
	}
	a.header.Set("X-Amzn-Errortype", name)
	maps.Copy(a.header, e.Header)
	return a
}

// member is the exception's name in a stream: throttlingException.
func (e Exception) member() string {
	if e.Name == "" {
		return ""
	}
	return strings.ToLower(e.Name[:1]) + e.Name[1:]
}

type object = stage.Object
