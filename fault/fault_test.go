package fault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/postern-proxy/postern/fault"
)

func TestEveryKindHasACompleteRow(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range fault.Kinds() {
		require.NotEmpty(t, kind.String())
		require.False(t, seen[kind.String()], "%s stands twice", kind)
		seen[kind.String()] = true
		assert.GreaterOrEqual(t, kind.Status(), 400, kind)
		assert.NotEqual(t, codes.OK, kind.GRPC(), kind)
		assert.Negative(t, kind.MCP(), kind)
		assert.NotEmpty(t, kind.Code(), kind)
		assert.NotEmpty(t, kind.Sentence(), kind)
		assert.Contains(t, []string{fault.TypeInvalidRequest, fault.TypePermission, fault.TypeRateLimit, fault.TypeServer}, kind.Type())
	}
}

func TestOpenAIFormHidesTheCause(t *testing.T) {
	err := fmt.Errorf("outer: %w", &fault.Error{Op: "x.Do", Kind: fault.UpstreamRefused, Cause: errors.New("dial sk-secret")})
	assert.Equal(t, fault.UpstreamRefused, fault.KindOf(err))
	body := fault.OpenAI(err)
	assert.NotContains(t, string(body), "sk-secret")
	assert.NotContains(t, string(body), "x.Do")
	assert.Contains(t, err.Error(), "dial sk-secret", "the log needs the cause")

	var form struct {
		Error map[string]any `json:"error"`
	}
	require.NoError(t, json.Unmarshal(body, &form))
	assert.Equal(t, "provider_unreachable", form.Error["code"])
	assert.Contains(t, form.Error, "param")
	assert.Nil(t, form.Error["param"])
}

func TestAnUnclassifiedErrorIsInternalAndSaysNothing(t *testing.T) {
	body := string(fault.OpenAI(errors.New("/var/secret")))
	assert.NotContains(t, body, "/var/secret")
	assert.Contains(t, body, `"code":"internal_error"`)
	assert.Equal(t, fault.Internal, fault.KindOf(errors.New("x")))
	assert.NoError(t, fault.Wrap("op", fault.Internal, nil))
}
