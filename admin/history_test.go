package admin_test

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/breakwater/breakwater/admin"
)

// What a screen asks for of the history is passed on as it is.
func TestHistoryFilter(t *testing.T) {
	model := newFakeModel()
	at := start(t, admin.Options{Model: model}).url
	query := url.Values{"services": {"b", "a/1"}, "from": {"2026-03-04T05:06:07.5Z"}}
	if got := get(t, at+"/api/v1/history?"+query.Encode()); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if f := model.filter; !slices.Equal(f.Services, query["services"]) || !f.From.Equal(day.Add(500*time.Millisecond)) {
		t.Errorf("the model was asked for %+v", f)
	}
}
