package price

import (
	"errors"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Money is an amount of US dollars in picodollars, 1e-12 USD: small enough that the
// price of one token is a whole number, large enough for nine million dollars.
type Money int64

// Dollar is one US dollar.
const Dollar Money = 1e12

// perToken is a price of one dollar per million tokens, for one token.
const perToken = Dollar / 1e6

// Plus adds, and stays at the largest amount rather than pass it.
func (m Money) Plus(other Money) Money {
	if other > 0 && m > math.MaxInt64-other {
		return math.MaxInt64
	}
	if other < 0 && m < math.MinInt64-other {
		return math.MinInt64
	}
	return m + other
}

// Dollars is the amount for displays and metrics, not for sums.
func (m Money) Dollars() float64 { return float64(m) / float64(Dollar) }

// String is the exact amount in dollars: "0.0000125 USD".
func (m Money) String() string {
	sign := ""
	whole := uint64(m) //nolint:gosec // negative amounts are turned below
	if m < 0 {
		sign, whole = "-", -whole
	}
	text := sign + strconv.FormatUint(whole/uint64(Dollar), 10)
	if rest := whole % uint64(Dollar); rest != 0 {
		digits := strconv.FormatUint(uint64(Dollar)+rest, 10)[1:]
		text += "." + strings.TrimRight(digits, "0")
	}
	return text + " USD"
}

// times multiplies a price of one token; ok is false if the amount has no room.
func (m Money) times(tokens int64) (Money, bool) {
	if m < 0 || tokens < 0 {
		return 0, false
	}
	high, low := bits.Mul64(uint64(m), uint64(tokens))
	if high != 0 || low > math.MaxInt64 {
		return 0, false
	}
	return Money(low), true
}

var errAmount = errors.New("must be dollars per million tokens, such as 0.15, with at most 6 decimals")

// parseRate reads dollars per million tokens as the price of one token, exactly.
func parseRate(text string) (Money, error) {
	whole, decimals, _ := strings.Cut(text, ".")
	if whole == "" || len(whole) > 6 || len(decimals) > 6 || strings.HasSuffix(text, ".") {
		return 0, errAmount
	}
	for _, digit := range whole + decimals {
		if digit < '0' || digit > '9' {
			return 0, errAmount
		}
	}
	n, err := strconv.ParseInt(whole+(decimals + "000000")[:6], 10, 64)
	if err != nil {
		return 0, errAmount
	}
	return Money(n), nil // perToken has six zeros: a millionth of it is one
}
