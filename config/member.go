package config

// Member is one that the attempts of a group choose from: a target, with one of its
// provider's keys.
type Member struct {
	Provider string
	Key      string // Credential.Place
	Model    string // the target's, as it is configured: empty where it is the entry's
}

// Members are those of a target, one for each of its provider's keys.
func (t Target) Members(p *Provider) []Member {
	credentials := p.Credentials()
	all := make([]Member, 0, len(credentials))
	for _, c := range credentials {
		all = append(all, Member{Provider: t.Provider, Key: c.Place, Model: t.Model})
	}
	return all
}
