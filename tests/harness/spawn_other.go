//go:build !linux

package harness

import "syscall"

func spawnAttributes() *syscall.SysProcAttr { return nil }
