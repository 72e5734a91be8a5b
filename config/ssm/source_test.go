package ssm_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/ssm"
	"github.com/postern-proxy/postern/test/fake/aws"
)

func TestASourceFollowsThePointer(t *testing.T) {
	h := newHouse(t)
	h.secret(secretValue)
	h.push(limited("1/s"))
	source := h.source("")
	first, told := h.follow(source)
	assert.Equal(t, "1/s", rate(first))
	assert.Equal(t, secretValue, first.Providers["cloud"].Key.Reveal())

	for i := 2; i < 5; i++ {
		record := h.push(limited(fmt.Sprintf("%d/s", i)))
		n := next(t, told)
		require.NoError(t, n.err)
		assert.Equal(t, fmt.Sprintf("%d/s", i), rate(n.config))
		require.Eventually(t, func() bool { return source.Status().Set == record.Set }, 5*time.Second, time.Millisecond)
	}
	state, _ := h.state()
	id, err := h.store.Previous(t.Context(), state)
	require.NoError(t, err)
	_, err = h.store.Put(t.Context(), state, nil, ssm.Draft{Kind: "rollback", Set: id})
	require.NoError(t, err)
	assert.Equal(t, "3/s", rate(next(t, told).config))
}

// A look that finds nothing new is one call, and none decrypts.
func TestALookIsOneCall(t *testing.T) {
	h := newHouse(t)
	h.secret(secretValue)
	h.push(limited("1/s"))
	_, told := h.follow(h.source(""))
	for _, operation := range []string{"GetParameter", "GetParameters", "GetParametersByPath"} {
		h.aws.Calls(operation)
	}
	require.Eventually(t, func() bool { return h.aws.Calls("GetParameters") > 3 }, 20*time.Second, 100*time.Millisecond)
	assert.Zero(t, h.aws.Calls("GetParameter"))
	assert.Zero(t, h.aws.Calls("GetParametersByPath"))
	assert.Empty(t, told)
}

func TestSecretsRotate(t *testing.T) {
	h := newHouse(t)
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte("one"), 0o600))
	document := strings.Replace(limited("1/s"), "models:", "  local: {schema: openai, url: \"https://x.example/v1\", key: \"file:"+file+"\"}\nmodels:", 1)
	h.push(document)
	first, told := h.follow(h.source(""))
	assert.True(t, first.Providers["cloud"].Key.Missing(), "there is none yet")
	versions := []string{first.Version}
	for _, value := range []string{"first", "second"} {
		h.secret(value)
		n := next(t, told)
		require.NoError(t, n.err)
		assert.Equal(t, value, n.config.Providers["cloud"].Key.Reveal())
		versions = append(versions, n.config.Version)
	}
	assert.NotEqual(t, versions[0], versions[1], "with the provider routes are others")
	assert.Equal(t, versions[1], versions[2], "the value makes no difference")
	require.NoError(t, os.WriteFile(file, []byte("two"), 0o600))
	assert.Equal(t, "two", next(t, told).config.Providers["local"].Key.Reveal())
}

// bad is something that goes wrong in the store, how it is mended, and what is said.
type bad struct {
	spoil func(h *house)
	mend  func(h *house)
	says  []string
}

