package config

import (
	"regexp"
	"strings"
)

// versionForm is what may stand in a query as an api-version.
var versionForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$`)

// deploymentForm is what Azure lets a deployment be called; the dots alone would be
// another path.
var deploymentForm = regexp.MustCompile(`^[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*$`)

// azure judges what only Azure's form of the API has.
func (v *validator) azure(at path, p *Provider) {
	version, address := at.key("api_version"), at.key("url")
	given := v.given(version)
	switch {
	case v.broken(at.key("schema")):
		return
	case p.Schema != SchemaAzure:
		if given {
			v.problemf(version, "is for schema: azure")
		}
		return
	case v.given(at.key("builtin")):
		v.problemf(at.key("builtin"), "is for schema: openai")
		return
	case given && !v.broken(version) && !versionForm.MatchString(p.APIVersion):
		v.problemf(version, "must be an api-version, such as 2024-10-21")
	}
	if !v.given(address) || v.broken(address) {
		return
	}
	base := p.BasePath()
	switch {
	case strings.HasSuffix(base, azureV1):
	case strings.HasSuffix(base, "/openai"), strings.Contains(base, "/openai/deployments"):
		v.problemf(address, "must be the resource's own, such as https://NAME.openai.azure.com, or end in %s", azureV1)
	case !given:
		v.problemf(at, "needs an api_version, or a url that ends in %s", azureV1)
	}
}

// maxMembers bounds what a group comes to once its providers' keys stand apart: each is
// tried, and each try holds all of them.
const maxMembers = 64

// memberCount holds a route's groups to that.
func (v *validator) memberCount(at path, route [][]Target) {
	for i, group := range route {
		count := 0
		for _, target := range group {
			if p := v.config.Providers[target.Provider]; p != nil {
				count += max(1, len(p.Keys))
			}
		}
		if at := at.at(i); count > maxMembers && !v.broken(at) {
			v.problemf(at, "has more than %d targets, each key of a provider counted", maxMembers)
		}
	}
}

// deployments holds the names by which a route asks Azure to those that Azure has.
func (v *validator) deployments(at path, entry string, route [][]Target) {
	for i, group := range route {
		for j, target := range group {
			p := v.config.Providers[target.Provider]
			if p == nil || !p.Deployments() {
				continue
			}
			at, name := at.at(i).at(j), target.Model
			if name == "" {
				name = entry
			} else {
				at = at.key("model")
			}
			// What a * stands for is judged when it is known.
			if name = strings.Replace(name, "*", "x", 1); !v.broken(at) && !deploymentForm.MatchString(name) {
				v.problemf(at, "the name of an Azure deployment has only letters, digits, '-', '_' and '.': give the target a model that has")
			}
		}
	}
}
