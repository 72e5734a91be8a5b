package xds

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
)

// heard is a status with its log, driven as go-control-plane drives it.
type heard struct {
	*status

	log *bytes.Buffer
	at  time.Time
}

func newHeard(t *testing.T) *heard {
	t.Helper()
	h := &heard{log: new(bytes.Buffer), at: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.status = newStatus(slog.New(slog.NewTextHandler(h.log, nil)))
	h.now = func() time.Time { return h.at }
	return h
}

func (h *heard) open(t *testing.T, id int64) {
	t.Helper()
	require.NoError(t, h.OnDeltaStreamOpen(t.Context(), id, ""))
	h.at = h.at.Add(time.Second)
}

func (h *heard) send(id int64, kind resource.Type, version, nonce string) {
	h.OnStreamDeltaResponse(id, nil, &discovery.DeltaDiscoveryResponse{TypeUrl: kind, SystemVersionInfo: version, Nonce: nonce})
}

// answer is an acknowledgement, or a refusal where there is a reason.
func (h *heard) answer(t *testing.T, id int64, nonce, why string) {
	t.Helper()
	r := &discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: "envoy-1"}, ResponseNonce: nonce}
	if why != "" {
		r.ErrorDetail = &rpc.Status{Code: 13, Message: why}
	}
	require.NoError(t, h.OnStreamDeltaRequest(id, r))
}

func TestStatusOfNobody(t *testing.T) {
	h := newHeard(t)
	s := h.get()
	assert.NotNil(t, s.Envoys, "an empty list, not null, in JSON")
	assert.Empty(t, s.Envoys)
	require.NoError(t, s.Refused())
	h.offer(snapshotOf(t, "7", "a"))
	assert.Equal(t, "7", h.get().Offered)
}

func TestAnAcknowledgementCountsForItsTypeAndVersion(t *testing.T) {
	h := newHeard(t)
	h.open(t, 1)
	h.send(1, resource.ClusterType, "v1", "n1")
	assert.Empty(t, h.get().Envoys[0].Accepted, "sent is not accepted")
	h.send(1, resource.RouteType, "v1", "n2")
	h.send(1, resource.ClusterType, "v2", "n3")
	h.answer(t, 1, "n3", "")
	h.answer(t, 1, "n2", "")
	e := h.get().Envoys[0]
	assert.Equal(t, "envoy-1", e.Node)
	assert.Equal(t, map[string]string{"Cluster": "v2", "RouteConfiguration": "v1"}, e.Accepted)
	assert.Empty(t, e.Refused)
	require.NoError(t, h.get().Refused())
	assert.Empty(t, h.log.String(), "what went well is not news")
}

func TestARefusalIsShownUntilTheTypeIsAccepted(t *testing.T) {
	h := newHeard(t)
	h.open(t, 1)
	h.send(1, resource.ClusterType, "v1", "n1")
	h.answer(t, 1, "n1", "")
	h.send(1, resource.ClusterType, "v2", "n2")
	h.answer(t, 1, "n2", "no such filter")
	e := h.get().Envoys[0]
	assert.Equal(t, "v1", e.Accepted["Cluster"], "Envoy keeps what it had")
	require.Len(t, e.Refused, 1)
	assert.Equal(t, Refusal{Type: "Cluster", Version: "v2", Reason: "no such filter", At: h.at}, e.Refused[0])
	assert.Equal(t, 1, e.Refusals)
	require.Error(t, h.get().Refused())
	assert.Equal(t, "Envoy refused the Cluster of version v2: no such filter", h.get().Refused().Error())
	assert.Contains(t, h.log.String(), "no such filter")
	assert.Contains(t, h.log.String(), "version=v2")

	h.send(1, resource.RouteType, "v3", "n3")
	h.answer(t, 1, "n3", "")
	require.Error(t, h.get().Refused(), "another type's acknowledgement heals nothing")
	h.send(1, resource.ClusterType, "v3", "n4")
	h.answer(t, 1, "n4", "")
	e = h.get().Envoys[0]
	assert.Empty(t, e.Refused)
	assert.Equal(t, "v3", e.Accepted["Cluster"])
	assert.Equal(t, 1, e.Refusals, "that it happened stays known")
	require.NoError(t, h.get().Refused())
}

