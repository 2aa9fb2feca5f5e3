package admin_test

import (
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
