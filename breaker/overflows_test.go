package breaker

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/xds"
)

// What overflows between a report and the look at Envoy's counter is in the next report, and no failure there either.
func TestOverflowsBetweenAReportAndTheLook(t *testing.T) {
	t.Parallel()
	counter := 1000
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"stats":[{"name":"cluster.svc.upstream_rq_active_overflow","value":%d}]}`, counter)
	}))
	defer server.Close()
	admin := envoy.NewAdmin(strings.TrimPrefix(server.URL, "http://"))
	defer admin.Close()
	var o overflows
	o.base(t.Context(), admin)
	for i, tt := range []struct {
		counter         int
		dropped, errors uint64
		want            uint64
	}{
		{1181, 183, 169, 0}, // 12 are left
		{1360, 190, 190, 0}, // one is left
		{1360, 166, 1, 0},
		{1360, 40, 3, 3}, // dropped while they waited for a connection
		{1365, 9, 6, 1},
		{1365, 0, 2, 2},
		{4, 4, 5, 1}, // the cluster was removed and is back
	} {
		counter = tt.counter
		loads := []xds.ServiceLoad{{Service: "svc", Dropped: tt.dropped, Hosts: []xds.HostLoad{{Errors: tt.errors}}}}
		o.subtract(t.Context(), admin, loads)
		if got := loads[0].Hosts[0].Errors; got != tt.want {
			t.Errorf("report %d: %d failures, want %d", i+1, got, tt.want)
		}
	}
}
