package parameters_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/fake/aws"
)

const plain = `
# in house
listen: {address: "127.0.0.1:18080"}
providers:
  demo: {schema: openai, builtin: demo}
  cloud: {schema: openai, url: "https://x.example/v1", key: "${CLOUD_KEY}"}
models:
  m:
    # carefully
    route: [[{provider: demo, weight: 90}, {provider: cloud, weight: 10}]]
`

func TestAPushCanBeSeenComparedAndTakenBack(t *testing.T) {
	o := newOffice(t)
	r := o.bad("config", "show")
	assert.Contains(t, r.err, "/postern/"+o.env+"/active: no set is in force yet")

	file := o.file("postern.yaml", plain)
	r = o.good("config", "push", file)
	assert.Contains(t, r.out, "/postern/"+o.env+"/active: set 000001-")
	assert.Contains(t, r.err, "warning: "+file)
	assert.Contains(t, r.err, "is valid: version")
	assert.Contains(t, o.good("config", "push", file).out, "nothing to push")

	r = o.good("config", "show")
	assert.Contains(t, r.out, "key: \"${CLOUD_KEY}\"")
	assert.Contains(t, r.out, "# carefully")
	again := o.file("again.yaml", r.out)
	assert.Equal(t, "nothing differs\n", o.good("config", "diff", again).out, "what show prints can be pushed")
	assert.Contains(t, o.good("config", "validate").out, "is valid")

	changed := o.file("changed.yaml", strings.Replace(plain, "weight: 10", "weight: 30", 1)+"  n: {route: [[{provider: demo}]]}\n")
	r = o.good("config", "diff", changed)
	assert.Contains(t, r.out, "models.m: changed\n")
	assert.Contains(t, r.out, "  + route: [[{provider: demo, weight: 90}, {provider: cloud, weight: 30}]]\n")
	assert.Contains(t, r.out, "models.n: added\n")
	assert.Equal(t, r.out, o.good("config", "push", "--dry-run", changed).out)
	o.good("config", "push", changed)

	moved := o.file("moved.yaml", strings.Replace(plain, "18080", "18081", 1))
	assert.Contains(t, o.good("config", "push", moved).err, "take effect when a gate is started again")

	r = o.good("config", "rollback")
	assert.Contains(t, r.out, "back to 000002-")
	assert.Contains(t, r.err, "take effect when a gate is started again")
	assert.Contains(t, o.good("config", "rollback").out, "back to 000001-")
	assert.Contains(t, o.bad("config", "rollback").err, "no older set")
	assert.Contains(t, o.good("config", "rollback", "2").out, "back to 000002-")
	assert.Contains(t, o.good("config", "show").out, "weight: 30")
	assert.Contains(t, o.good("config", "diff", "1", "2").out, "models.n: added")

	lines := strings.Split(strings.TrimSpace(o.good("config", "history").out), "\n")
	require.Len(t, lines, 6)
	host, _ := os.Hostname()
	for i, line := range lines {
		assert.Equal(t, i == 0, strings.HasPrefix(line, "* "), line)
		assert.Contains(t, line, "arn:aws:sts::123456789012:user/moto")
		assert.Contains(t, line, host)
	}
	assert.Contains(t, lines[4], "push")
	assert.Contains(t, lines[4], "models.m changed, models.n added")
	assert.Contains(t, lines[0], "rollback")
	assert.Len(t, strings.Split(strings.TrimSpace(o.good("config", "history", "-n", "2").out), "\n"), 2)
}

// Who cannot read what a newer Postern wrote can go back to what was before, and nothing
// else.
func TestGoingBackFromANewerPostern(t *testing.T) {
	o := newOffice(t)
	file := o.file("postern.yaml", plain)
	o.good("config", "push", file)
	o.aws.Put(t, "/postern/"+o.env+"/active", `{"postern":2}`, false)
	o.aws.Put(t, "/postern/"+o.env+"/history/000002", `{"postern":2}`, false)
	newer := "/active: was written by a newer Postern (format 2, this one reads up to 1): update this one"
	assert.Contains(t, o.bad("config", "push", file).err, newer)
	assert.Contains(t, o.bad("traffic", "set", "m", "demo=1", "cloud=1").err, newer)
	r := o.good("config", "rollback")
	assert.Contains(t, r.err, newer)
	assert.Contains(t, r.out, "back to 000001-")
	assert.Contains(t, o.good("config", "history").out, "  2  ?")
}

