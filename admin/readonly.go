package admin

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// asks are the calls that change nothing though their method would allow it.
var asks = map[string]bool{"POST " + planPath: true}

// readOnly refuses every request that could change something. It goes by the method and not by the route, so that no
// route can be forgotten.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !asks[r.Method+" "+r.URL.Path] {
			writeStatus(w, http.StatusForbidden, codes.PermissionDenied,
				"this address only shows: "+r.Method+" is not allowed on it; use the gRPC API, as the commands of breakwater do")
			return
		}
		next.ServeHTTP(w, r)
	})
}
