package usage

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counters is an Envoy whose counters tests set.
type counters struct {
	Counted
	err error
}

func (c *counters) Counters(context.Context) (Counted, error) { return c.Counted, c.err }

// world is an Envoy that writes and a reader that gets some of it.
type world struct {
	t      *testing.T
	name   string
	envoy  counters
	ledger *Ledger
	meter  *GapMeter
	stats  JoinStats
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, name: filepath.Join(t.TempDir(), "ledger.json"), envoy: counters{Counted: Counted{Born: time.Now()}}}
	w.reborn()
	return w
}

// reborn is our own restart: what waited is gone, what was settled is remembered.
func (w *world) reborn() {
	if w.ledger != nil {
		require.NoError(w.t, w.ledger.Close())
	}
	ledger, renewed, err := OpenLedger(w.name)
	require.NoError(w.t, err)
	require.False(w.t, renewed)
	w.t.Cleanup(func() { _ = ledger.Close() })
	w.ledger, w.stats = ledger, JoinStats{}
	w.meter = &GapMeter{Counters: &w.envoy, Ledger: ledger}
}

func (w *world) writes(n int) {
	w.envoy.Written += uint64(n)
	w.envoy.Requests += uint64(n)
}

// gets is n requests that come and are settled.
func (w *world) gets(n int) {
	w.stats.Requests += uint64(n)
	w.ledger.settle(uint64(n), uint64(n), Stats{JoinStats: w.stats}, frame{})
}

// waits is n entries that come and wait for their other half.
func (w *world) waits(n int) {
	w.stats.Attempts += uint64(n)
	w.stats.Pending += n
	w.ledger.settle(0, 0, Stats{JoinStats: w.stats}, frame{})
}

func (w *world) envoyRestarts() { w.envoy.Counted = Counted{} }

func (w *world) read() { w.meter.Read(w.t.Context()) }

func (w *world) missing(want uint64, why string) {
	w.t.Helper()
	w.read()
	w.read() // what was on its way at the first reading is late at the second
	assert.Equal(w.t, want, w.meter.Gap().Missing, why)
}

