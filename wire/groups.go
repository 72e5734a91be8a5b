package wire

// Member is one that a group's attempts choose from, as MetaGroups has it: the groups
// of a route in the order that they are tried in, as a JSON list of lists of members.
type Member struct {
	Cluster  string `json:"cluster"` // with ClusterProvider
	Weight   uint64 `json:"weight"`
	Provider string `json:"provider"`
	Model    string `json:"model,omitempty"` // the target's, as configured
}
