//go:build race

package bedrock

const raceOn = true