func bads() map[string]bad {
	put := func(name func(h *house) string, value string) func(h *house) {
		return func(h *house) { h.put(name(h), value, types.ParameterTypeString) }
	}
	active := func(h *house) string { return h.store.Tree.Active() }
	push := func(document string) func(h *house) { return func(h *house) { h.push(document) } }
	again := func(h *house) {
		state, err := h.store.Active(h.t.Context())
		require.NoError(h.t, err)
		h.mend(state)
	}
	clears := func(h *house) { h.aws.Clear() }
	return map[string]bad{
		"no YAML in one parameter of forty": {
			spoil: push(strings.Replace(many(40), "m7: {route: [[{provider: demo}]]}", `m7: "route: ["`, 1)),
			mend:  again, says: []string{"/doc/models/m7:1", "models.m7"},
		},
		"a parameter changed by hand": {
			spoil: func(h *house) {
				state, _ := h.state()
				h.put(h.store.Tree.Part(state.Set, "models/_2a"), "route: [", types.ParameterTypeString)
				h.point()
			},
			mend: again, says: []string{"/doc/models/_2a", "changed by hand and is not YAML"},
		},
		"a parameter removed by hand": {
			spoil: func(h *house) {
				record := h.push(limited("3/s"))
				h.remove(h.store.Tree.Part(record.Set, "tiers/default"))
			},
			mend: again, says: []string{"/doc/tiers/default", "the parameter is missing"},
		},
		"a parameter added by hand": {
			spoil: func(h *house) {
				record := h.push(limited("3/s"))
				h.put(h.store.Tree.Part(record.Set, "tiers/gold"), "{}", types.ParameterTypeString)
			},
			mend: again, says: []string{"/doc/tiers/gold", "added by hand"},
		},
		"a dangling reference": {
			spoil: push(limited("2/s") + "default_provider: nobody\n"),
			mend:  again, says: []string{"/doc/default__provider:1:1: default_provider: there is no provider"},
		},
		"weights of 0": {
			spoil: push(strings.Replace(limited("2/s"), "{provider: demo}]]", "{provider: demo, weight: 0}]]", 1)),
			mend:  again, says: []string{"/doc/models/_2a:1:", "all weights are 0"},
		},
		"an empty set": {
			spoil: func(h *house) {
				state, old := h.state()
				_, err := h.store.Put(h.t.Context(), state, old, draft(nil))
				require.NoError(h.t, err)
			},
			mend: again, says: []string{"/sets/", "the set is empty"},
		},
		"a pointer to a missing set": {
			spoil: put(active, `{"postern":1,"set":"000077-abcdef","change":1,"last":77}`),
			mend:  again,
			says:  []string{"/sets/000077-abcdef: there is no such set"},
		},
		"a pointer that is none": {
			spoil: put(active, "what?"),
			mend:  func(h *house) { h.remove(h.store.Tree.Active()); h.mend(ssm.State{}) },
			says:  []string{"/active: is not what Postern writes there"},
		},
		"no pointer": {
			spoil: func(h *house) { h.remove(h.store.Tree.Active()) },
			mend:  func(h *house) { h.mend(ssm.State{}) },
			says:  []string{"/active: no set is in force"},
		},
		"a newer pointer": {
			spoil: put(active, `{"postern":2,"sets":["a"]}`),
			mend:  func(h *house) { h.remove(h.store.Tree.Active()); h.mend(ssm.State{}) },
			says:  []string{"/active: was written by a newer Postern"},
		},
		"a newer set": {
			spoil: func(h *house) {
				record := h.push(limited("3/s"))
				h.put(h.store.Tree.Meta(record.Set), `{"postern":3}`, types.ParameterTypeString)
			},
			mend: again,
			says: []string{"/meta: was written by a newer Postern"},
		},
		"a secret that cannot be decrypted": {
			spoil: func(h *house) {
				h.aws.Fail(aws.Fault{Kind: aws.Undecrypt, Parameter: "/secrets/cloud"})
				h.secret("new")
			},
			mend: clears, says: []string{"providers.cloud.key", "/secrets/cloud: cannot be decrypted"},
		},
		"a secret that is denied": {
			spoil: func(h *house) { h.aws.Fail(aws.Fault{Kind: aws.Deny, Parameter: "/secrets/cloud"}) },
			mend:  clears, says: []string{"providers.cloud.key", "/secrets/cloud: access is denied"},
		},
		"a secret that is gone": {
			spoil: func(h *house) { h.remove(h.store.Tree.Secret("cloud")) },
			mend:  func(h *house) { h.secret("back") }, says: []string{"/secrets/cloud: the parameter was there and is gone"},
		},
		"access denied": {spoil: fail(aws.Fault{Kind: aws.Deny}), mend: clears, says: []string{"/active: access is denied"}},
		"expired":       {spoil: fail(aws.Fault{Kind: aws.Expire}), mend: clears, says: []string{"/active: the credentials have expired (ExpiredTokenException)"}},
		"a wrong clock": {spoil: fail(aws.Fault{Kind: aws.Skew}), mend: clears, says: []string{"/active: AWS does not take the time of this machine: look at its clock"}},
		"a wrong key":   {spoil: fail(aws.Fault{Kind: aws.Forge}), mend: clears, says: []string{"/active: AWS does not take the credentials (InvalidSignatureException)"}},
		"a key that was disabled": {
			spoil: func(h *house) {
				h.aws.Fail(aws.Fault{Kind: aws.Keyless, Parameter: "/secrets/cloud"})
				h.secret("new")
			},
			mend: clears, says: []string{"providers.cloud.key", "/secrets/cloud: cannot be decrypted (InvalidKeyId)"},
		},
		"throttling": {spoil: fail(aws.Fault{Kind: aws.Throttle}), mend: clears, says: []string{"/active: Parameter Store asks for fewer requests"}},
		"broken":     {spoil: fail(aws.Fault{Kind: aws.Break}), mend: clears, says: []string{"/active: Parameter Store refuses (InternalServerError)"}},
		"cut":        {spoil: fail(aws.Fault{Kind: aws.Cut}), mend: clears, says: []string{"/active: Parameter Store cannot be reached"}},
		"no answer": {
			spoil: func(h *house) {
				h.impatient.Store(true)
				h.aws.Fail(aws.Fault{Kind: aws.Slow, Delay: time.Hour})
			},
			mend: func(h *house) { h.impatient.Store(false); h.aws.Clear() }, says: []string{"/active: Parameter Store cannot be reached"},
		},
		"denied reading": {
			spoil: func(h *house) { h.aws.Fail(aws.Fault{Kind: aws.Deny, Operation: "GetParametersByPath"}); h.point() },
			mend:  clears, says: []string{"/sets/", "access is denied"},
		},
	}
}

