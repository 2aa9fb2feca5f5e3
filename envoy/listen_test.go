package envoy_test

import (
	"net"
	"testing"

	"github.com/breakwater/breakwater/envoy"
)

func TestCheckFree(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := taken.Addr().String()
	want := addr + ": the address that the gateway wants is in use by another process"
	if err := envoy.CheckFree(addr, "the gateway"); err == nil || err.Error() != want {
		t.Errorf("CheckFree of a taken port = %v, want %s", err, want)
	}
	taken.Close()
	if err := envoy.CheckFree(addr, "the gateway"); err != nil {
		t.Errorf("CheckFree of a free port = %v", err)
	}
	want = "127.0.0.1:port: the gateway can not listen there: lookup tcp/port: unknown port"
	if err := envoy.CheckFree("127.0.0.1:port", "the gateway"); err == nil || err.Error() != want {
		t.Errorf("CheckFree of no port = %v, want %s", err, want)
	}
}
