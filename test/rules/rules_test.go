// Package rules holds the house rules that a machine can check.
//
// The invariant: every rule says in its failure why it is one. Tests here read the
// source tree and change nothing; they may run in parallel with all others.
package rules

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/postern-proxy/postern"

// pkg is what go list says of a package.
type pkg struct {
	Dir        string   `json:"Dir"`
	ImportPath string   `json:"ImportPath"`
	GoFiles    []string `json:"GoFiles"`
	Imports    []string `json:"Imports"`
	Deps       []string `json:"Deps"`
}

func packages(t *testing.T) []pkg {
	t.Helper()
	printed, err := exec.Command("go", "list", "-json=Dir,ImportPath,GoFiles,Imports,Deps", module+"/...").Output()
	require.NoError(t, err)
	var all []pkg
	for decoder := json.NewDecoder(strings.NewReader(string(printed))); ; {
		var p pkg
		err := decoder.Decode(&p)
		if err == io.EOF {
			return all
		}
		require.NoError(t, err)
		all = append(all, p)
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		documented := false
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			require.NoError(t, err)
			if file.Doc != nil && len(strings.Split(file.Doc.Text(), "\n\n")) >= 2 {
				documented = true
			}
		}
		if !documented {
			t.Errorf("%s has no package comment of two paragraphs: what it is, and the invariant it keeps", p.ImportPath)
		}
	}
}

// room is the top folder of one of our packages: "xds", "config".
func room(importPath string) string {
	rest, ours := strings.CutPrefix(importPath, module+"/")
	if !ours {
		return ""
	}
	return strings.Split(rest, "/")[0]
}

// ground are the packages that every room may stand on, and that stand on no room.
var ground = []string{"config", "fault", "wire"}

// prices is the one home of prices: it knows no room, and rooms may ask it.
const prices = module + "/usage/price"

// edges are the rooms that a room may know besides the ground, each with its reason.
var edges = map[string]map[string]string{
	"cmd":  {"*": "main wires everything"},
	"test": {"*": "tests see everything"},
}

func TestRoomsKnowOnlyWhatTheyMay(t *testing.T) {
	for _, p := range packages(t) {
		from := room(p.ImportPath)
		if _, all := edges[from]["*"]; all {
			continue
		}
		for _, imported := range p.Imports {
			to := room(imported)
			if to == "" || to == from || slices.Contains(ground, to) && !slices.Contains(ground, from) {
				continue
			}
			if from == "config" && to == "fault" {
				continue
			}
			if imported == prices && from != "config" {
				continue
			}
			if _, allowed := edges[from][to]; !allowed {
				t.Errorf("%s imports %s: rooms do not know each other, so that each can be tested, moved and replaced alone; "+
					"shared words belong to wire, shared types to config", p.ImportPath, imported)
			}
		}
	}
}

// users are the rooms that may import a library, with the reason.
var users = []struct {
	library string
	rooms   []string
	why     string
}{
	{"github.com/envoyproxy/go-control-plane", []string{"xds", "extproc", "usage", "test"},
		"Envoy's messages are spoken at its edges only: everything behind them works on plain types and can be hosted elsewhere"},
	{"github.com/aws/aws-sdk-go-v2/service", []string{"config", "test"},
		"the data path connects to no AWS service; the configuration may lie in one (config/ssm)"},
	{"github.com/spf13/cobra", []string{"cmd"}, "rooms know nothing of command lines"},
	{"github.com/stretchr/testify", []string{"test"}, "assertions belong to tests"},
	{"testing", []string{"test", "envoy"}, "testing's flags must not reach the binary (envoy/envoytest is for tests)"},
}

func TestLibrariesStayInTheirRooms(t *testing.T) {
	for _, p := range packages(t) {
		for _, rule := range users {
			for _, imported := range p.Imports {
				inside := imported == rule.library || strings.HasPrefix(imported, rule.library+"/")
				if inside && !slices.Contains(rule.rooms, room(p.ImportPath)) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imported, rule.why)
				}
			}
		}
	}
}

