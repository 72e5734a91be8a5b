package health

import (
	"math"
	"time"
)

// slots are the steps in which a window moves on.
const slots = 10

// counts are the outcomes of some time. held are the failures among them that may
// open the breaker, late the good ones that tell of the time before the window.
type counts struct{ good, failed, limited, held, late uint32 }

// window counts outcomes of the last while, a slot each tenth of it.
type window struct {
	slots [slots]struct {
		number int64
		counts
	}
}

// at is the slot of now, emptied if it was an older time's.
func (w *window) at(now time.Time, length time.Duration) *counts {
	number := now.UnixNano() / int64(length/slots)
	slot := &w.slots[number%slots]
	if slot.number != number {
		slot.number, slot.counts = number, counts{}
	}
	return &slot.counts
}

// sum is what the window holds.
func (w *window) sum(now time.Time, length time.Duration) counts {
	oldest := now.UnixNano()/int64(length/slots) - slots
	var all counts
	for i := range w.slots {
		if slot := &w.slots[i]; slot.number > oldest {
			all.good += slot.good
			all.failed += slot.failed
			all.limited += slot.limited
			all.held += slot.held
			all.late += slot.late
		}
	}
	return all
}

// average is a moving one: what was seen weighs less the longer it is ago.
type average struct {
	sum, weight float64
	at          time.Time
	samples     uint64 // ever
}

func (a *average) add(value float64, now time.Time, memory time.Duration) {
	keep := 1.0
	if passed := now.Sub(a.at); passed > 0 {
		keep = math.Exp(-passed.Seconds() / memory.Seconds())
		a.at = now
		if passed > memory { // however much it was: it may be another world
			keep = 0
		}
	}
	a.sum = a.sum*keep + value
	a.weight = a.weight*keep + 1
	a.samples++
}

// duration is the average of seconds; 0: there is none.
func (a *average) duration() time.Duration {
	if a.weight == 0 {
		return 0
	}
	return time.Duration(a.sum / a.weight * float64(time.Second))
}