func TestRefusalsOfSeveralTypesInOrder(t *testing.T) {
	h := newHeard(t)
	h.open(t, 1)
	for nonce, kind := range map[string]resource.Type{"n1": resource.RouteType, "n2": resource.ClusterType, "n3": resource.ListenerType} {
		h.send(1, kind, "v1", nonce)
		h.answer(t, 1, nonce, "bad")
	}
	var kinds []string
	for _, r := range h.get().Envoys[0].Refused {
		kinds = append(kinds, r.Type)
	}
	assert.Equal(t, []string{"Cluster", "Listener", "RouteConfiguration"}, kinds)
	assert.Equal(t, 3, h.get().Envoys[0].Refusals)
}

func TestANonceCountsOnce(t *testing.T) {
	h := newHeard(t)
	h.open(t, 1)
	h.answer(t, 1, "", "") // the first request of a type: it answers nothing
	h.answer(t, 1, "n9", "bad")
	assert.Empty(t, h.get().Envoys[0].Refused, "an answer to nothing that was sent")
	h.send(1, resource.ClusterType, "v1", "n1")
	h.answer(t, 1, "n1", "bad")
	h.answer(t, 1, "n1", "bad")
	assert.Equal(t, 1, h.get().Envoys[0].Refusals)
	assert.Empty(t, h.streams[1].pending)
}

func TestEachEnvoyIsItsOwn(t *testing.T) {
	h := newHeard(t)
	h.open(t, 1)
	h.open(t, 2)
	h.send(1, resource.ClusterType, "v1", "n1")
	h.send(2, resource.ClusterType, "v1", "n1") // nonces are a stream's own
	h.answer(t, 2, "n1", "bad")
	h.answer(t, 1, "n1", "")
	all := h.get().Envoys
	require.Len(t, all, 2)
	assert.Equal(t, map[string]string{"Cluster": "v1"}, all[0].Accepted)
	assert.Empty(t, all[0].Refused)
	assert.Len(t, all[1].Refused, 1)
	assert.True(t, all[0].Since.Before(all[1].Since), "the oldest first")
	require.Error(t, h.get().Refused())

	h.OnDeltaStreamClosed(2, nil)
	assert.Len(t, h.get().Envoys, 1)
	require.NoError(t, h.get().Refused(), "who went away refuses nothing")
	h.send(2, resource.ClusterType, "v2", "n2") // a late callback
	h.answer(t, 2, "n2", "bad")
	assert.Len(t, h.get().Envoys, 1)
}

func TestARefusedSecretIsNotShown(t *testing.T) {
	const secret = "sk-a-secret-that-must-not-show"
	h := newHeard(t)
	h.open(t, 1)
	h.send(1, resource.SecretType, "v1", "n1")
	h.answer(t, 1, "n1", `Proto constraint validation failed: generic_secret { secret { inline_string: "Bearer `+secret+`" } }`)
	shown, err := json.Marshal(h.get())
	require.NoError(t, err)
	assert.NotContains(t, string(shown), secret)
	assert.NotContains(t, h.log.String(), secret)
	require.Error(t, h.get().Refused(), "that it was refused is told")
	assert.NotContains(t, h.get().Refused().Error(), secret)
	assert.Contains(t, h.get().Refused().Error(), "Secret of version v1")
}

func TestAReasonIsShortAndOneLine(t *testing.T) {
	assert.Equal(t, "Proto constraint validation failed",
		reason("Error adding cluster: {\n name: \"x\"\n} : Proto constraint\n\tvalidation failed"))
	long := reason(strings.Repeat("é", 1000) + " the end")
	assert.LessOrEqual(t, len(long), 610)
	assert.True(t, strings.HasPrefix(long, "…"))
	assert.True(t, strings.HasSuffix(long, " the end"), "what is wrong stands at the end")
	assert.True(t, utf8.ValidString(long))
	assert.Empty(t, reason(" \n"))
}
