package extproc

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/extproc/body"
	"github.com/postern-proxy/postern/extproc/provider/bedrock"
	"github.com/postern-proxy/postern/extproc/provider/images"
	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

// Pick leaves out the targets that cannot serve a request, before it is routed: an
// attempt that finds out by itself ends the request. It looks at the body as all other
// stages left it, so it is the last.
type Pick struct {
	pattern string
	able    []able
	limited []limited
}

// able is what requests are tried on: a model behind another form, as a provider
// offers it.
type able struct {
	targets  []target // which have just this
	model    string   // a * in it is what the pattern's * stood for
	settings bedrock.Settings
	hosts    []string
}

// target is whom a member of a group is.
type target struct{ provider, model string }

var _ Stage = (*Pick)(nil)

// NewPick makes the stage for the usable route of an entry.
func NewPick(entry string, route [][]config.Target, providers map[string]*config.Provider) *Pick {
	p := &Pick{pattern: entry}
	for _, t := range slices.Concat(route...) {
		its := providers[t.Provider]
		if l, ok := limitedOf(t); ok {
			p.limited = append(p.limited, l)
		}
		if !its.Translated() {
			continue
		}
		own := able{
			targets: []target{{t.Provider, t.Model}}, model: t.Model, hosts: its.ImageHosts(),
			settings: bedrock.Settings{Fields: its.Fields, Images: pictured(its.ImageHosts())},
		}
		if i := slices.IndexFunc(p.able, own.same); i >= 0 {
			p.able[i].targets = append(p.able[i].targets, own.targets...)
			continue
		}
		p.able = append(p.able, own)
	}
	return p
}

func (a able) same(b able) bool {
	return a.model == b.model && slices.Equal(a.settings.Fields, b.settings.Fields) && slices.Equal(a.hosts, b.hosts)
}

// Name is "pick".
func (*Pick) Name() string { return "pick" }

// Apply tries the request on each, and says which groups are left if it is not all.
func (p *Pick) Apply(_ context.Context, r *Request) error {
	text := r.edited()
	if text == nil {
		text = r.Body
	}
	asked := modelOf(r)
	var first error
	var out []target
	var reading *bedrock.Reading
	for _, a := range p.able {
		if reading == nil {
			reading = bedrock.Read(r.Path, text)
		}
		err := reading.Check(renamed(p.pattern, a.model, asked), a.settings)
		if err == nil {
			continue
		}
		out = append(out, a.targets...)
		if first == nil {
			first = err
		}
	}
	if len(p.limited) > 0 {
		asks := needOf(r.Endpoint, text)
		for _, l := range p.limited {
			if err := l.refuses(asks); err != nil {
				out = append(out, l.target)
				if first == nil {
					first = err
				}
			}
		}
	}
	if first == nil {
		return nil
	}
	groups, err := remaining(r.Groups, out)
	switch {
	case err != nil:
		return &fault.Error{Op: "extproc.pick", Kind: fault.Internal, Cause: err}
	case len(groups) == 0:
		return first
	}
	r.chosen = groups
	return nil
}

// modelOf is the name the client gave; empty if there is none.
func modelOf(r *Request) string {
	field, there := r.Fields.Find("model")
	if !there {
		return ""
	}
	name, _ := body.Text(field.Raw(r.Body))
	return name
}

// remaining are the groups without some targets.
func remaining(text string, out []target) ([][]wire.Member, error) {
	var groups [][]wire.Member
	if err := json.Unmarshal([]byte(text), &groups); err != nil {
		return nil, err
	}
	for i := range groups {
		groups[i] = slices.DeleteFunc(groups[i], func(m wire.Member) bool {
			return slices.Contains(out, target{m.Provider, m.Model})
		})
	}
	return slices.DeleteFunc(groups, func(g []wire.Member) bool { return len(g) == 0 }), nil
}

// attempts is the groups as Envoy's cluster specifier takes them: one an attempt, the
// members of a group moving round and the weights staying, as the control plane makes
// them of a whole route. All but the last are at guarded clusters.
func attempts(groups [][]wire.Member) *structpb.Struct {
	total, at := 0, 0
	for _, group := range groups {
		total += len(group)
	}
	all := make([]*structpb.Value, 0, total)
	for _, group := range groups {
		for turn := range group {
			clusters := make([]*structpb.Value, 0, len(group))
			for place, m := range group {
				name := group[(place+turn)%len(group)].Cluster
				if at < total-1 {
					name = wire.ClusterGuarded + strings.TrimPrefix(name, wire.ClusterProvider)
				}
				clusters = append(clusters, structure(map[string]*structpb.Value{
					"cluster_name": structpb.NewStringValue(name),
					"weight":       structpb.NewNumberValue(float64(m.Weight)),
				}))
			}
			all = append(all, structure(map[string]*structpb.Value{
				"name":     structpb.NewStringValue("left" + strconv.Itoa(at)),
				"clusters": structpb.NewListValue(&structpb.ListValue{Values: clusters}),
			}))
			at++
		}
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		wire.GroupsField: structpb.NewListValue(&structpb.ListValue{Values: all}),
	}}
}

func structure(fields map[string]*structpb.Value) *structpb.Value {
	return structpb.NewStructValue(&structpb.Struct{Fields: fields})
}

// pictured stands for the images of those hosts, without fetching any: the smallest
// that is one. It is nil where there are no hosts.
func pictured(hosts []string) func(string) ([]byte, error) {
	if len(hosts) == 0 {
		return nil
	}
	return func(address string) ([]byte, error) {
		if err := images.Allowed(address, hosts); err != nil {
			return nil, err
		}
		return []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), nil
	}
}
