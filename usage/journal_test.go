package usage

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

// disk takes so many bytes more.
type disk struct {
	bytes.Buffer
	room int
}

func (d *disk) Write(text []byte) (int, error) {
	n := min(len(text), d.room)
	d.room -= n
	d.Buffer.Write(text[:n])
	if n < len(text) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// Lines that could not be written are written once there is room, each whole and once.
func TestAFullDiskLosesNoLine(t *testing.T) {
	d := &disk{room: 1000}
	var told []error
	j := &Journal{Out: d, Report: func(err error) { told = append(told, err) }}
	r := consumed(t)
	write := func(id string) {
		r.ID = id
		j.Consume(r)
		j.Flush()
	}
	for n := range 10 {
		write(threeDigits(n))
	}
	failures, lost, failed := j.Trouble()
	require.Error(t, failed)
	assert.GreaterOrEqual(t, failures, uint64(5))
	assert.Zero(t, lost)
	require.Len(t, told, 1, "once")

	d.room = 1 << 30
	write("010")
	_, _, failed = j.Trouble()
	require.NoError(t, failed)
	require.Len(t, told, 2)
	require.NoError(t, told[1])
	lines := strings.Split(strings.TrimSuffix(d.String(), "\n"), "\n")
	require.Len(t, lines, 11)
	for n, line := range lines {
		require.True(t, gjson.Valid(line), line)
		assert.Equal(t, threeDigits(n), gjson.Get(line, "id").String())
	}
}

// A disk that stays full costs a bounded memory, and each line that is lost is counted.
func TestADiskThatStaysFull(t *testing.T) {
	d := &disk{}
	j := &Journal{Out: d}
	r := consumed(t)
	const all = 20_000
	for n := range all {
		j.Consume(r)
		if n%100 == 0 {
			j.Flush()
		}
	}
	_, lost, _ := j.Trouble()
	assert.Positive(t, lost)
	assert.LessOrEqual(t, j.lines.Len(), mostWaiting)
	d.room = 1 << 30
	j.Flush()
	assert.EqualValues(t, all, uint64(strings.Count(d.String(), "\n"))+lost)
}
