//go:build !unix

package child

import "syscall"

func sysProcAttr() *syscall.SysProcAttr { return nil }
