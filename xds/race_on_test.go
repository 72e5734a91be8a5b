//go:build race

package xds

const raceDetector = true
