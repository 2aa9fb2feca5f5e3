//go:build !unix

package main

import "os"

// resized has nothing: the size is looked at with each drawing.
func resized() (sizes <-chan os.Signal, stop func()) { return nil, func() {} }
