package bedrock_test

import (
	"fmt"
	"testing"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
)

func TestZZ(t *testing.T) {
	h := build(t, only("haiku", claude))
	for _, size := range []int{100_000, 500_000, 900_000, 1_040_000, 1_100_000, 2 << 20, 3<<20, 4 << 20, 5 << 20} {
		h.bedrock.ForText(fmt.Sprint(size), fake.Behavior{Size: size})
		r, text := h.ask(t, said("haiku", fmt.Sprint(size), ""))
		t.Log(size, r.StatusCode, len(text))
	}
}
