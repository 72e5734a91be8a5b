package xds_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/envoy/envoytest"
	"github.com/postern-proxy/postern/xds"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// examples are the configurations that the repository shows to people.
func examples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../examples/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return append(files, "../postern.yaml")
}

// secretText stands for every secret: no golden file may hold it.
const secretText = "sk-a-secret-that-must-not-show"

func load(t *testing.T, file string) *config.Config {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	certificate, key := pair(t)
	cfg, err := config.Parse(filepath.Base(file), text, config.Env{
		Lookup: func(name string) (string, bool) {
			if !strings.HasSuffix(name, "_KEY") {
				return "", false // its default
			}
			return secretText, true
		},
		ReadFile: func(file string) ([]byte, error) {
			switch filepath.Ext(file) {
			case ".crt":
				return certificate, nil
			case ".key":
				return key, nil
			}
			return []byte(secretText), nil
		},
	})
	require.NoError(t, err, file)
	return cfg
}

func build(t *testing.T, cfg *config.Config) *cache.Snapshot {
	t.Helper()
	snapshot, err := xds.Build(input(cfg))
	require.NoError(t, err)
	return snapshot
}

func input(cfg *config.Config) xds.Input {
	return xds.Input{
		Config: cfg,
		JWKS:   []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"golden","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`),
		Trust:  "/etc/ssl/certs/ca-certificates.crt",
		Sockets: xds.Sockets{
			Answer: "/run/postern/answer.sock",
			Demo:   "/run/postern/demo.sock",
			Usage:  "/run/postern/usage.sock",

			Process: []string{"/run/postern/process.sock"},
		},
	}
}

func TestEveryExampleCompilesToItsGoldenFile(t *testing.T) {
	for _, file := range examples(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			got := dump(t, build(t, load(t, file)))
			require.False(t, strings.Contains(got, secretText), "a secret stands in a resource that is not a secret")
			golden := filepath.Join("testdata", filepath.Base(file))
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err, "run: go test ./xds -update")
			assert.Equal(t, string(want), got, "run: go test ./xds -update, and read the difference")
		})
	}
}

func TestEnvoyItselfAcceptsEveryExample(t *testing.T) {
	binary := envoytest.Binary(t)
	for _, file := range examples(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			static, err := xds.Static(input(load(t, file)), envoy.Runtime())
			require.NoError(t, err)
			require.False(t, strings.Contains(string(static), secretText), "the file for validation holds a secret")
			require.NoError(t, envoy.Validate(t.Context(), binary, static))
		})
	}
}

func TestBuildIsAPureFunction(t *testing.T) {
	for _, file := range examples(t) {
		cfg := load(t, file)
		first := build(t, cfg)
		for range 5 {
			again := build(t, cfg)
			for _, kind := range kinds() {
				a, b := first.GetResources(kind), again.GetResources(kind)
				require.Len(t, b, len(a), kind)
				for name := range a {
					x, err := proto.MarshalOptions{Deterministic: true}.Marshal(a[name])
					require.NoError(t, err)
					y, err := proto.MarshalOptions{Deterministic: true}.Marshal(b[name])
					require.NoError(t, err)
					require.Equal(t, x, y, "%s %s", kind, name)
				}
			}
		}
	}
}

// The listener must not depend on anything but listen:, because a change of it
// cuts running streams.
func TestTheListenerIsAConstantSkeleton(t *testing.T) {
	one := build(t, load(t, "../examples/minimal.yaml")).GetResources(resource.ListenerType)
	two := build(t, load(t, "../examples/tiers.yaml")).GetResources(resource.ListenerType)
	for name := range one {
		assert.True(t, proto.Equal(one[name], two[name]), "the listener of two configurations with the same listen: differs")
	}
}

func TestBuildWithoutAConfigurationIsAnError(t *testing.T) {
	_, err := xds.Build(xds.Input{})
	require.Error(t, err)
}

func kinds() []resource.Type {
	return []resource.Type{
		resource.ListenerType, resource.RouteType, resource.ClusterType,
		resource.ExtensionConfigType, resource.SecretType,
	}
}

// dump is a snapshot as YAML, as Envoy's documentation writes it. Of secrets only
// the names are shown.
func dump(t *testing.T, snapshot *cache.Snapshot) string {
	t.Helper()
	var out strings.Builder
	for _, kind := range kinds() {
		all := snapshot.GetResources(kind)
		for _, name := range sortedNames(all) {
			out.WriteString("--- # " + kind[strings.LastIndex(kind, ".")+1:] + " " + name + "\n")
			if kind == resource.SecretType {
				continue
			}
			text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(all[name])
			require.NoError(t, err)
			asYAML, err := yaml.JSONToYAML(text)
			require.NoError(t, err)
			out.Write(asYAML)
		}
	}
	return out.String()
}
