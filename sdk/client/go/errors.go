package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/errcode"
)

// IsCode reports whether err is, or wraps, an *Error with the code.
func IsCode(err error, code errcode.Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// ConnError is a failure to reach the server or to get a whole answer from it.
type ConnError struct {
	Server string
	Sent   bool // part of the request may have arrived: whether it took effect is unknown
	Err    error
}

func (e *ConnError) Error() string {
	if e.Sent {
		return fmt.Sprintf("no answer from %s: %v", e.Server, e.Err)
	}
	return fmt.Sprintf("cannot reach %s: %v", e.Server, e.Err)
}

func (e *ConnError) Unwrap() error { return e.Err }

// ErrBadAnswer is wrapped when an answer breaks the protocol: not the announced form, or a size or
// count that cannot be.
var ErrBadAnswer = errors.New("the server's answer cannot be used")

// errorFrom makes the error of an answer whose status is not a success.
func errorFrom(resp *fasthttp.Response) *Error {
	status := resp.StatusCode()
	e := &Error{}
	isProblem := strings.Contains(string(resp.Header.ContentType()), "json")
	if !isProblem || json.Unmarshal(resp.Body(), e) != nil {
		// Not from a broker: a proxy in between, or another program on that port.
		*e = Error{
			Code: errcode.Unknown, Name: "HTTP_" + strconv.Itoa(status),
			Detail:    fmt.Sprintf("HTTP status %d: %s", status, excerpt(resp.Body())),
			Retriable: status == 429 || status == 502 || status == 503 || status == 504,
		}
	}
	e.Status = status
	if s, err := strconv.Atoi(string(resp.Header.Peek("Retry-After"))); err == nil && s > 0 && s < 3600 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// excerpt is the first printable words of a foreign answer.
func excerpt(body []byte) string {
	const most = 160
	cut := body
	if len(cut) > most {
		cut = cut[:most]
	}
	s := strings.Join(strings.FieldsFunc(strings.ToValidUTF8(string(cut), "?"), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if s == "" {
		return "no text"
	}
	if len(body) > most {
		s += " ..."
	}
	return s
}
