package parameters_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config/set"
	"github.com/postern-proxy/postern/config/ssm"
	"github.com/postern-proxy/postern/test/fake/aws"
	"github.com/postern-proxy/postern/test/gate"
)

// bad is something that goes wrong in the store.
type bad struct {
	spoil  func()
	says   []string // the log, the status and the command
	places []string // the metric
}

// Whatever is wrong in Parameter Store, the gate serves with what it has, and its log, its
// status, its metric and the operator's command each name the parameter. (Values that are
// too long and pushes at one time never get so far: see TestABadPushIsRefused and
// TestTwoPushesAtOnce.)
func TestWhateverIsWrongIsNamedEverywhere(t *testing.T) {
	o, p := newOffice(t), newPair(t)
	root := "/postern/" + o.env
	secret := root + "/secrets/a"
	o.aws.Put(t, secret, "sk-first", true)
	good := p.document(100, 0)
	o.good("config", "push", o.file("postern.yaml", good))
	g := o.gate(p, "")
	first := o.report(g)

	pointTo := func(id string) func() {
		return func() { o.aws.Put(t, root+"/active", `{"postern":1,"set":"`+id+`","change":90,"last":90}`, false) }
	}
	back := pointTo(first.Parameters.Set)
	fails := func(f aws.Fault) func() {
		return func() {
			back()
			o.aws.Fail(f)
		}
	}
	rotates := func(f aws.Fault) func() {
		return func() {
			back()
			o.aws.Fail(f)
			o.aws.Put(t, secret, "sk-other", true)
		}
	}
	for _, b := range []bad{
		{ // all that is wrong in one set of forty parameters
			o.force(forty(good, map[int]string{
				7:  "route: [[{provider: b}\n",
				21: "route: [[{provider: bee}]]\n",
				39: "route: [[{provider: b, weight: 0}]]\n",
			})),
			[]string{"/doc/models/m7:1", "models.m7: is not YAML", "/doc/models/m21:1", `there is no provider "bee"`, "/doc/models/m39:1", "all weights are 0"},
			[]string{"/doc/models/m7", "/doc/models/m21", "/doc/models/m39"},
		},
		{o.force(nil), []string{root + "/sets/", "the set is empty"}, []string{root + "/sets/"}},
		{pointTo("000077-abcdef"), []string{root + "/sets/000077-abcdef: there is no such set"}, []string{root + "/sets/000077-abcdef"}},
		{
			func() {
				o.aws.Put(t, root+"/sets/000078-abcdef/meta", `{"postern":2}`, false)
				pointTo("000078-abcdef")()
			},
			[]string{root + "/sets/000078-abcdef/meta: was written by a newer Postern"},
			[]string{root + "/sets/000078-abcdef/meta"},
		},
		{
			rotates(aws.Fault{Kind: aws.Undecrypt, Parameter: secret}),
			[]string{"providers.a.key", secret + ": cannot be decrypted (AccessDeniedException)"}, []string{secret, "/doc/providers/a"},
		},
		{
			rotates(aws.Fault{Kind: aws.Keyless, Parameter: secret}),
			[]string{"providers.a.key", secret + ": cannot be decrypted (InvalidKeyId)"}, []string{secret},
		},
		{fails(aws.Fault{Kind: aws.Deny}), []string{root + "/active: access is denied"}, []string{root + "/active"}},
		{fails(aws.Fault{Kind: aws.Expire}), []string{root + "/active: the credentials have expired"}, []string{root + "/active"}},
		{fails(aws.Fault{Kind: aws.Skew}), []string{root + "/active: AWS does not take the time of this machine: look at its clock"}, []string{root + "/active"}},
		{fails(aws.Fault{Kind: aws.Throttle}), []string{root + "/active: Parameter Store asks for fewer requests"}, []string{root + "/active"}},
	} {
		o.aws.Clear()
		b.spoil()
		var now report
		require.Eventually(t, func() bool {
			now = o.report(g)
			return !slices.ContainsFunc(b.says, func(text string) bool { return !strings.Contains(now.LastError, text) })
		}, patience, 100*time.Millisecond, "%s\n%s", b.says, g.Output())
		command := o.bad("config", "validate")
		for _, text := range b.says {
			assert.Contains(t, strings.ReplaceAll(g.Output(), `\"`, `"`), text)
			assert.Contains(t, now.Parameters.LastError, text)
			assert.Contains(t, command.err, text)
		}
		metrics := scrape(t, g)
		for _, place := range b.places {
			assert.Regexp(t, `postern_configuration_refused{place="[^"]*`+place+`[^"]*"} 1`, metrics)
		}
		assert.Contains(t, metrics, `set="`+first.Parameters.Set+`"`)
		assert.Equal(t, first.Version, now.Version)
		response, body := g.Chat(t.Context(), t, "m")
		assert.Equal(t, http.StatusOK, response.StatusCode)
		assert.Contains(t, body, "from a")
		for _, text := range []string{g.Output(), command.err, command.out, metrics} {
			assert.NotContains(t, text, "sk-")
		}
	}
	o.aws.Clear()
	back()
	require.Eventually(t, func() bool { return o.report(g).LastError == "" }, patience, 100*time.Millisecond)
	assert.NotContains(t, scrape(t, g), "postern_configuration_refused{")
	assert.Equal(t, 0, o.status(g).code)
}

