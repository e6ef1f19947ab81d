package harness

import "syscall"

// spawnAttributes let the kernel kill the child when the test process dies, so that a test run that
// is itself killed leaves no broker behind.
func spawnAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
