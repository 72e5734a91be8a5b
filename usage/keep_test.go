package usage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lives has one life after the other with the same two files; each is killed, which
// closes nothing in order.
type lives struct {
	t               *testing.T
	ledger, journal string
}

func (l lives) begin() (*Ledger, *os.File) {
	l.t.Helper()
	file, err := os.OpenFile(l.journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(l.t, err)
	ledger, _, err := OpenLedger(l.ledger)
	require.NoError(l.t, err)
	require.NoError(l.t, ledger.Keep(file))
	l.t.Cleanup(func() { _, _ = ledger.Close(), file.Close() })
	return ledger, file
}

func (l lives) has(want string) {
	l.t.Helper()
	text, err := os.ReadFile(l.journal)
	require.NoError(l.t, err)
	assert.Equal(l.t, want, string(text))
}

func TestTheJournalHasWhatWasSettled(t *testing.T) {
	folder := t.TempDir()
	l := lives{t, filepath.Join(folder, "ledger"), filepath.Join(folder, "journal")}
	settle := func(ledger *Ledger, requests uint64) {
		ledger.settle(1, 1, Stats{JoinStats: JoinStats{Requests: requests}}, frame{})
	}
	_, file := l.begin()
	_, _ = file.WriteString("before anything was settled\n")
	ledger, file := l.begin()
	l.has("before anything was settled\n") // nothing is known: nothing is taken away
	_, _ = file.WriteString("a\n")
	settle(ledger, 1)
	_, _ = file.WriteString("b\nhalf of")
	ledger, file = l.begin()
	l.has("before anything was settled\na\n")
	_, _ = file.WriteString("c\n")
	settle(ledger, 1)

	require.NoError(t, os.Truncate(l.journal, 0)) // rotated: copied and cut
	_, _ = file.WriteString("d\n")
	ledger, file = l.begin()
	l.has("d\n")
	settle(ledger, 1)
	_, _ = file.WriteString("e\n")

	require.NoError(t, os.Rename(l.journal, l.journal+".1")) // rotated: moved away
	require.NoError(t, os.WriteFile(l.journal, []byte("another, and longer than the one before\n"), 0o600))
	l.begin()
	l.has("another, and longer than the one before\n")
}

func TestAJournalThatIsNoFile(t *testing.T) {
	in, out, err := os.Pipe()
	require.NoError(t, err)
	defer in.Close()
	defer out.Close()
	ledger, _, err := OpenLedger("")
	require.NoError(t, err)
	require.NoError(t, ledger.Keep(out))
	ledger.settle(1, 1, Stats{JoinStats: JoinStats{Requests: 1}}, frame{})
	require.NoError(t, out.Close())
	assert.Error(t, ledger.Keep(out))
}
