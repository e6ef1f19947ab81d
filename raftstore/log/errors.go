package log

import (
	"errors"
	"fmt"
	"syscall"
)

var (
	// ErrDiskFull says that no room could be reserved for an append; nothing was written, and the same
	// call succeeds once there is space again. It comes wrapped with the system's own error.
	ErrDiskFull = errors.New("disk full")
	// ErrOffsetOutOfRange says that an offset lies before the log start or after the log end.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrFailed says that an earlier write or sync failed: this log takes no more entries until it
	// is opened again, since nobody knows which of its bytes are durable.
	ErrFailed = errors.New("log failed")
	// ErrClosed says that the log was closed.
	ErrClosed = errors.New("log closed")
	// ErrGap says that entries were given whose indexes do not follow the log's last one.
	ErrGap = errors.New("log index does not follow")
	// ErrMalformedEntry says that an entry's data is not record batches back to back, or too large.
	ErrMalformedEntry = errors.New("malformed log entry")
)

// CorruptionError says that bytes which were durable are not what was written. The log must not be
// used as it is: restore the replica, or cut the log deliberately.
type CorruptionError struct {
	// File is the path of the damaged file, Pos the byte where the damage starts.
	File string
	Pos  int64
	// Reason says what does not check, and how that is known.
	Reason string
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%s is corrupt at byte %d: %s", e.File, e.Pos, e.Reason)
}

func corrupt(file string, pos int64, format string, args ...any) error {
	return &CorruptionError{File: file, Pos: pos, Reason: fmt.Sprintf(format, args...)}
}

// diskFull adds ErrDiskFull to the errors by which a file system says that there is no room.
func diskFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}