func TestTheGap(t *testing.T) {
	t.Run("nothing is lost", func(t *testing.T) {
		w := newWorld(t)
		assert.Zero(t, w.meter.Gap())
		w.writes(100)
		w.gets(90)
		w.read()
		assert.Zero(t, w.meter.Gap().Missing, "ten are on their way")
		w.gets(10)
		w.missing(0, "and came")
	})
	t.Run("some are lost", func(t *testing.T) {
		w := newWorld(t)
		w.writes(100)
		w.gets(60)
		w.missing(40, "")
		assert.EqualValues(t, 40, w.meter.Gap().Requests)
		w.writes(100)
		w.gets(100)
		w.missing(40, "the gap stays, it is a sum")
	})
	t.Run("dropped by Envoy", func(t *testing.T) {
		w := newWorld(t)
		w.envoy.Dropped = 7
		w.missing(7, "")
	})
	t.Run("what waits has come", func(t *testing.T) {
		w := newWorld(t)
		w.writes(10)
		w.waits(10)
		w.missing(0, "")
		w.reborn()
		w.missing(10, "what waited when the process died is lost")
	})
	t.Run("three deaths of ours", func(t *testing.T) {
		w := newWorld(t)
		for range 3 {
			w.writes(1000)
			w.gets(1000)
			w.read()
			w.writes(50) // while nobody reads
			w.reborn()
			w.writes(10)
			w.gets(10)
		}
		w.missing(150, "exactly what was written while we were dead")
	})
	t.Run("Envoy restarts", func(t *testing.T) {
		w := newWorld(t)
		w.writes(100)
		w.gets(90)
		w.missing(10, "")
		w.writes(5) // its last words, after the last reading, which all come
		w.gets(5)
		w.envoyRestarts()
		w.writes(30)
		w.gets(30)
		w.missing(10, "")
		w.writes(5)
		w.missing(15, "the new one's counters go on")
	})
	t.Run("Envoy restarts and is soon beyond where it was", func(t *testing.T) {
		w := newWorld(t)
		w.envoy.Instance = "one"
		w.writes(10)
		w.gets(10)
		w.read()
		w.envoyRestarts()
		w.envoy.Instance = "two"
		w.writes(500)
		w.gets(400)
		w.missing(100, "")
	})
	t.Run("Envoy restarts, is soon beyond where it was, and nobody names it", func(t *testing.T) {
		w := newWorld(t)
		w.writes(10)
		w.gets(10)
		w.read()
		w.envoyRestarts()
		w.envoy.Born = time.Now().Add(time.Minute)
		w.writes(500)
		w.gets(400)
		w.missing(100, "")
		w.envoy.Born = w.envoy.Born.Add(5 * time.Second) // it is not told more exactly
		w.writes(1)
		w.gets(1)
		w.missing(100, "")
	})
	t.Run("Envoy was there before the ledger", func(t *testing.T) {
		w := newWorld(t)
		w.envoy.Born = time.Now().Add(-time.Hour)
		w.writes(1_000_000)
		w.gets(10)
		w.missing(0, "nobody knows what it told another")
		assert.Zero(t, w.meter.Gap().Requests)
		w.writes(100)
		w.gets(60)
		w.missing(40, "from here on all is known")
		assert.EqualValues(t, 40, w.meter.Gap().Requests)
		w.reborn()
		w.missing(40, "")
		w.envoyRestarts()
		w.writes(5)
		w.missing(45, "")
	})
	t.Run("the clock is set", func(t *testing.T) {
		w := newWorld(t)
		w.envoy.Born = time.Now().Add(-72 * time.Hour)
		w.writes(100)
		w.gets(100)
		w.read()
		w.meter.Now = func() time.Time { return time.Now().Round(0).Add(time.Hour) } // no monotonic clock helps
		w.envoy.Born = w.envoy.Born.Add(time.Hour)                                   // Envoy reckons its uptime later
		w.missing(0, "")
		w.envoy.Born = w.envoy.Born.Add(-time.Hour)
		w.missing(0, "")
		w.writes(10)
		w.gets(10)
		w.missing(0, "")
	})
	t.Run("nobody knows when Envoy began", func(t *testing.T) {
		w := newWorld(t)
		w.envoy.Born = time.Time{}
		w.writes(1000)
		w.missing(0, "")
	})
	t.Run("long streams are no loss", func(t *testing.T) {
		w := newWorld(t)
		w.envoy.Requests = 100
		w.gets(100)
		w.read()
		w.envoy.Requests = 97 // read while three began
		w.missing(0, "")
		w.envoy.Requests = 110
		w.gets(10)
		w.missing(0, "")
		assert.Zero(t, w.meter.Gap().Requests)
	})
	t.Run("a request that waits has come", func(t *testing.T) {
		w := newWorld(t)
		w.writes(3)
		w.stats.Requests, w.stats.Pending = 3, 3
		w.ledger.settle(0, 0, Stats{JoinStats: w.stats}, frame{})
		w.missing(0, "")
		assert.Zero(t, w.meter.Gap().Requests)
		w.reborn()
		w.missing(3, "what waited when the process died is lost")
		assert.EqualValues(t, 3, w.meter.Gap().Requests)
	})
	t.Run("what is passed over has come", func(t *testing.T) {
		w := newWorld(t)
		w.envoy.Written = 4
		w.ledger.settle(0, 0, Stats{Skipped: 4}, frame{})
		w.missing(0, "")
		w.reborn()
		w.missing(0, "")
	})
	t.Run("both restart", func(t *testing.T) {
		w := newWorld(t)
		w.writes(100)
		w.gets(80)
		w.missing(20, "")
		w.reborn()
		w.envoyRestarts()
		w.writes(50)
		w.gets(50)
		w.missing(20, "")
	})
	t.Run("an Envoy that does not answer", func(t *testing.T) {
		w := newWorld(t)
		w.writes(10)
		w.missing(10, "")
		w.envoy.err = errors.New("no\nsocket")
		w.read()
		assert.EqualValues(t, 10, w.meter.Gap().Missing)
		assert.Equal(t, "no?socket", w.meter.Gap().Failure)
		w.envoy.err = nil
		w.missing(10, "")
		assert.Empty(t, w.meter.Gap().Failure)
	})
}

func TestTheMeterReadsUntilItsEnd(t *testing.T) {
	w := newWorld(t)
	w.meter.Every = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.meter.Run(ctx) }()
	require.Eventually(t, func() bool { return !w.meter.Gap().At.IsZero() }, 5*time.Second, time.Millisecond)
	cancel()
	assert.NoError(t, <-done)
}

