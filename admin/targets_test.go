package admin_test

import (
	"fmt"
	"testing"

	"github.com/breakwater/breakwater/admin"
)

func TestTargets(t *testing.T) {
	got := get(t, start(t, admin.Options{Model: newFakeModel()}).url+"/api/v1/prometheus/targets")
	want := `[{"targets":["127.0.0.1:9901"],"labels":{"proxy":"edge-1"}}]`
	if got.status != 200 || got.header.Get("Content-Type") != "application/json" || got.body != want {
		t.Errorf("%d %v\n%s\nwant\n%s", got.status, got.header, got.body, want)
	}
}

// Prometheus takes an empty list for the end of all targets, and a 503 for no news.
func TestTargetsBeforeTheyAreKnown(t *testing.T) {
	m := newFakeModel()
	m.err = fmt.Errorf("%w: a few seconds", admin.ErrUnsettled)
	got := get(t, start(t, admin.Options{Model: m}).url+"/api/v1/prometheus/targets")
	want := `{"code":14,"message":"too early to say: a few seconds"}`
	if got.status != 503 || got.body != want {
		t.Errorf("%d %s, want 503 %s", got.status, got.body, want)
	}
}
