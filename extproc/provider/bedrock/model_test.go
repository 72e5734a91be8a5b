package bedrock

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestIdentify(t *testing.T) {
	const arn = "arn:aws:bedrock:us-east-1:123456789012:"
	for id, want := range map[string]family{
		"anthropic.claude-3-haiku-20240307-v1:0":                                       claude,
		"us.anthropic.claude-haiku-4-5-20251001-v1:0":                                  claude,
		"us-gov.anthropic.claude-3-7-sonnet-20250219-v1:0":                             claude,
		"apac.amazon.nova-lite-v1:0":                                                   nova,
		"global.amazon.nova-2-lite-v1:0":                                               nova,
		"amazon.nova-canvas-v1:0":                                                      other,
		"amazon.nova-sonic-v1:0":                                                       other,
		"meta.llama3-70b-instruct-v1:0":                                                llama,
		"amazon.titan-text-premier-v1:0":                                               titanText,
		"amazon.titan-text-lite-v1:0:4k":                                               titanText,
		"amazon.titan-embed-text-v2:0":                                                 titanEmbed,
		"amazon.titan-image-generator-v1":                                              other,
		"mistral.mistral-large-2402-v1:0":                                              other,
		"xanthropic.claude-v2":                                                         other,
		arn + "inference-profile/eu.anthropic.claude-sonnet-4-20250514-v1:0":           claude,
		"arn:aws-cn:bedrock:cn-north-1::foundation-model/meta.llama3-8b-instruct-v1:0": llama,
		arn + "application-inference-profile/anthropic.claude":                         other,
		arn + "provisioned-model/abc":                                                  other,
		arn + "imported-model/abc":                                                     other,
		"arn:":                                                                         other,
		"arn:aws:bedrock":                                                              other,
		"/":                                                                            other,
	} {
		assert.Equal(t, want, identify(id).family, id)
	}
}

func TestVersion(t *testing.T) {
	for rest, want := range map[string]int{
		"-3-haiku-20240307-v1:0": 300, "-3-5-sonnet-20240620-v1:0": 305, "-3-7-sonnet-20250219-v1:0": 307,
		"-sonnet-4-20250514-v1:0": 400, "-opus-4-1-20250805-v1:0": 401, "-opus-4-6-v1": 406, "-sonnet-5": 500,
		"-v2": 200, "-v2:1": 200, "-instant-v1": 100, "-later": newest,
		"3-1-70b-instruct-v1:0": 301, "3-8b-instruct-v1:0": 300, "4-scout-17b-instruct-v1:0": 400, "2-13b-chat-v1": 200,
	} {
		assert.Equal(t, want, version(rest), rest)
	}
}

func TestWhatModelsCanDo(t *testing.T) {
	for id, want := range map[string]struct{ can, cannot ability }{
		"anthropic.claude-v2:1":                       {canSystem, canTools | canSee | canThink | canJSON},
		"anthropic.claude-3-5-sonnet-20241022-v2:0":   {canTools | canSee | canForce | canJSON, canThink | canSerial | mustChoose},
		"us.anthropic.claude-3-5-haiku-20241022-v1:0": {canTools | canForce | canJSON | canContinue, canSee | canSeeResults | canThink},
		"anthropic.claude-3-haiku-20240307-v1:0":      {canSee | canSeeResults, canThink},
		"us.anthropic.claude-haiku-4-5-20251001-v1:0": {canSee | canContinue | canThink, canAdapt},
		"global.anthropic.claude-opus-4-6-v1":         {canAdapt, canContinue},
		"amazon.nova-pro-v1:0":                        {canSee | canContinue, canThink},
		"anthropic.claude-sonnet-4-20250514-v1:0":     {canThink, canAdapt | canSerial | mustChoose},
		"anthropic.claude-opus-4-1-20250805-v1:0":     {canThink | mustChoose, canSerial},
		"anthropic.claude-sonnet-4-6":                 {canAdapt | canStrict | canSerial, 0},
		"meta.llama3-8b-instruct-v1:0":                {canSystem, canTools | canSee | canContinue},
		"meta.llama3-1-8b-instruct-v1:0":              {canTools, canSee | canForce | canStreamTools},
		"meta.llama3-2-1b-instruct-v1:0":              {canSystem, canTools | canSee},
		"meta.llama3-2-90b-instruct-v1:0":             {canTools | canSee, canForce},
		"meta.llama3-3-70b-instruct-v1:0":             {canTools, canSee},
		"amazon.titan-text-express-v1":                {0, canSystem | canTools | canSee | canContinue},
		"amazon.nova-micro-v1:0":                      {canTools | canForce | canJSON, canSee},
		"cohere.command-r-v1:0":                       {plain, canJSON | canThink | canSerial},
	} {
		m := identify(id)
		assert.Equal(t, want.can, m.can&want.can, id)
		assert.Zero(t, m.can&want.cannot, id)
	}
}

func TestPathSurvivesAURL(t *testing.T) {
	for _, id := range []string{"anthropic.claude-v2:1", "arn:aws:bedrock:us-east-1:1:inference-profile/us.x-y_z~", "a b%+é?#"} {
		escaped := path(id, ConverseStream)
		u, err := url.ParseRequestURI(escaped)
		require.NoError(t, err, id)
		assert.Equal(t, "/model/"+id+"/converse-stream", u.Path)
		assert.NotContains(t, escaped, ":")
	}
}
