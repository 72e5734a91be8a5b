package price

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func load(t *testing.T, s Settings) *Table {
	t.Helper()
	table, err := Load(s)
	require.NoError(t, err)
	return table
}

func TestCost(t *testing.T) {
	table := load(t, Settings{
		Vendors: map[string]string{"eu": "openai", "aws": "bedrock"},
		Quotes: map[string]Quote{
			"mine/llama":     {Input: "0", Cached: "0", Output: "0"},
			"eu/gpt-4o-mini": {Input: "0.2", Output: "0.8"},
		},
	})
	for name, test := range map[string]struct {
		provider, model string
		used            Tokens
		want            string // "" is unknown
	}{
		"plain":                       {"openai", "gpt-4o-mini", Tokens{Input: 1000, Output: 100}, "0.00021 USD"},
		"cached":                      {"openai", "gpt-4o-mini", Tokens{Input: 1000, Cached: 400, Output: 100}, "0.00018 USD"},
		"one token":                   {"openai", "gpt-5-nano", Tokens{Input: 1, Cached: 1}, "0.000000005 USD"},
		"date without a row":          {"openai", "gpt-4o-mini-2024-07-18", Tokens{Input: 1000}, "0.00015 USD"},
		"date with a row":             {"openai", "gpt-4o-2024-05-13", Tokens{Input: 1000}, "0.005 USD"},
		"no date at all":              {"openai", "gpt-4o-2024", Tokens{Input: 1000}, ""},
		"only the end is a date":      {"openai", "gpt-4o-2024-05-13-x", Tokens{Input: 1}, ""},
		"fine-tuned":                  {"openai", "ft:gpt-4o-mini-2024-07-18:org::id", Tokens{Input: 1}, ""},
		"region":                      {"bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0", Tokens{Input: 10, Output: 1}, "0.0000165 USD"},
		"anywhere":                    {"bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0", Tokens{Input: 10, Output: 1}, "0.000015 USD"},
		"in one region":               {"bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0", Tokens{Input: 10, Cached: 5, Output: 1}, "0.00001155 USD"},
		"a region of an older model":  {"bedrock", "us.anthropic.claude-3-5-haiku-20241022-v1:0", Tokens{Input: 10}, "0.000008 USD"},
		"written to the cache":        {"bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0", Tokens{Input: 100, Cached: 30, Written: 50}, "0.0000855 USD"},
		"written, rate not known":     {"openai", "gpt-4o", Tokens{Input: 100, Written: 100}, "0.0003125 USD"},
		"more written than input":     {"openai", "gpt-4o", Tokens{Input: 10, Cached: 5, Written: 6}, ""},
		"region with its own":         {"bedrock", "us-gov.anthropic.claude-haiku-4-5-20251001-v1:0", Tokens{Input: 10}, ""},
		"mapped provider":             {"aws", "meta.llama3-3-70b-instruct-v1:0", Tokens{Input: 1e6, Output: 1e6}, "1.44 USD"},
		"another vendor's model":      {"bedrock", "gpt-4o", Tokens{Input: 1}, ""},
		"unknown provider":            {"nobody", "gpt-4o", Tokens{Input: 1}, ""},
		"unknown model":               {"openai", "gpt-99", Tokens{Input: 1}, ""},
		"no name":                     {"", "", Tokens{Input: 1}, ""},
		"no tokens":                   {"openai", "gpt-4o", Tokens{}, "0 USD"},
		"no tokens of an unknown":     {"openai", "gpt-99", Tokens{}, ""},
		"embedding":                   {"openai", "text-embedding-3-small", Tokens{Input: 50}, "0.000001 USD"},
		"embedding with output":       {"openai", "text-embedding-3-small", Tokens{Input: 50, Output: 1}, ""},
		"cached, rate not known":      {"openai", "gpt-5-pro", Tokens{Input: 50, Cached: 1}, ""},
		"more cached than input":      {"openai", "gpt-4o", Tokens{Input: 1, Cached: 2}, ""},
		"negative":                    {"openai", "gpt-4o", Tokens{Input: -1}, ""},
		"too large":                   {"openai", "gpt-4o", Tokens{Input: math.MaxInt64}, ""},
		"sum too large":               {"openai", "gpt-4", Tokens{Input: math.MaxInt64 / 30_000_000, Output: math.MaxInt64 / 60_000_000}, ""},
		"a long prompt":               {"bedrock", "anthropic.claude-sonnet-4-6", Tokens{Input: 200_001}, ""},
		"a prompt that is just short": {"bedrock", "global.anthropic.claude-sonnet-4-6", Tokens{Input: 200_000}, "0.6 USD"},
		"configured over the table":   {"eu", "gpt-4o-mini", Tokens{Input: 1000, Output: 1000}, "0.001 USD"},
		"and for a date":              {"eu", "gpt-4o-mini-2024-07-18", Tokens{Input: 1000, Output: 1000}, "0.001 USD"},
		"configured leaves others":    {"eu", "gpt-4o", Tokens{Input: 1000}, "0.0025 USD"},
		"free, because said so":       {"mine", "llama", Tokens{Input: 1000, Output: 9}, "0 USD"},
	} {
		t.Run(name, func(t *testing.T) {
			amount, known, guessed := table.Cost(test.provider, test.model, test.used)
			assert.Equal(t, name == "written, rate not known", guessed)
			require.Equal(t, test.want != "", known)
			if known {
				assert.Equal(t, test.want, amount.String())
			} else {
				assert.Zero(t, amount)
			}
		})
	}
}

