package health

import "time"

// Result is what an attempt says of its provider.
type Result uint8

// The results. The zero value says nothing.
const (
	Ignored Result = iota // the client's mistake, or its departure, or ours
	Good                  // it answered
	Failed                // it did not, or said that it could not
	Limited               // it is there, and wants less
)

// String is the result in small letters.
func (r Result) String() string {
	switch r {
	case Good:
		return "good"
	case Failed:
		return "failed"
	case Limited:
		return "limited"
	}
	return "ignored"
}

// Class is why an attempt was not Good: a closed set, for status and metrics.
type Class string

// The classes.
const (
	DNS       Class = "dns"             // its name has no address
	Refused   Class = "refused"         // no connection
	Connect   Class = "connect_timeout" // no connection in time
	TLS       Class = "tls"             // no agreement on certificates or protocol
	NoHost    Class = "no_host"         // Envoy has no address of it that it would try
	Reset     Class = "reset"           // the connection broke while it worked
	Timeout   Class = "timeout"         // no answer, or no more of it, in time
	Malformed Class = "malformed"       // what came is not HTTP, or not JSON where it must be
	Server    Class = "5xx"             // it says that it failed
	BadKey    Class = "401"             // it does not know our credential
	Forbidden Class = "403"             // our credential may not do this
	TooMany   Class = "429"             // it wants less
	Mistake   Class = "4xx"             // the request was at fault
	Left      Class = "left"            // the client went away
	Ours      Class = "gateway"         // it was never asked: our own limits or configuration
	Other     Class = "other"
)

// wide says that the provider was not reached at all, whichever model was asked for, and
// with whichever key. NoHost is not: Envoy leaves a provider's address alone for each of
// its keys and names apart, and one broken model may have brought that about.
func (c Class) wide() bool {
	switch c {
	case DNS, Refused, Connect, TLS:
		return true
	}
	return false
}

// keyed says that it speaks of the key that the attempt was made with: another of the
// same provider may be known, allowed, have something left, or be one that Envoy does not
// leave alone.
func (c Class) keyed() bool {
	switch c {
	case BadKey, Forbidden, TooMany, NoHost:
		return true
	}
	return false
}

// refuted says that a good answer to a probe, which asks for the list of models,
// proves that a failure of this class is over. A provider can list its models and fail
// at all of them, and give the list to anybody, whatever key they have, so of the other
// classes only attempts tell.
func (c Class) refuted() bool { return c.wide() }

// Outcome is how one attempt, or one probe, ended.
type Outcome struct {
	Provider string
	// Key is which of the provider's keys it was with (config.Credential.Place); empty
	// where it has not several.
	Key string
	// Entry is the model's entry in the configuration, whose target at this provider it
	// was; empty: it is not known, or it was for none.
	Entry string
	// Model is the provider's name for the model, as it is configured or as it was asked
	// for. It tells the targets of an entry at one provider apart, and stands for the
	// entry where that is not known. An outcome that fits no configured one is the
	// provider's.
	Model string

	At     time.Time // when the attempt began; zero: now
	Result Result
	Class  Class // why it was not Good; empty else

	FirstByte time.Duration // to the first byte of the answer; 0: not known
	Duration  time.Duration // of the whole attempt; 0: not known
	// OutputTokens are those of the answer; 0: not known. An Ignored outcome without
	// a class that has them adds to the averages alone, for those who learn the
	// tokens later than the result.
	OutputTokens int64
	// RetryAfter is how long a Limited or a Failed provider asked to be left alone; 0: it
	// did not say. See RetryAfter, the function.
	RetryAfter time.Duration

	Probe bool // it was one of ours, not a client's: it adds to no average
	// Accepted says that a probe was given a list, so that its key is known there.
	Accepted bool
}

// moment is when a provider showed what it was asked to show: that of a good answer's
// first byte, which may be long ago when it is heard of, and the begin of every other.
func (o *Outcome) moment(now time.Time) time.Time {
	switch {
	case o.At.IsZero():
		return now
	case o.Result == Good:
		return o.At.Add(o.FirstByte)
	}
	return o.At
}