// A push says everything that is wrong, and changes nothing.
func TestABadPushIsRefused(t *testing.T) {
	o := newOffice(t)
	o.good("config", "push", o.file("good.yaml", plain))
	before := o.good("config", "show").out
	file := o.file("bad.yaml", `
providers:
  demo: {schema: openai, builtin: demo}
  cloud: {schema: openai, url: "https://x.example/v1", key: sk-real-secret}
models:
  m: {route: [[{provider: dmeo}]]}
  n: {route: [[{provider: demo, weight: 0}]]}
  o: {rote: 1}
`)
	r := o.bad("config", "push", file)
	for _, text := range []string{
		file + ":4:", "providers.cloud.key: must be a reference", file + ":6:", "did you mean \"demo\"?",
		file + ":7:", "all weights are 0", file + ":8:", "models.o.rote: unknown key",
	} {
		assert.Contains(t, r.err, text)
	}
	assert.NotContains(t, r.err+r.out, "sk-real-secret")
	assert.NotContains(t, o.run("config", "diff", file).err, "sk-real-secret")
	assert.Equal(t, r.err, o.bad("config", "validate", file).err)
	assert.Contains(t, o.bad("config", "push", o.file("long.yaml", plain+"    system: \""+strings.Repeat("x", 5000)+"\"\n")).err,
		"/postern/"+o.env+"/sets/…/doc/models/m: models.m: has 5")
	assert.Contains(t, o.bad("config", "push", o.file("empty.yaml", "")).err, "the document is empty")
	assert.Contains(t, o.bad("config", "push", "nowhere.yaml").err, "nowhere.yaml cannot be read")
	assert.Equal(t, before, o.good("config", "show").out)

	o.aws.Fail(aws.Fault{Kind: aws.Deny, Operation: "PutParameter"})
	assert.Contains(t, o.bad("config", "push", o.file("other.yaml", plain+"    prefer: order\n")).err, "access is denied")
	o.aws.Clear()
	o.aws.Fail(aws.Fault{Kind: aws.Deny})
	assert.Contains(t, o.bad("config", "show").err, "/postern/"+o.env+"/active: access is denied")
	o.aws.Clear()
	assert.Equal(t, before, o.good("config", "show").out)
	assert.Contains(t, o.postern("config", "show").err, "the environment is missing")
	assert.Contains(t, o.postern("config", "show", "--env", "a/b").err, "an environment is named by")
}

func TestTwoPushesAtOnce(t *testing.T) {
	o := newOffice(t)
	o.good("config", "push", o.file("first.yaml", plain))
	one := o.file("one.yaml", strings.Replace(plain, "90", "91", 1))
	two := o.file("two.yaml", strings.Replace(plain, "90", "92", 1))
	// The second overtakes the first, which has read the pointer and written its set.
	var second result
	var once sync.Once
	o.aws.Fail(aws.Fault{Kind: aws.Slow, Operation: "PutParameter", Parameter: "/meta", Times: 1, Hook: func() {
		once.Do(func() { second = o.run("config", "push", two) })
	}})
	first := o.run("config", "push", one)
	assert.Equal(t, 0, second.code, second.err)
	assert.Equal(t, 1, first.code)
	assert.Contains(t, first.err, "was changed at the same time by arn:aws:sts")
	assert.Contains(t, first.err, "nothing of yours is in force")
	assert.Contains(t, o.good("config", "show").out, "weight: 92")
}

func TestAnOverlay(t *testing.T) {
	o := newOffice(t)
	base := o.env + "-base"
	require.Zero(t, o.postern("config", "push", o.file("base.yaml", plain), "--env", base).code)
	overlay := o.file("prod.yaml", "models:\n  n: {route: [[{provider: demo}]]}\nproviders:\n  cloud:\n")
	r := o.bad("config", "push", "--base", base, overlay)
	assert.Contains(t, r.err, "/postern/"+base+"/sets/000001-", "the dangling reference is the base's")
	assert.Contains(t, r.err, `there is no provider "cloud"`)
	overlay = o.file("prod.yaml", "models:\n  n: {route: [[{provider: demo}]]}\n  m: {route: [[{provider: demo}]]}\nproviders:\n  cloud:\n")
	o.good("config", "push", "--base", base, overlay)
	assert.Equal(t, "nothing differs\n", o.good("config", "diff", "--base", base, overlay).out)
	r = o.good("config", "show")
	assert.Contains(t, r.out, "18080")
	assert.NotContains(t, r.out, "cloud")
	assert.Contains(t, r.err, "laid over "+base+" 000001-")
	require.Zero(t, o.postern("config", "push", o.file("base.yaml", strings.Replace(plain, "18080", "18081", 1)), "--env", base).code)
	r = o.good("config", "diff", "--base", base, overlay)
	assert.Contains(t, r.out, "listen: changed", "what another push here would bring")
	assert.Equal(t, 1, strings.Count(r.out, "changed"))
}

