package config

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func TestScalarsAreReadAndWritten(t *testing.T) {
	type all struct {
		Duration Duration `json:"d" yaml:"d"`
		Size     Size     `json:"s" yaml:"s"`
		Rate     Rate     `json:"r" yaml:"r"`
	}
	value := all{Duration(90 * time.Minute), 20 * MiB, Rate{N: 20, Per: time.Minute}}

	text, err := yaml.Marshal(value)
	require.NoError(t, err)
	assert.Equal(t, "d: 1h30m\ns: 20MiB\nr: 20/m\n", string(text))
	var back all
	require.NoError(t, yaml.Unmarshal(text, &back))
	assert.Equal(t, value, back)

	text, err = json.Marshal(value)
	require.NoError(t, err)
	assert.JSONEq(t, `{"d":"1h30m","s":"20MiB","r":"20/m"}`, string(text))
	back = all{}
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, value, back)
}

func TestDurationForms(t *testing.T) {
	for text, want := range map[string]string{
		"2s": "2s", "120s": "2m", "3600s": "1h", "24h": "24h", "500ms": "500ms", "1h0m1s": "1h0m1s", "10m": "10m", "0s": "0s", "100m": "1h40m",
	} {
		var d Duration
		require.NoError(t, d.UnmarshalText([]byte(text)))
		assert.Equal(t, want, d.String())
	}
	for _, text := range []string{"", "2", "2 s", "2d", "s", "1e3s", "9999999h"} {
		assert.Error(t, new(Duration).UnmarshalText([]byte(text)), text)
	}
}

func TestSizeForms(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1048576": MiB, "64KiB": 64 * KiB, "20MiB": 20 * MiB, "3GiB": 3 * GiB} {
		var s Size
		require.NoError(t, s.UnmarshalText([]byte(text)))
		assert.Equal(t, want, s)
		var again Size
		require.NoError(t, again.UnmarshalText([]byte(s.String())))
		assert.Equal(t, want, again)
	}
	for _, text := range []string{"", "-1", "1.5MiB", "20MB", "20 MiB", "MiB", "999999999999999GiB", "9999999999999999"} {
		assert.Error(t, new(Size).UnmarshalText([]byte(text)), text)
	}
}

func TestRateForms(t *testing.T) {
	for text, want := range map[string]Rate{
		"20/m": {20, time.Minute}, "5/s": {5, time.Second}, "1k/h": {1000, time.Hour}, "2M/d": {2_000_000, 24 * time.Hour},
		"1000M/s": {1_000_000_000, time.Second}, "1500/s": {1500, time.Second},
	} {
		var r Rate
		require.NoError(t, r.UnmarshalText([]byte(text)))
		assert.Equal(t, want, r)
		assert.Equal(t, text, r.String())
	}
	for _, text := range []string{"", "20", "/m", "0/m", "0k/m", "-1/m", "1.5k/h", "20/min", "20 / m", "1001M/s", "9999999999M/s", "20K/m"} {
		require.Error(t, new(Rate).UnmarshalText([]byte(text)), text)
	}
	assert.Equal(t, "3/1m30s", Rate{N: 3, Per: 90 * time.Second}.String())
}

func TestExpand(t *testing.T) {
	lookup := world(map[string]string{"A": "one", "B_2": "two", "EMPTY": "", "NESTED": "${A}"}, nil).Lookup
	for text, want := range map[string]string{
		"":                      "",
		"plain $ text } {":      "plain $ text } {",
		"${A}":                  "one",
		"a ${A}/${B_2} z":       "a one/two z",
		"${EMPTY}":              "",
		"${EMPTY:-x}":           "x",
		"${NONE:-}":             "",
		"${NONE:-https://x/v1}": "https://x/v1",
		"${A:-x}":               "one",
		"$${A}":                 "${A}",
		"$$${A}":                "$${A}",
		"$$":                    "$$",
		"${NESTED}":             "${A}",
		"$A":                    "$A",
	} {
		got, missing, err := expand(text, lookup)
		require.NoError(t, err, text)
		assert.Empty(t, missing, text)
		assert.Equal(t, want, got, text)
	}
	_, missing, err := expand("${X} ${A} ${Y}", lookup)
	require.NoError(t, err)
	assert.Equal(t, []string{"X", "Y"}, missing)
	for _, text := range []string{"${", "${}", "${1A}", "${A", "${A-B}", "${A:=x}", "${A:-${B}}", "a ${ b"} {
		_, _, err := expand(text, lookup)
		assert.Error(t, err, text)
	}
}

func TestClosest(t *testing.T) {
	assert.Equal(t, `, did you mean "url"?`, closest("urll", []string{"key", "url"}))
	assert.Empty(t, closest("colour", []string{"key", "url"}))
	assert.Empty(t, closest(strings.Repeat("a", 1000), []string{"aa"}))
}
