package log

import (
	"errors"
	"fmt"
	"syscall"
)

var (
	// ErrDiskFull means that no space could be allocated: nothing was written, and the same call succeeds
	// once there is space again. It is wrapped together with the system's own error.
	ErrDiskFull = errors.New("disk full")
	// ErrOffsetOutOfRange means that an offset lies before the log start or after the log end.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrFailed means that a write or sync failed: which bytes are durable is unknown, and the log takes no
	// more entries until it is opened again.
	ErrFailed = errors.New("log failed")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("log closed")
	// ErrGap means that the indexes of new entries do not follow the log's last one.
	ErrGap = errors.New("log index does not follow")
	// ErrMalformedEntry means that an entry's data is too large, or is not record batches back to back.
	ErrMalformedEntry = errors.New("malformed log entry")
)

// CorruptionError means that bytes which were durable are not what was written. The log must not be used
// as it is: restore the replica, or truncate the log deliberately.
type CorruptionError struct {
	// File is the path of the damaged file, Pos the byte at which the damage starts.
	File string
	Pos  int64
	// Reason is which check failed.
	Reason string
}

// Error names file, position and reason.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%s is corrupt at byte %d: %s", e.File, e.Pos, e.Reason)
}

// Damaged says to those who do not know this package that trying again does not help.
func (e *CorruptionError) Damaged() bool { return true }

func corrupt(file string, pos int64, format string, args ...any) error {
	return &CorruptionError{File: file, Pos: pos, Reason: fmt.Sprintf(format, args...)}
}

// diskFull adds ErrDiskFull to an error that means that the file system has no space.
func diskFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}