func TestTrafficInAFile(t *testing.T) {
	o := newOffice(t)
	file := o.file("postern.yaml", plain)
	r := o.postern("traffic", "set", "m", "demo=50", "cloud=50")
	require.Zero(t, r.code, r.err)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, strings.Replace(strings.Replace(plain, "weight: 90", "weight: 50", 1), "weight: 10", "weight: 50", 1), string(text))
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	assert.Contains(t, o.postern("traffic", "show", "m").out, "demo")
	for args, says := range map[string]string{
		"m demo=0 cloud=0": "all weights are 0", "m gemini=1 demo=1": `no provider "gemini"`, "m demo=1": "the group has cloud too",
		"x demo=1": "there is no models.x", "m demo": "is no weight", "m demo=-1 cloud=1": "is no weight",
	} {
		r := o.postern(append([]string{"traffic", "set"}, strings.Fields(args)...)...)
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.err, says)
	}
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(text), string(after))
	left, err := filepath.Glob(filepath.Join(o.folder, ".postern-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// Of changes at one time none is lost.
func TestTrafficOfManyInOneFile(t *testing.T) {
	o := newOffice(t)
	text := "providers:\n  demo: {schema: openai, builtin: demo}\n  more: {schema: openai, builtin: demo}\nmodels:\n"
	const models = 4
	for i := range models {
		text += fmt.Sprintf("  m%d: {route: [[{provider: demo, weight: 90}, {provider: more, weight: 10}]]}\n", i)
	}
	file := o.file("postern.yaml", text)
	var all sync.WaitGroup
	for i := range models {
		all.Go(func() {
			assert.Zero(t, o.postern("traffic", "set", fmt.Sprintf("m%d", i), "demo=50", "more=50").code)
		})
	}
	all.Wait()
	changed, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, 2*models, strings.Count(string(changed), "weight: 50"), string(changed))
}

// An entry that needs the advanced tier keeps nobody from moving traffic.
func TestTrafficBesideLongEntries(t *testing.T) {
	o := newOffice(t)
	long := plain + "    system: \"" + strings.Repeat("x", 4200) + "\"\n  n: {route: [[{provider: demo, weight: 1}, {provider: cloud, weight: 1}]]}\n"
	file := o.file("long.yaml", long)
	assert.Contains(t, o.bad("config", "push", file).err, "--tier advanced")
	assert.Contains(t, o.bad("config", "validate", file).err, "--tier advanced")
	o.good("config", "validate", "--tier", "advanced", file)
	o.good("config", "push", "--tier", "advanced", file)
	o.good("config", "validate", file)
	o.good("traffic", "set", "n", "demo=3", "cloud=1")
	o.good("traffic", "set", "m", "demo=3", "cloud=100")
	assert.Contains(t, o.good("config", "show").out, "weight: 100")
	assert.Contains(t, o.bad("traffic", "set", "m", "demo=1", "cloud=1", "--tier", "x").err, "--tier is standard or advanced")
	assert.Contains(t, o.good("config", "push", file).out, "models.m changed, models.n changed")
}

func TestTrafficInParameterStore(t *testing.T) {
	o := newOffice(t)
	o.good("config", "push", o.file("postern.yaml", plain))
	r := o.good("traffic", "set", "m", "demo=50", "cloud=50")
	assert.Contains(t, r.out, "models.m cloud=50 demo=50")
	diff := o.good("config", "diff", "1", "2").out
	assert.Contains(t, diff, "weight: 50")
	assert.Equal(t, 1, strings.Count(diff, "changed"))
	assert.Contains(t, o.good("config", "history").out, "traffic")
	assert.Contains(t, o.good("traffic", "set", "m", "demo=50", "cloud=50").out, "nothing to change")
	assert.Contains(t, o.bad("traffic", "set", "m", "demo=0", "cloud=0").err, "all weights are 0")
	assert.Contains(t, o.bad("traffic", "set", "m", "demo=1", "gemini=1").err, `no provider "gemini"`)
	o.good("config", "rollback")
	assert.Contains(t, o.good("config", "show").out, "weight: 90")
	o.good("config", "push", o.file("groups.yaml", strings.Replace(plain,
		"    route: [[{provider: demo, weight: 90}, {provider: cloud, weight: 10}]]\n",
		"    route:\n      - [{provider: demo}]\n      - [{provider: cloud}]\n", 1)))
	assert.Contains(t, o.good("traffic", "order", "m", "2", "1").out, "models.m groups 2 1")
	assert.Contains(t, o.bad("traffic", "order", "m", "2").err, "the route has 2 groups")
}
