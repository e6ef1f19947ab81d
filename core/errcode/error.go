package errcode

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// Error is a failure that is answered to a client. It is immutable once it was returned, and then safe
// for concurrent use.
type Error struct {
	Code   Code
	Detail string         // what happened, to what, and what to do next
	Fields map[string]any // machine-readable facts, such as the bounds of an offset range
	Cause  error          // the error that led to it; never sent to a client. May be nil
}

// New makes an error. The format and its arguments are fmt.Errorf's; what %w wraps becomes Cause.
func New(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Code: code, Detail: err.Error(), Cause: errors.Unwrap(err)}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		e.Cause = errors.Join(several.Unwrap()...)
	}
	return e
}

// With returns a copy that carries one more field; the receiver stays as it is.
func (e *Error) With(key string, value any) *Error {
	c := *e
	c.Fields = make(map[string]any, len(e.Fields)+1)
	maps.Copy(c.Fields, e.Fields)
	c.Fields[key] = value
	return &c
}

// Error is the name and the detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Detail
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Retriable reports whether the same request may succeed later, unchanged.
func (e *Error) Retriable() bool { return e.Code.Info().Retriable }

// HTTPStatus is the status that the error is answered with.
func (e *Error) HTTPStatus() int { return e.Code.Info().HTTPStatus }

// From is the first *Error in err's chain. A chain without one becomes REQUEST_TIMED_OUT when a
// deadline passed, else UNKNOWN; err is then its cause. From(nil) is nil, and so is From of an error
// that holds a nil *Error.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Code: RequestTimedOut, Detail: err.Error(), Cause: err}
	}
	return &Error{Code: Unknown, Detail: err.Error(), Cause: err}
}

// Is reports whether the first *Error in err's chain has the code.
func Is(err error, code Code) bool {
	var e *Error
	return errors.As(err, &e) && e != nil && e.Code == code
}
