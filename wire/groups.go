package wire

// GroupsField is the field of MetadataGroups that has a group for each attempt, and
// HeaderRetries says how many there are after the first. It is Envoy's own word, and no
// client's: Envoy drops it from them.
const (
	GroupsField   = "priority_groups"
	HeaderRetries = "x-envoy-max-retries"
)

// Member is one that a group's attempts choose from, as MetaGroups has it: the groups
// of a route in the order that they are tried in, as a JSON list of lists of members.
type Member struct {
	Cluster  string `json:"cluster"` // with ClusterProvider
	Weight   uint64 `json:"weight"`
	Provider string `json:"provider"`
	Model    string `json:"model,omitempty"` // the target's, as configured
}

// Standing is how much of a group can be used, as MetaStands has it.
type Standing uint8

// The standings, from good to bad.
const (
	Usable  Standing = iota // at least half of its weight
	Partly                  // some of it
	Limited                 // none, but its provider answers: it said 429
	Down                    // none
	Resting                 // those of the group before it that cannot be used, and come after its others
)