func fail(f aws.Fault) func(h *house) { return func(h *house) { h.aws.Fail(f) } }

// point writes the pointer anew, as it was.
func (h *house) point() {
	h.put(h.store.Tree.Active(), fmt.Sprintf(`{"postern":1,"set":%q,"change":1,"last":1}`, h.first), types.ParameterTypeString)
}

// mend puts a good set in force, whatever is there.
func (h *house) mend(state ssm.State) {
	h.t.Helper()
	d := draft(parts(h.t, limited("9/s")))
	d.TakeOver = true
	_, err := h.store.Put(h.t.Context(), state, nil, d)
	require.NoError(h.t, err)
}

// Whatever is wrong in the store, what is in force stays, the reason names the
// parameter, and what is good again is taken. A restart meanwhile has the last good
// set from the local copy.
func TestTheLastGoodSurvives(t *testing.T) {
	for name, b := range bads() {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			folder := t.TempDir()
			h.secret(secretValue)
			h.first = h.push(limited("1/s")).Set
			source := h.source(folder)
			first, told := h.follow(source)
			b.spoil(h)
			n := next(t, told)
			require.Error(t, n.err)
			require.Nil(t, n.config)
			for _, text := range b.says {
				assert.Contains(t, n.err.Error(), text)
			}
			assert.NotContains(t, n.err.Error(), secretValue)
			assert.Equal(t, n.err.Error(), source.Status().Error)
			assert.Equal(t, h.first, source.Status().Set)

			again := h.source(folder)
			copied, err := again.Open(t.Context())
			require.NoError(t, err)
			assert.Equal(t, first.Version, copied.Version)
			assert.Equal(t, "1/s", rate(copied))
			assert.Equal(t, secretValue, copied.Providers["cloud"].Key.Reveal())
			assert.True(t, again.Status().Local)

			b.mend(h)
			for n = next(t, told); n.err != nil; n = next(t, told) { // the reason may change
				assert.NotContains(t, n.err.Error(), secretValue)
			}
			assert.NotNil(t, n.config)
			require.Eventually(t, func() bool { return source.Status().Error == "" }, 10*time.Second, time.Millisecond)
		})
	}
}

