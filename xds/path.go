package xds

import (
	"fmt"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"

	"github.com/postern-proxy/postern/config"
)

// pathFilter writes the path of one attempt, from what the route noted of the client's
// (noteForm), whatever the attempt before made of it. It is a few lines of Lua in Envoy,
// because no other filter of Envoy's may write a path, and a stream to the ext_proc
// service would cost fifteen times as much (docs/adr/0006). Where the note is missing the
// request ends: another provider's path would be worse.
func pathFilter(p *config.Provider, v variant) *lua.Lua {
	script := `function envoy_on_request(h)
  local note = h:streamInfo():dynamicMetadata():get("` + formMetadata + `")
  if not note or not note.path then
    h:respond({[":status"] = "503"}, "")
    return
  end
`
	base := luaText(p.BasePath())
	switch {
	case p.Deployments():
		script += deployment(v)
		script += fmt.Sprintf("  local path = %s .. \"/openai/deployments/\" .. name .. note.path\n", base)
		// Responses name their model in the body alone.
		script += fmt.Sprintf("  if note.path == \"/responses\" then path = %s .. \"/openai/responses\" end\n", base)
		script += fmt.Sprintf("  h:headers():replace(\":path\", path .. %s)\n", luaText("?api-version="+p.APIVersion))
	case p.APIVersion != "":
		script += fmt.Sprintf("  h:headers():replace(\":path\", %s .. note.path .. %s)\n", base, luaText("?api-version="+p.APIVersion))
	default:
		script += fmt.Sprintf("  h:headers():replace(\":path\", %s .. note.path .. (note.query or \"\"))\n", base)
	}
	return &lua.Lua{
		DefaultSourceCode: &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: script + "end\n"}},
		StatPrefix:        "path",
	}
}

// deployment is the lines that put the name of a deployment into the variable name: a
// fixed one, or one made of the client's. A client's name that no deployment has, and
// that might lead elsewhere as part of a path, is answered here.
func deployment(v variant) string {
	own := v.to + v.deployment // never both
	if own != "" && v.pattern == "" {
		return "  local name = " + luaText(own) + "\n"
	}
	head, stem, tail := "", "", ""
	if v.pattern != "" {
		head, tail, _ = strings.Cut(own, "*")
		stem = strings.TrimSuffix(v.pattern, "*")
	}
	return fmt.Sprintf(`  local name = %s .. string.sub(note.model or "", %d) .. %s
  if string.find(name, "[^%%w_.%%-]") or not string.find(name, "[%%w_%%-]") then
    h:respond({[":status"] = "404"}, "")
    return
  end
`, luaText(head), len(stem)+1, luaText(tail))
}

// luaText is text as a Lua literal: what is not plain is written by its number, so that
// nothing in it can end the literal.
func luaText(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(text) {
		if c := text[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/._-?=", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "\\%03d", c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
