package envoy

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEnvoyHasWhatItNeedsOfOurEnvironmentAndNoMore(t *testing.T) {
	got := environment([]string{
		"PATH=/bin", "HOME=/home/x", "OPENAI_API_KEY=secret", "AWS_ACCESS_KEY_ID=AKIA", "AWS_SECRET_ACCESS_KEY=a=b",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x", "AWSOME=1", "XAWS_A=1", "TZ=UTC", "GORACE=x", "odd",
	})
	assert.Equal(t, []string{
		"PATH=/bin", "HOME=/home/x", "AWS_ACCESS_KEY_ID=AKIA", "AWS_SECRET_ACCESS_KEY=a=b",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x", "TZ=UTC",
	}, got)
	assert.NotNil(t, environment(nil), "nil would be all of ours")
}
