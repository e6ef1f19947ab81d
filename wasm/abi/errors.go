package abi

import "errors"

// What is wrong with an answer. Every error of Decode wraps exactly one of these or is a *Failure.
var (
	ErrBounds    = errors.New("out of bounds")
	ErrMalformed = errors.New("malformed")
	ErrOrder     = errors.New("out of order")
	ErrConflict  = errors.New("conflicting actions")
	ErrLimit     = errors.New("over the limit")
	ErrTopic     = errors.New("invalid topic name")
)

// ErrInputTooLarge means that the batch does not fit a module's address space. Decode never returns it.
var ErrInputTooLarge = errors.New("input too large")

// Failure means that the module set bit 63 of its result: it says itself that the call failed.
type Failure struct {
	Message string
}

func (f *Failure) Error() string { return "the module failed the batch: " + f.Message }
