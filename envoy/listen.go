package envoy

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Listen listens on addr, a host:port. The error is one line that names the address
// and what wants it, such as "the gateway".
func Listen(addr, what string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return l, nil
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: the address that %s wants is in use by another process", addr, what)
	}
	var opErr *net.OpError
	if errors.As(err, &opErr) {
		err = opErr.Err
	}
	return nil, fmt.Errorf("%s: %s can not listen there: %w", addr, what, err)
}

// CheckFree returns nil if addr can be listened on now, and Listen's error if not.
// It is for an address that another process will take: Envoy's. Port 0 is always free.
func CheckFree(addr, what string) error {
	l, err := Listen(addr, what)
	if err != nil {
		return err
	}
	return l.Close()
}
