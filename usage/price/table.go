package price

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The vendors of the table.
const (
	openAI  = "openai"
	bedrock = "bedrock"
)

const (
	maxMoney Money = math.MaxInt64
	// highest is above every price there is, in dollars per million tokens: a
	// number beyond it was meant for another unit.
	highest = 1000 * perToken
)

//go:embed prices.csv
var embedded []byte

// rates are the parsed prices of one token.
type rates struct {
	input, cached, written, output rate
	upTo, regional                 int64
}

// dearer are the rates in a region.
func (r rates) dearer() rates {
	for _, one := range []*rate{&r.input, &r.cached, &r.written, &r.output} {
		one.each += one.each * Money(r.regional) / 100
	}
	return r
}

type rate struct {
	each  Money
	known bool
}

// Load is the embedded table with what the settings say over it. Its error names
// every quote that cannot be read.
func Load(s Settings) (*Table, error) {
	rows, err := parse(embedded)
	if err != nil {
		return nil, err
	}
	return New(rows, s)
}

// New is a table of rows (by "vendor/model") and settings alone.
func New(rows map[string]Quote, s Settings) (*Table, error) {
	t := &Table{vendors: maps.Clone(s.Vendors), free: maps.Clone(s.Free), rates: make(map[name]rates, len(rows)+len(s.Quotes))}
	var faults []error
	for _, source := range []map[string]Quote{rows, s.Quotes} {
		for _, key := range slices.Sorted(maps.Keys(source)) {
			parsed, err := source[key].parse()
			whose, model, ok := strings.Cut(key, "/")
			if !ok || whose == "" || model == "" {
				err = errors.New(`must be named "provider/model"`)
			}
			if err != nil {
				faults = append(faults, fmt.Errorf("the price of %q %w", key, err))
				continue
			}
			t.rates[name{whose, model}] = parsed
		}
	}
	t.listed = make(map[string]bool, len(t.rates))
	for n := range t.rates {
		t.listed[n.model] = true
	}
	return t, errors.Join(faults...)
}

// Date is the day on which the embedded prices were checked.
func Date() (time.Time, error) {
	found := regexp.MustCompile(`(?m)^# Date: (\S+)$`).FindSubmatch(embedded)
	if found == nil {
		return time.Time{}, errors.New("the price table has no date")
	}
	return time.Parse(time.DateOnly, string(found[1]))
}

// parse turns the quote's texts into prices of one token.
func (q Quote) parse() (rates, error) {
	var parsed rates
	for _, part := range []struct {
		text string
		into *rate
	}{{q.Input, &parsed.input}, {q.Cached, &parsed.cached}, {q.Written, &parsed.written}, {q.Output, &parsed.output}} {
		if part.text == "" || part.text == "-" {
			continue
		}
		each, err := parseRate(part.text)
		if err != nil {
			return parsed, err
		}
		if each > highest {
			return parsed, errors.New("is above 1000 dollars per million tokens")
		}
		*part.into = rate{each: each, known: true}
	}
	parsed.upTo, parsed.regional = q.UpTo, q.Regional
	switch {
	case !parsed.input.known:
		return parsed, errors.New("needs an input price")
	case parsed.cached.known && parsed.cached.each > parsed.input.each:
		return parsed, errors.New("has cached tokens dearer than others")
	case q.UpTo < 0:
		return parsed, errors.New("has a negative limit")
	case q.Regional < 0 || q.Regional > 100:
		return parsed, errors.New("has an odd share for regions")
	}
	return parsed, nil
}

var columns = []string{"vendor", "model", "input", "cached", "written", "output", "up_to", "regional"}

// parse reads the table's text. A model may stand in it once, and nothing is free.
func parse(text []byte) (map[string]Quote, error) {
	reader := csv.NewReader(bytes.NewReader(text))
	reader.Comment = '#'
	reader.FieldsPerRecord = len(columns)
	records, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("the price table: %w", err)
	}
	if len(records) == 0 || !slices.Equal(records[0], columns) {
		return nil, errors.New("the price table has other columns")
	}
	rows := make(map[string]Quote, len(records))
	var faults []error
	for _, record := range records[1:] {
		key := record[0] + "/" + record[1]
		quote, err := readRow(record)
		if _, twice := rows[key]; twice {
			err = errors.New("stands twice")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("the price table: %s %w", key, err))
		}
		rows[key] = quote
	}
	return rows, errors.Join(faults...)
}

func readRow(record []string) (Quote, error) {
	quote := Quote{Input: record[2], Cached: record[3], Written: record[4], Output: record[5]}
	if !slices.Contains([]string{openAI, bedrock}, record[0]) {
		return quote, errors.New("is of an unknown vendor")
	}
	if quote.Output == "" {
		return quote, errors.New("has no output price")
	}
	for i, into := range []*int64{&quote.UpTo, &quote.Regional} {
		text := record[6+i]
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n <= 0 {
			return quote, errors.New("has an odd limit or share")
		}
		*into = n
	}
	parsed, err := quote.parse()
	if err != nil {
		return quote, err
	}
	for _, one := range []rate{parsed.input, parsed.cached, parsed.written, parsed.output} {
		if one.known && one.each == 0 {
			return quote, errors.New("is free")
		}
	}
	return quote, nil
}
