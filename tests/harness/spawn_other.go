//go:build unix && !linux

package harness

import "syscall"

func spawnAttributes() *syscall.SysProcAttr { return nil }
