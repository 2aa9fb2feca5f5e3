package translate_test

import (
	"net/http"
	"testing"
)

func TestBreakerOpensAndSaysSo(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	up.fail(http.StatusInternalServerError)
	g := startGateway(t, testGateway(), service("pay", up.host(t)))
	for i := range 5 {
		a := g.send("GET", "/pay")
		t.Log(i, a)
	}
	a := g.send("GET", "/pay", "x-request-id", "0b4a1b5c-3c1e-4c57-9c0e-1f1f1f1f1f1f")
	t.Log(a)
	t.Log(a.fields(t))
	t.Log(g.send("GET", "/none"))
	t.Log(up.take()[0].Header)
}
