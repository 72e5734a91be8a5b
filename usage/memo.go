package usage

// Bounds of a memo: so many texts of at most such a length. What somebody outside makes
// up is longer, or there are more of it, and then it is forgotten from time to time.
const (
	memoTexts  = 1024
	memoLength = 96
)

// memo knows what was made of the texts that came last: names of routes, clusters and
// keys stand in every entry, and making them again each time is most of reading it. It
// is not safe for concurrent use; the zero value is ready.
type memo[V any] struct{ known map[string]V }

// of is what is made of the text. It must give the same for the same text, always.
func (m *memo[V]) of(text []byte, what func(string) V) V {
	if len(text) > memoLength {
		return what(string(text))
	}
	if made, ok := m.known[string(text)]; ok {
		return made
	}
	return m.add(string(text), what)
}

func (m *memo[V]) add(text string, what func(string) V) V {
	if m.known == nil {
		m.known = map[string]V{}
	}
	if len(m.known) >= memoTexts {
		clear(m.known)
	}
	made := what(text)
	m.known[text] = made
	return made
}

// memos are those of one reader of the log.
type memos struct {
	names   memo[string]
	targets memo[aim]
}

// name is a text, cleaned (see clean).
func (m *memos) name(text []byte, limit int) string {
	switch {
	case len(text) == 0:
		return ""
	case len(text) > memoLength: // which is below every limit
		return clean(string(text), limit)
	}
	return m.names.of(text, cleanName)
}

func cleanName(text string) string { return clean(text, maxName) }

func (m *memos) target(cluster []byte) aim { return m.targets.of(cluster, target) }
