package envoy

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// CheckFree returns nil if addr, a host:port, can be listened on now. The error is
// one line that names the address and what wants it, such as "the gateway". Port 0
// is always free.
func CheckFree(addr, what string) error {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return l.Close()
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s: the address that %s wants is in use by another process", addr, what)
	}
	var opErr *net.OpError
	if errors.As(err, &opErr) {
		err = opErr.Err
	}
	return fmt.Errorf("%s: %s can not listen there: %w", addr, what, err)
}