func TestTheTableIsSane(t *testing.T) {
	rows, err := parse(embedded)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(rows), 40)
	for key, quote := range rows {
		parsed, err := quote.parse()
		require.NoError(t, err, key)
		assert.Positive(t, parsed.input.each, key)
		assert.LessOrEqual(t, parsed.input.each, 100*perToken, key)
		if parsed.cached.known {
			assert.LessOrEqual(t, parsed.cached.each, parsed.input.each, key)
		}
		if parsed.written.known {
			assert.Greater(t, parsed.written.each, parsed.input.each, key)
		}
		if parsed.output.known {
			assert.GreaterOrEqual(t, parsed.output.each, parsed.input.each, key)
		} else {
			assert.Contains(t, key, "embed", "only embeddings have no output")
		}
		assert.Equal(t, strings.TrimSpace(key), key)
	}
	date, err := Date()
	require.NoError(t, err)
	assert.True(t, date.After(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
	models := load(t, Settings{}).Models()
	assert.True(t, slices.IsSorted(models))
	assert.Contains(t, models, "gpt-4o")
}

func TestABadTableIsRefusedWithAllItsFaults(t *testing.T) {
	head := "vendor,model,input,cached,written,output,up_to,regional\n"
	for name, test := range map[string]struct{ text, want string }{
		"twice":           {head + "openai,a,1,,,2,,\nopenai,a,3,,,4,,", "openai/a stands twice"},
		"both faults":     {head + "openai,a,0,,,2,,\nother,b,1,,,2,,", "is free\nthe price table: other/b is of an unknown vendor"},
		"cached is dear":  {head + "openai,a,1,2,,2,,", "dearer"},
		"free output":     {head + "openai,a,1,,,0,,", "is free"},
		"nothing":         {head + "openai,a,,,,2,,", "needs an input price"},
		"no output":       {head + "openai,a,1,,,,,", "has no output price"},
		"cents":           {head + "openai,a,6000,,,,,", "output"},
		"another unit":    {head + "openai,a,6000,,,1,,", "above 1000"},
		"negative":        {head + "openai,a,-1,,,1,,", "must be dollars"},
		"exponent":        {head + "openai,a,1e3,,,1,,", "must be dollars"},
		"too fine":        {head + "openai,a,0.1234567,,,1,,", "must be dollars"},
		"limit":           {head + "openai,a,1,,,1,0,", "odd limit"},
		"share":           {head + "openai,a,1,,,1,,101", "odd share"},
		"free to write":   {head + "openai,a,1,,0,1,,", "is free"},
		"other columns":   {"a,b,c,d,e,f,g,h\n", "other columns"},
		"missing columns": {head + "openai,a,1", "wrong number of fields"},
		"empty":           {"", "other columns"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse([]byte(test.text))
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestBadQuotesAreNamed(t *testing.T) {
	_, err := Load(Settings{Quotes: map[string]Quote{
		"a/b": {Input: "1,5"}, "lonely": {Input: "1"}, "c/d": {Output: "1"}, "e/f": {Input: "1", UpTo: -1}, "g/h": {Input: "1."},
	}})
	require.Error(t, err)
	for _, key := range []string{`"a/b" must be dollars`, `"lonely" must be named`, `"c/d" needs an input`, `"e/f" has a negative`, `"g/h" must`} {
		assert.ErrorContains(t, err, key)
	}
}

func TestMoney(t *testing.T) {
	assert.Equal(t, "-1.5 USD", (-Dollar - Dollar/2).String())
	assert.Equal(t, "0.000000000001 USD", Money(1).String())
	assert.Equal(t, "-9223372.036854775808 USD", Money(math.MinInt64).String())
	assert.Equal(t, Money(math.MaxInt64), Money(math.MaxInt64).Plus(1))
	assert.Equal(t, Money(math.MinInt64), Money(math.MinInt64).Plus(-1))
	assert.InDelta(t, 0.25, (Dollar / 4).Dollars(), 0)
}

func FuzzRate(f *testing.F) {
	for _, text := range []string{"0.15", "1", "", ".", "000000.000001", "٣", "-1", "1e9"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		amount, err := parseRate(text)
		if err != nil {
			return
		}
		if amount < 0 || amount > 1e12 {
			t.Fatalf("%q is %d", text, amount)
		}
	})
}
