package explaintest

import (
	"testing"

	"vswitch/internal/config"
	"vswitch/internal/explain"
	vswitch "vswitch/switch"
)

// Parse returns the configuration of a file's text, which is taken for vpc.toml.
func Parse(t testing.TB, text string) vswitch.Config {
	t.Helper()
	c, err := config.Parse("vpc.toml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

// Explainer returns an Explainer of a configuration, which is closed at the end of
// the test.
func Explainer(t testing.TB, c vswitch.Config) *explain.Explainer {
	t.Helper()
	x, err := explain.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}
