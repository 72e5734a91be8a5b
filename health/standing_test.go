package health

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

// The groups of requests that have an order of their own are told how they stand, also
// where that is the order that they have.
func TestStandings(t *testing.T) {
	cfg := three("cost")
	views := []View{{Provider: "b", Model: "m", LimitedUntil: noon.Add(time.Minute)}, broken("c", "m", time.Second, 0)}
	assert.Empty(t, stands(cfg, views), "nobody reads its bodies")
	cfg.Models["m"].Usage = config.UsageExact
	assert.Equal(t, map[string][]wire.Standing{"m": {wire.Usable, wire.Limited, wire.Down}}, stands(cfg, views))
	assert.Empty(t, stands(cfg, nil), "all can be used")
	cfg.Health.Breakers = config.BreakersOff
	assert.Empty(t, stands(cfg, views))
}

func stands(cfg *config.Config, views []View) map[string][]wire.Standing {
	plan, _ := Order(cfg, views, nil, noon, nil)
	return plan.Stands
}

// It is another plan where only that is another.
func TestAPlanThatDiffersInStandings(t *testing.T) {
	one := Plan{Stands: map[string][]wire.Standing{"m": {wire.Usable, wire.Down}}}
	assert.True(t, one.Equal(Plan{Stands: map[string][]wire.Standing{"m": {wire.Usable, wire.Down}}}))
	assert.False(t, one.Equal(Plan{}))
	assert.False(t, one.Equal(Plan{Stands: map[string][]wire.Standing{"m": {wire.Usable, wire.Limited}}}))
}
