package page

import (
	"testing"

	"github.com/breakwater/breakwater/test/shop"
)

// TestPage is what operators do with the page of a running shop.
func TestPage(t *testing.T) {
	t.Parallel()
	chromium(t)
	shop.PythonEnv(t)
	s := shop.Start(t)
	url := "http://" + s.HTTP
	t.Run("live", func(t *testing.T) { story(t, "live.py", url, s.Env, nil) })
}