// report is what postern status --json says of a gate.
type report struct {
	Version    string `json:"version"`
	LastError  string `json:"last_error"`
	Parameters struct {
		Set       string `json:"set"`
		LastError string `json:"last_error"`
		Local     bool   `json:"local"`
	} `json:"parameters"`
}

func (o *office) report(g *gate.Gate) report {
	o.t.Helper()
	var r report
	said := o.postern("status", "--json", "--data", g.Data)
	require.NoError(o.t, json.Unmarshal([]byte(said.out), &r), said.err)
	return r
}

// force puts parts in force, past everything that the command looks at.
func (o *office) force(parts []set.Part) func() {
	return func() {
		o.t.Helper()
		o.aws.Set(o.t)
		store, err := ssm.Open(o.t.Context(), set.Tree{Prefix: "/postern", Environment: o.env})
		require.NoError(o.t, err)
		state, err := store.Active(o.t.Context())
		require.NoError(o.t, err)
		_, err = store.Put(o.t.Context(), state, nil, ssm.Draft{Kind: "push", Parts: parts, TakeOver: true})
		require.NoError(o.t, err)
	}
}

// forty is a document with forty more models, some of which have a text of their own.
func forty(document string, texts map[int]string) []set.Part {
	parts, err := set.Split([]byte(document))
	if err != nil {
		panic(err)
	}
	for i := range 40 {
		text := texts[i]
		if text == "" {
			text = "route: [[{provider: b}]]\n"
		}
		parts = append(parts, set.Part{Section: "models", Entry: "m" + strconv.Itoa(i), Text: text})
	}
	return parts
}

// A file's secrets are told of in the same places.
func TestASecretOfAFileThatCannotBeReadIsNamedEverywhere(t *testing.T) {
	o, p := newOffice(t), newPair(t)
	secret := "/postern/" + o.env + "/secrets/a"
	o.aws.Put(t, secret, "sk-first", true)
	g := gate.Start(t, gate.Settings{
		Address: p.address, Config: p.document(100, 0), Env: o.aws.Environment(),
		Args: []string{"--env", o.env, "--poll", poll.String()},
	})
	assert.Equal(t, 0, o.status(g).code)
	for says, spoil := range map[string]func(){
		secret + ": cannot be decrypted": func() {
			o.aws.Fail(aws.Fault{Kind: aws.Undecrypt})
			o.aws.Put(t, secret, "sk-other", true)
		},
		secret + ": Parameter Store cannot be reached": func() { o.aws.Fail(aws.Fault{Kind: aws.Cut}) },
	} {
		o.aws.Clear()
		spoil()
		require.Eventually(t, func() bool { return strings.Contains(o.report(g).Parameters.LastError, says) }, patience, 100*time.Millisecond, says)
		assert.Contains(t, g.Output(), says)
		status := o.status(g)
		assert.Equal(t, 1, status.code)
		assert.Contains(t, status.out, says)
		assert.Contains(t, scrape(t, g), `postern_configuration_refused{place="`+secret+`"} 1`)
		_, body := g.Chat(t.Context(), t, "m")
		assert.Contains(t, body, "from a")
	}
	o.aws.Clear()
	require.Eventually(t, func() bool { return o.status(g).code == 0 }, patience, 100*time.Millisecond)
	assert.Contains(t, o.status(g).out, "secrets        from Parameter Store")
}
