package ssm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
)

// UnavailableError is what a parameter could not be read or written for, though it may be
// there: it is tried again.
type UnavailableError struct {
	Parameter string
	Why       string // "access is denied (AccessDeniedException)"
	Throttled bool
	cause     error
}

// Error names the parameter and the reason.
func (u *UnavailableError) Error() string { return u.Parameter + ": " + u.Why }

// Unwrap is the library's error, for errors.Is; its text has a request's id and changes
// from one try to the next.
func (u *UnavailableError) Unwrap() error { return u.cause }

// missing is a parameter that is not there.
type missing string

func (m missing) Error() string       { return string(m) + ": there is no such parameter" }
func (m missing) Is(other error) bool { return other == fs.ErrNotExist }

// wasThere is the error of a secret that its tool, or somebody, took away while gates
// serve with it.
func wasThere(parameter string) error {
	return errors.New(parameter + ": the parameter was there and is gone")
}

// explain gives an error of the AWS library the name of its parameter, in words that
// are the same for the same reason.
func explain(parameter string, err error) error {
	if err == nil {
		return nil
	}
	if _, none := errors.AsType[*types.ParameterNotFound](err); none {
		return missing(parameter)
	}
	if _, none := errors.AsType[*types.ParameterVersionNotFound](err); none {
		return missing(parameter)
	}
	u := &UnavailableError{Parameter: parameter, cause: err}
	api, answered := errors.AsType[smithy.APIError](err)
	switch {
	case answered:
		code := api.ErrorCode()
		_, u.Throttled = retry.DefaultThrottleErrorCodes[code]
		u.Why = why(code, api.ErrorMessage(), u.Throttled)
	case errors.Is(err, context.Canceled):
		u.Why = "was not asked to the end"
	default:
		u.Why = "Parameter Store cannot be reached" + credentials(err)
	}
	return u
}

// why says in words what the codes mean that people meet.
func why(code, message string, throttled bool) string { //nolint:cyclop // a table
	switch {
	case throttled:
		return "Parameter Store asks for fewer requests (" + code + ")"
	case strings.Contains(message, "KMS") || strings.Contains(message, "kms:") || strings.Contains(message, "ciphertext") || code == "InvalidKeyId":
		return "cannot be decrypted (" + code + "): the identity needs kms:Decrypt with the key it was encrypted with"
	case strings.HasPrefix(code, "AccessDenied"):
		return "access is denied (" + code + ")"
	case code == "RequestTimeTooSkewed" || code == "RequestExpired" || code == "RequestInTheFuture" || strings.Contains(message, "Signature expired") || strings.Contains(message, "Signature not yet current"):
		return "AWS does not take the time of this machine: look at its clock (" + code + ")"
	case strings.HasPrefix(code, "ExpiredToken"):
		return "the credentials have expired (" + code + "): renew them"
	case code == "UnrecognizedClientException" || code == "InvalidSignatureException" || code == "InvalidClientTokenId":
		return "AWS does not take the credentials (" + code + ")"
	default:
		return fmt.Sprintf("Parameter Store refuses (%s)", code)
	}
}

// credentials says when it is not the network: there is nothing to sign with.
func credentials(err error) string {
	if strings.Contains(err.Error(), "failed to refresh cached credentials") || strings.Contains(err.Error(), "get identity") {
		return ": there are no AWS credentials"
	}
	return ""
}

// throttled says that the store asks for fewer requests.
func throttled(err error) bool {
	u, ok := errors.AsType[*UnavailableError](err)
	return ok && u.Throttled
}

// refused says that the store answered, with a refusal.
func refused(err error) bool {
	_, answered := errors.AsType[smithy.APIError](err)
	return answered
}
