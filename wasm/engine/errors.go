package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/sys"

	"github.com/wasmill/wasmill/wasm/abi"
)

// GuestError is a failure of the module: a trap, an exit, an answer that breaks the rules, or bit 63 of its
// result. Every other error of a call is caused neither by the module nor by a record.
type GuestError struct {
	Module string // label of the pool
	Op     string // what it was asked to do, for example "process"
	Cause  error
	Stderr string // the first line that the module wrote to standard error during the call; may be empty
}

func (e *GuestError) Error() string { return e.Module + ": " + e.Op + ": " + e.Reason() }

// Unwrap returns the cause, for example an *abi.Failure, abi.ErrBounds or a *sys.ExitError.
func (e *GuestError) Unwrap() error { return e.Cause }

// Reason is the cause in one line, without the stack of a trap but with Stderr.
func (e *GuestError) Reason() string {
	var failure *abi.Failure
	if errors.As(e.Cause, &failure) {
		return failure.Message
	}
	reason := firstLine(e.Cause)
	var exit *sys.ExitError
	if errors.As(e.Cause, &exit) {
		reason = fmt.Sprintf("the module exited with code %d", exit.ExitCode())
	}
	if e.Stderr != "" {
		reason += " (" + e.Stderr + ")"
	}
	return reason
}

// RefusedError means that the module did not accept its configuration.
type RefusedError struct {
	Code int32
	Log  string // the last line that the module logged during wasmill_init_v1; may be empty
}

func (e *RefusedError) Error() string {
	if e.Log == "" {
		return fmt.Sprintf("the module refused its configuration with code %d", e.Code)
	}
	return fmt.Sprintf("the module refused its configuration with code %d: %s", e.Code, e.Log)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimPrefix(strings.TrimSuffix(line, " (recovered by wazero)"), "wasm error: ")
}