// A library that drops fields it does not know must not come near a user's bytes. Only
// health has one, for questions of its own, and it sees no user's bytes.
func TestTypedClientsStayAwayFromBodies(t *testing.T) {
	for _, p := range packages(t) {
		all := p.Deps
		switch room(p.ImportPath) {
		case "test", "health":
			continue
		case "cmd": // links what health needs, and uses none itself
			all = p.Imports
		}
		for _, dep := range all {
			for _, typed := range []string{"github.com/openai/openai-go", "github.com/sashabaranov/go-openai"} {
				if strings.HasPrefix(dep, typed) {
					t.Errorf("%s has %s: a typed client drops the fields it does not know; bodies travel as bytes", p.ImportPath, dep)
				}
			}
		}
	}
}

// background are the places outside main that may begin a context, with the reason.
var background = map[string]string{
	"xds/server.go": "the server's own life, which Stop ends",
}

func TestOnlyMainAndTestsStartFromNothing(t *testing.T) {
	for _, p := range packages(t) {
		if r := room(p.ImportPath); r == "cmd" || r == "test" {
			continue
		}
		for _, name := range p.GoFiles {
			place := strings.TrimPrefix(p.ImportPath, module+"/") + "/" + name
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
			require.NoError(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				if startsFromNothing(n) && background[place] == "" {
					t.Errorf("%s begins a context of its own: a caller could not end what it starts", place)
				}
				if f, ok := n.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s has an init function: nothing happens before main says so", place)
				}
				return true
			})
		}
	}
}

func startsFromNothing(n ast.Node) bool {
	call, ok := n.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := call.X.(*ast.Ident)
	return ok && from.Name == "context" && (call.Sel.Name == "Background" || call.Sel.Name == "TODO")
}

// sources are all files of Go, by their place in the repository.
func sources(t *testing.T) map[string]string {
	t.Helper()
	const root = "../.."
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		text, err := os.ReadFile(path)
		all[filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))] = string(text)
		return err
	}))
	return all
}

// The race detector allocates, so a ceiling holds without it only: make test-memory runs
// what has these names, of the packages that have such files.
func TestCeilingsAreHeldWithoutTheRaceDetector(t *testing.T) {
	measured := regexp.MustCompile(`(?m)^func Test(Allocations|Memory)|testing\.AllocsPerRun\(`)
	other := regexp.MustCompile(`(?m)^func (Test\w*)`)
	for name, text := range sources(t) {
		apart := strings.HasSuffix(name, "_norace_test.go")
		if measured.MatchString(text) != apart || apart && !strings.HasPrefix(text, "//go:build !race\n") {
			t.Errorf("%s: what counts allocations or memory stands in files _norace_test.go with //go:build !race, and nothing else does", name)
		}
		for _, test := range other.FindAllStringSubmatch(text, -1) {
			if apart && !strings.HasPrefix(test[1], "TestAllocations") && !strings.HasPrefix(test[1], "TestMemory") {
				t.Errorf("%s: nothing would run %s: its name begins with TestAllocations or TestMemory", name, test[1])
			}
		}
	}
}

// skippers are the files that may skip a test, with the reason.
var skippers = map[string]string{
	"test/need/need.go":              "it fails in CI",
	"envoy/envoytest/envoytest.go":   "it fails in CI",
	"envoy/orphan_test.go":           "of Linux only",
	"envoy/fetch_test.go":            "of some platforms only; and one downloads 37 MB, and so is asked for",
	"xds/memory_norace_test.go":      "of Linux only",
	"test/load/plan_test.go":         "of Linux only",
	"test/load/processes_test.go":    "of Linux only",
	"test/e2e/pushes/house_test.go":  "of Linux only",
	"test/e2e/pushes/pushes_test.go": "it takes two minutes: make soak",
	"config/fuzz_test.go":            "an input of the fuzzer's that says nothing",
}

func TestSkipsAreNotSilent(t *testing.T) {
	skips := regexp.MustCompile(`\b(t|b|tb|f)\.Skip(f|Now)?\(`)
	for name, text := range sources(t) {
		if skips.MatchString(text) && skippers[name] == "" {
			t.Errorf("%s skips a test: in CI that is a test that never runs; say what it needs with need.Missing (test/need)", name)
		}
	}
}
