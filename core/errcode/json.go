package errcode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// docs is where the table is published; an error's problem type is its anchor there.
const docs = "https://github.com/wasmill/wasmill/blob/main/docs/errors.md#"

// ProblemContentType is the media type of Problem's result (RFC 9457).
const ProblemContentType = "application/problem+json"

// member is one member of a JSON object whose order matters.
type member struct {
	key   string
	value any
}

// MarshalJSON writes {"code","name","detail","retriable"} and then the fields, sorted by key. A field
// that is named like one of the fixed members is left out.
func (e *Error) MarshalJSON() ([]byte, error) {
	info := e.Code.Info()
	return e.encode([]member{
		{"code", info.Code},
		{"name", info.Name},
		{"detail", e.Detail},
		{"retriable", info.Retriable},
	}), nil
}

// Problem is the error as problem details: {"type","title","status","detail","code","name",
// "retriable"} and then the fields, sorted by key. The caller owns the bytes.
func (e *Error) Problem() []byte {
	info := e.Code.Info()
	return e.encode([]member{
		{"type", docs + strings.ToLower(info.Name)},
		{"title", info.Summary},
		{"status", info.HTTPStatus},
		{"detail", e.Detail},
		{"code", info.Code},
		{"name", info.Name},
		{"retriable", info.Retriable},
	})
}

// encode writes the fixed members in their order, then the fields.
func (e *Error) encode(fixed []member) []byte {
	members := fixed
	for _, key := range slices.Sorted(maps.Keys(e.Fields)) {
		if !slices.ContainsFunc(fixed, func(m member) bool { return m.key == key }) {
			members = append(members, member{key, e.Fields[key]})
		}
	}
	b := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, encodeValue(m.key)...)
		b = append(b, ':')
		b = append(b, encodeValue(m.value)...)
	}
	return append(b, '}')
}

// encodeValue is v as JSON. An error must always reach its client, so a value that JSON cannot say
// (NaN, a channel) is written as text.
func encodeValue(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		buf.Reset()
		if err := enc.Encode(fmt.Sprint(v)); err != nil {
			return []byte("null")
		}
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})
}

// UnmarshalJSON reads what MarshalJSON or Problem wrote; name, title and the like follow from the
// code. Everything else becomes a field.
func (e *Error) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return fmt.Errorf("decode error object: %w", err)
	}
	code, ok := raw["code"]
	if !ok {
		return fmt.Errorf("decode error object: it has no code")
	}
	var out Error
	if err := json.Unmarshal(code, &out.Code); err != nil {
		return fmt.Errorf("decode error object: code: %w", err)
	}
	if detail, ok := raw["detail"]; ok {
		if err := json.Unmarshal(detail, &out.Detail); err != nil {
			return fmt.Errorf("decode error object: detail: %w", err)
		}
	}
	for _, key := range []string{"type", "title", "status", "detail", "code", "name", "retriable"} {
		delete(raw, key)
	}
	for key, value := range raw {
		var v any
		if err := json.Unmarshal(value, &v); err != nil {
			return fmt.Errorf("decode error object: %s: %w", key, err)
		}
		if out.Fields == nil {
			out.Fields = make(map[string]any, len(raw))
		}
		out.Fields[key] = v
	}
	*e = out
	return nil
}
