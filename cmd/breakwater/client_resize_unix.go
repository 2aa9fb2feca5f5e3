//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// resized has a value each time that the terminal has another size, until stop is called.
func resized() (sizes <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH)
	return c, func() { signal.Stop(c) }
}