func TestALedgerThatIsDamaged(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ledger.json")
	require.NoError(t, os.WriteFile(name, []byte(`{"settled": 12`), 0o600))
	ledger, renewed, err := OpenLedger(name)
	require.NoError(t, err)
	assert.True(t, renewed)
	ledger.settle(1, 1, Stats{JoinStats: JoinStats{Requests: 1}}, frame{})
	failures, failed := ledger.Trouble()
	require.NoError(t, failed)
	assert.Zero(t, failures)
	require.NoError(t, ledger.Close())
	require.NoError(t, ledger.Close())
	ledger, renewed, err = OpenLedger(name)
	require.NoError(t, err)
	assert.False(t, renewed)
	assert.EqualValues(t, 1, ledger.balance.Settled)
	require.NoError(t, ledger.Close())

	_, _, err = OpenLedger(filepath.Join(name, "below"))
	require.Error(t, err)
	memory, _, err := OpenLedger("")
	require.NoError(t, err)
	memory.settle(1, 1, Stats{JoinStats: JoinStats{Requests: 1}}, frame{})
	assert.EqualValues(t, 1, memory.received())
	assert.NoError(t, memory.Close())
}

func TestALedgerSaysThatItCannotWrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ledger.json")
	ledger, _, err := OpenLedger(name)
	require.NoError(t, err)
	var told []error
	ledger.Report(func(err error) { told = append(told, err) })
	require.NoError(t, ledger.file.Close())
	for n := range uint64(3) {
		ledger.settle(1, 1, Stats{JoinStats: JoinStats{Requests: n + 1}}, frame{})
	}
	failures, failed := ledger.Trouble()
	require.Error(t, failed)
	assert.EqualValues(t, 3, failures)
	require.Len(t, told, 1, "once")

	ledger.file, err = os.OpenFile(name, os.O_RDWR, 0o600)
	require.NoError(t, err)
	ledger.settle(1, 1, Stats{JoinStats: JoinStats{Requests: 4}}, frame{})
	_, failed = ledger.Trouble()
	require.NoError(t, failed)
	require.Len(t, told, 2)
	require.NoError(t, told[1])
	require.NoError(t, ledger.Close())
	ledger, _, err = OpenLedger(name)
	require.NoError(t, err)
	assert.EqualValues(t, 4, ledger.balance.Settled, "nothing is lost by it")
	require.NoError(t, ledger.Close())
}

func TestALedgerFitsItsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ledger.json")
	ledger, _, err := OpenLedger(name)
	require.NoError(t, err)
	most := ^uint64(0)
	full := meter{most, most, most, most, most}
	ledger.balance = balance{most, most, full, full, strings.Repeat("<", 64), -1 << 63, -1 << 63, -1 << 63, false, frame{strings.Repeat("f", 32), most}, length{most, -1 << 63}}
	ledger.write()
	require.NoError(t, ledger.Close())
	ledger, renewed, err := OpenLedger(name)
	require.NoError(t, err)
	assert.False(t, renewed)
	assert.Equal(t, full, ledger.balance.Written)
	require.NoError(t, ledger.Close())
}

func TestEnvoysOwnStatistics(t *testing.T) {
	all := map[string]int64{statWritten: 7, statDropped: 2, statTotal: 8, statActive: 5, statUptime: 9}
	var failure error
	var asked []string
	e := &Envoy{Instance: func() string { return "one" }, Stats: func(_ context.Context, pattern string) (map[string]int64, error) {
		asked = append(asked, pattern)
		stats := maps.Clone(all)
		maps.DeleteFunc(stats, func(name string, _ int64) bool { return !regexp.MustCompile("^(?:" + pattern + ")$").MatchString(name) })
		return stats, failure
	}}
	_, ok := e.InFlight()
	assert.False(t, ok)
	counted, err := e.Counters(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{statPattern, activePattern}, asked, "what goes on is asked for last")
	assert.InDelta(t, 9, time.Since(counted.Born).Seconds(), 2)
	counted.Born = time.Time{}
	assert.Equal(t, Counted{Instance: "one", Written: 7, Dropped: 2, Requests: 3}, counted)
	active, ok := e.InFlight()
	assert.True(t, ok)
	assert.InDelta(t, 5, active, 0)

	all[statTotal], all[statActive] = 9, 8 // two began between the two questions
	counted, err = e.Counters(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 3, counted.Requests, "what ended stays so")
	all[statTotal], all[statActive] = 2, 1 // another Envoy
	counted, err = e.Counters(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 1, counted.Requests)

	failure = errors.New("away")
	_, err = e.Counters(t.Context())
	require.ErrorIs(t, err, failure)
}
