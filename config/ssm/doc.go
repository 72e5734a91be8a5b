// Package ssm keeps configuration sets in AWS Parameter Store: it reads the set in
// force and follows its changes, writes new sets, and moves the pointer between them.
//
// The invariant: what is in force is replaced only by a set that was read whole,
// matches its index, and is valid. Whatever else happens (a set that is not, a
// parameter that cannot be read or decrypted, throttling, no answer for hours, a start
// without any) the last good configuration stays, and the error names the parameter.
// A set is written whole and read back before the pointer moves to it, and of two who
// move the pointer at one time one is told so. No error holds a parameter's value.
//
// A Store may be used concurrently. A Source belongs to the goroutine that calls Open
// and then Run; Status may be called from any.
package ssm
