package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func part(text string, steps ...string) Part {
	name := "/dev"
	for _, step := range steps {
		name += "/" + step
	}
	return Part{Name: name, Steps: steps, Text: []byte(text)}
}

func TestPartsMakeTheDocument(t *testing.T) {
	whole := parse(t, `
providers: {demo: {schema: openai, builtin: demo}}
models:
  "*": {route: [[{provider: demo}]]}
  gpt-4o: {route: [[{provider: demo, weight: 2}]]}
default_provider: demo
`, Env{})
	c, err := Assemble("/dev", []Part{
		part("route: [[{provider: demo, weight: 2}]]", "models", "gpt-4o"),
		part("demo", "default_provider"),
		part("{schema: openai, builtin: demo}\n", "providers", "demo"),
		part("route: [[{provider: demo}]]", "models", "*"),
	}, Env{})
	require.NoError(t, err)
	assert.Equal(t, whole.Version, c.Version)
	assert.Contains(t, Sections(), "models")
	assert.NotContains(t, Sections(), "listen")
}

// Each mistake names the part it stands in, and one unreadable part of forty hides
// nothing of the others.
func TestMistakesNameTheirPart(t *testing.T) {
	parts := []Part{part("{schema: openai, builtin: demo}", "providers", "demo"), part("[", "listen")}
	for i := range 40 {
		parts = append(parts, part("route:\n  - [{provider: demo}]\n", "models", fmt.Sprintf("m%d", i)))
	}
	parts[7].Text = []byte("route:\n  - [{provider: demo}\n")
	parts[9].Text = []byte("route:\n  - [{provider: dmeo}]\n")
	parts[11].Text = []byte("route:\n  - [{provider: demo, weight: 0}]\n")
	parts[13].Text = nil
	c, err := Assemble("/dev", parts, Env{})
	require.Nil(t, c)
	problems, ok := errors.AsType[Problems](err)
	require.True(t, ok)
	require.Len(t, problems, 5, err.Error())
	assert.Contains(t, problems[0].String(), "/dev/listen:1: listen: is not YAML")
	assert.Contains(t, problems[1].String(), "/dev/models/m11: models.m11: is empty")
	assert.Contains(t, problems[2].String(), "/dev/models/m5:")
	assert.Contains(t, problems[2].String(), "models.m5: is not YAML")
	assert.Contains(t, problems[3].String(), `/dev/models/m7:2:17: models.m7.route[0][0].provider: there is no provider "dmeo", did you mean "demo"?`)
	assert.Contains(t, problems[4].String(), "/dev/models/m9:2:5: models.m9.route[0]: all weights are 0")
}

func TestPartsOfNothing(t *testing.T) {
	_, err := Assemble("/dev/sets/1", nil, Env{})
	require.ErrorContains(t, err, "/dev/sets/1: the set is empty")
	_, err = Assemble("/dev/sets/1", []Part{part("demo", "default_provider")}, Env{})
	require.ErrorContains(t, err, "/dev/sets/1: providers: is missing")
	_, err = Assemble("/dev", []Part{{Name: "x", Text: []byte("a")}}, Env{})
	require.Error(t, err)
	_, err = Assemble("/dev", []Part{part("a: 1", "flagz")}, Env{})
	require.ErrorContains(t, err, "/dev/flagz:1:1: flagz: unknown key")
}

func TestSecretsFromParameters(t *testing.T) {
	parts := []Part{
		part("{schema: openai, url: 'https://x.example/v1', key: 'ssm:openai'}", "providers", "p"),
		part("{schema: openai, url: 'https://x.example/v1', key: 'ssm:/team/key'}", "providers", "q"),
		part("{schema: openai, url: 'https://x.example/v1', key: 'ssm:openai'}", "providers", "r"),
		part("route: [[{provider: p}]]", "models", "*"),
	}
	assert.ElementsMatch(t, []string{"openai", "/team/key"}, Parameters(parts, Env{}))

	values := map[string]string{"openai": secretValue + "\n"}
	env := Env{Parameter: func(name string) (string, error) {
		if value, ok := values[name]; ok {
			return value, nil
		}
		return "", fs.ErrNotExist
	}}
	c, err := Assemble("/dev", parts, env)
	require.NoError(t, err)
	assert.Equal(t, secretValue, c.Providers["p"].Key.Reveal())
	assert.Equal(t, "ssm:openai", c.Providers["p"].Key.Ref())
	assert.True(t, c.Providers["q"].Key.Missing())
	require.NotEmpty(t, c.Warnings())
	assert.Contains(t, c.Warnings()[0].Message, "there is no parameter ssm:/team/key")
	assert.Equal(t, "/dev/providers/q", c.Warnings()[0].File)

	env.Parameter = func(name string) (string, error) {
		return "", errors.New("the parameter " + name + " cannot be decrypted")
	}
	_, err = Assemble("/dev", parts, env)
	require.ErrorContains(t, err, "/dev/providers/p:1:")
	require.ErrorContains(t, err, "the parameter openai cannot be decrypted")

	file := parse(t, document("url: 'https://x.example/v1', key: 'ssm:openai'", "", ""), Env{})
	assert.Contains(t, file.Warnings()[0].Message, "needs AWS Parameter Store")
}

// What changed elsewhere is loaded when somebody says so.
func TestWatchIsAskedAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "postern.yaml")
	write(t, file, document("url: 'https://x.example/v1', key: 'ssm:key'", "", ""))
	var value atomic.Pointer[string]
	set := func(text string) { value.Store(&text) }
	set("one")
	again := make(chan struct{})
	told := watched(t, Watcher{File: file, Again: again, Load: func(file string) (*Config, error) {
		return LoadWith(file, func(string) (string, error) { return *value.Load(), nil })
	}})
	set("two")
	again <- struct{}{}
	n := next(t, told)
	require.NoError(t, n.err)
	assert.Equal(t, "two", n.config.Providers["p"].Key.Reveal())
	again <- struct{}{}
	again <- struct{}{} // the second is taken when the first was looked at
	assert.Empty(t, told)
}
