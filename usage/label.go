package usage

import "sync"

// OtherLabel stands for every value beyond a closed set.
const OtherLabel = "other"

// labels is a closed set of values of one label: at most so many different ones over
// a process's life, because a series once made stays.
type labels struct {
	most int
	mu   sync.RWMutex
	used map[string]bool
}

func newLabels(most int) *labels { return &labels{most: most, used: map[string]bool{}} }

// has says that the value is in the set.
func (l *labels) has(value string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.used[value]
}

// of is the value if it is in the set, or may come in; else OtherLabel.
func (l *labels) of(value string) string {
	if value == "" || l.has(value) {
		return value
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.used) >= l.most && !l.used[value] {
		return OtherLabel
	}
	l.used[value] = true
	return value
}

// statusClass is "2xx" and so on; "none" if there was no answer.
func statusClass(status int) string {
	if status < 100 || status > 599 {
		return "none"
	}
	return [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}[status/100-1]
}
