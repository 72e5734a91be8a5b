//go:build !race

package bedrock

const raceOn = false