// An outage is told of once.
func TestAnOutageIsToldOnce(t *testing.T) {
	h := newHouse(t)
	h.push(limited("1/s"))
	_, told := h.follow(h.source(""))
	h.aws.Fail(aws.Fault{Kind: aws.Cut})
	require.Error(t, next(t, told).err)
	h.aws.Calls("GetParameters")
	require.Eventually(t, func() bool { return h.aws.Calls("GetParameters") > 5 }, 20*time.Second, 500*time.Millisecond)
	assert.Empty(t, told)
	h.aws.Clear()
	require.NoError(t, next(t, told).err)
}

// A set that the gate cannot take is not what a restart begins with.
func TestOnlyWhatWasTakenIsKept(t *testing.T) {
	h := newHouse(t)
	folder := t.TempDir()
	h.push(limited("1/s"))
	source := h.source(folder)
	tries := atomic.Int32{}
	source.Notify = func(*config.Config, error) error {
		tries.Add(1)
		return errors.New("the gate cannot take it")
	}
	_, err := source.Open(t.Context())
	require.NoError(t, err)
	h.run(source)
	h.push(limited("2/s"))
	require.Eventually(t, func() bool { return tries.Load() == 1 }, 20*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return source.Status().Error == "the gate cannot take it" }, 5*time.Second, time.Millisecond)
	h.aws.Calls("GetParameters")
	require.Eventually(t, func() bool { return h.aws.Calls("GetParameters") > 2 }, 20*time.Second, 200*time.Millisecond)
	assert.EqualValues(t, 1, tries.Load(), "it is not tried again")
	h.aws.Fail(aws.Fault{Kind: aws.Cut})
	copied, err := h.source(folder).Open(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "1/s", rate(copied))
}

func TestTheLocalCopyIsPrivate(t *testing.T) {
	h := newHouse(t)
	folder := filepath.Join(t.TempDir(), "parameters")
	h.secret(secretValue)
	h.push(limited("1/s"))
	source := h.source(folder)
	_, err := source.Open(t.Context())
	require.NoError(t, err)
	files, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, files, 2)
	for _, file := range files {
		info, err := file.Info()
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), info.Mode())
		text, err := os.ReadFile(filepath.Join(folder, file.Name()))
		require.NoError(t, err)
		assert.Equal(t, strings.Contains(file.Name(), "secrets"), strings.Contains(string(text), secretValue))
	}

	bare := h.source(folder)
	bare.Copy.Secrets = false
	_, err = bare.Open(t.Context())
	require.NoError(t, err)
	files, err = os.ReadDir(folder)
	require.NoError(t, err)
	assert.Len(t, files, 1, "the values are taken off the disk")
	h.aws.Fail(aws.Fault{Kind: aws.Cut})
	copied, err := h.source(folder).Open(t.Context())
	require.NoError(t, err)
	assert.True(t, copied.Providers["cloud"].Key.Missing())

	for name, spoil := range map[string]string{"torn": `{"postern":1,"par`, "newer": `{"postern":9}`, "empty": ""} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, h.store.Tree.Environment+".json"), []byte(spoil), 0o600))
		_, err = h.source(folder).Open(t.Context())
		require.ErrorContains(t, err, "cannot be reached", name)
		require.ErrorContains(t, err, h.store.Tree.Environment+".json", name)
	}
	_, err = h.source(t.TempDir()).Open(t.Context())
	require.ErrorContains(t, err, "/active: Parameter Store cannot be reached")
}
