package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasmill/wasmill/core/errcode"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// The exit codes.
const (
	ExitOK          = 0
	ExitFailure     = 1 // anything else that went wrong
	ExitUsage       = 2 // the command line, or a file it names, makes no sense
	ExitNotFound    = 3 // there is no such topic, module, view ...
	ExitRefused     = 4 // the broker refused the request
	ExitUnavailable = 5 // the broker cannot be reached, is busy or too slow: try again
	ExitRejected    = 6 // transforms rejected records
)

// ErrRejected is returned by produce when records were rejected and --allow-rejects is not given.
var ErrRejected = errors.New("records were rejected")

// usageError is a fault of the command line itself.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(cmd *cobra.Command, format string, args ...any) *usageError {
	return &usageError{err: fmt.Errorf(format, args...), hint: fmt.Sprintf("Run '%s --help' for its use.", cmd.CommandPath())}
}

// hinted adds what to do next to an error.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// ExitCode is the process's exit code for the error that ended a command.
func ExitCode(err error) int {
	var use *usageError
	var refusal *client.Error
	var conn *client.ConnError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &use):
		return ExitUsage
	case errors.Is(err, os.ErrNotExist):
		return ExitNotFound
	case errors.Is(err, ErrRejected):
		return ExitRejected
	case errors.As(err, &refusal):
		return refusalCode(refusal)
	case errors.As(err, &conn), errors.Is(err, context.DeadlineExceeded):
		return ExitUnavailable
	}
	return ExitFailure
}

func refusalCode(e *client.Error) int {
	status := e.Status
	if status == 0 {
		status = e.Code.Info().HTTPStatus
	}
	switch {
	case e.Code == errcode.InvalidRecord:
		return ExitRejected
	case status == http.StatusNotFound:
		return ExitNotFound
	case e.Retriable, status == http.StatusServiceUnavailable, status == http.StatusBadGateway:
		return ExitUnavailable
	case status >= 400 && status < 500:
		return ExitRefused
	}
	return ExitFailure
}

// printError prints the error and what to do about it; with --json as one JSON document.
func (a *app) printError(err error) {
	code := ExitCode(err)
	if a.json {
		b, jsonErr := json.Marshal(map[string]any{"error": errorDocument(err, code)})
		if jsonErr == nil {
			fmt.Fprintf(a.Err, "%s\n", b)
			return
		}
	}
	fmt.Fprintf(a.Err, "wasmill: %s\n", strings.TrimSpace(err.Error()))
	if h := hint(err); h != "" {
		fmt.Fprintln(a.Err, h)
	}
}

// errorDocument is the stable shape of an error for scripts.
func errorDocument(err error, exit int) map[string]any {
	doc := map[string]any{"message": err.Error(), "exit_code": exit}
	if h := hint(err); h != "" {
		doc["hint"] = h
	}
	var refusal *client.Error
	if errors.As(err, &refusal) {
		doc["problem"] = refusal
	}
	return doc
}

// hint says what to do next, where the error does not say so itself.
func hint(err error) string {
	var h hinted
	var use *usageError
	var conn *client.ConnError
	var refusal *client.Error
	switch {
	case errors.As(err, &h):
		return h.hint
	case errors.As(err, &use):
		return use.hint
	case errors.As(err, &conn) && errors.Is(err, context.DeadlineExceeded):
		return "The broker did not answer in time. Ask it with 'curl " + conn.Server + "/readyz', or give it more time with --timeout."
	case errors.As(err, &conn) && !conn.Sent:
		return "Is the broker running? Start one with 'wasmill serve', or name another with --server or WASMILL_SERVER."
	case errors.As(err, &conn):
		return "The connection broke before the answer came: whether the request took effect is not known. Look before you repeat it."
	case errors.As(err, &refusal):
		return nextCommands[refusal.Code]
	case errors.Is(err, client.ErrBadAnswer):
		return "Is this a Wasmill broker, of a version that fits this command? See 'wasmill version' and --server."
	}
	return ""
}

// UsageError is a fault of the command line, or of a file that it names.
func UsageError(err error, hint string) error { return &usageError{err: err, hint: hint} }

// Hinted adds what to do next to an error.
func Hinted(err error, hint string) error { return hinted{error: err, hint: hint} }
