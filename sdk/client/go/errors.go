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

// Error is a refusal or failure that the broker reported.
type Error struct {
	Code       errcode.Code               // from the one error table; errcode.Unknown when the answer had none
	Name       string                     // UPPER_SNAKE name of the code
	Status     int                        // HTTP status; 0 when the error is part of a larger answer
	Detail     string                     // what happened, to what, and what to do next
	Retriable  bool                       // the same request may succeed later
	RetryAfter time.Duration              // what the broker asked for; 0 when it did not
	Fields     map[string]json.RawMessage // whatever else the answer said, for example both bounds of an offset
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("%s (%d)", e.Name, e.Code)
	}
	return fmt.Sprintf("%s: %s", e.Name, e.Detail)
}

// Field decodes one of Fields into v; false when it is missing or of another shape.
func (e *Error) Field(name string, v any) bool {
	raw, ok := e.Fields[name]
	return ok && json.Unmarshal(raw, v) == nil
}

// IsCode tells whether err is, or wraps, an *Error with the code.
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

// UnmarshalJSON reads the members of a problem document; one without a code is not Wasmill's.
func (e *Error) UnmarshalJSON(b []byte) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	*e = Error{Fields: m}
	if err := json.Unmarshal(m["code"], &e.Code); err != nil {
		return fmt.Errorf("problem document without a number as its code: %w", err)
	}
	for name, dst := range map[string]any{
		"name": &e.Name, "status": &e.Status, "detail": &e.Detail, "retriable": &e.Retriable,
	} {
		if raw, ok := m[name]; ok && json.Unmarshal(raw, dst) != nil {
			return fmt.Errorf("member %q of a problem document has the wrong type", name)
		}
	}
	if e.Name == "" {
		e.Name = e.Code.Info().Name
	}
	for _, known := range []string{"code", "name", "status", "detail", "retriable", "type", "title", "instance"} {
		delete(m, known)
	}
	return nil
}

// MarshalJSON writes the members that UnmarshalJSON reads.
func (e *Error) MarshalJSON() ([]byte, error) {
	m := make(map[string]any, len(e.Fields)+5)
	for k, v := range e.Fields {
		m[k] = v
	}
	m["code"], m["name"], m["detail"], m["retriable"] = int(e.Code), e.Name, e.Detail, e.Retriable
	if e.Status != 0 {
		m["status"] = e.Status
	}
	return json.Marshal(m)
}

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
