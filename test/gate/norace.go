//go:build !race

package gate

// RaceDetector says whether this test, and so the gate it starts, has it.
const RaceDetector = false
