package api

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

// Error is a refusal or failure as the broker's answer says it: a problem document, or the error of one
// partition inside of an answer. Unlike errcode.Error it keeps what the answer says even where this
// version's table of codes says otherwise or nothing.
type Error struct {
	Code       errcode.Code               // from the one error table; errcode.Unknown when the answer had none
	Name       string                     // UPPER_SNAKE name of the code
	Status     int                        // HTTP status; 0 when the error is part of a larger answer
	Detail     string                     // what happened, to what, and what to do next
	Retriable  bool                       // the same request may succeed later
	RetryAfter time.Duration              // from the Retry-After header; 0 without one. Not part of the JSON
	Fields     map[string]json.RawMessage // whatever else the answer said, for example both bounds of an offset
}

// Error is the name and the detail.
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

// MarshalJSON writes the members that UnmarshalJSON reads, sorted by name.
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
