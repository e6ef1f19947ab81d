// Redact-email replaces e-mail addresses in values.
//
// Configuration, all of it optional:
//
//	{"replacement": "[redacted]", "fields": ["maintainer", "contact.mail"]}
//
// With fields, only the strings in those fields of a JSON value are looked at, however deep
// they lie in them; without, every string, keys of objects included. A value that is not
// JSON is treated as plain text as a whole, also when there are fields: what cannot be
// understood must not leak. Keys and headers of records are left alone.
package main

import (
	"bytes"
	"errors"
	"slices"

	wasmill "github.com/wasmill/wasmill/sdk/go"
	"github.com/wasmill/wasmill/sdk/go/jsonscan"
)

const defaultReplacement = "[redacted]"

type redactor struct {
	replacement []byte // plain text
	paths       []*jsonscan.Path

	// Reused for every record.
	spans []jsonscan.Span
	plain []byte
	clean []byte
	value []byte
}

func (x *redactor) init(config []byte) error {
	x.replacement = []byte(defaultReplacement)
	return jsonscan.Members(config, func(key string, value []byte) error {
		switch key {
		case "replacement":
			if jsonscan.KindOf(value) != jsonscan.String {
				return errors.New(`"replacement" must be a string`)
			}
			x.replacement = jsonscan.AppendUnquoted(nil, value)
		case "fields":
			return x.initFields(value)
		default:
			return errors.New("unknown key " + key + `: "replacement" and "fields" are known`)
		}
		return nil
	})
}

func (x *redactor) initFields(array []byte) error {
	errFields := errors.New(`"fields" must be an array of strings`)
	if jsonscan.KindOf(array) != jsonscan.Array {
		return errFields
	}
	return jsonscan.Elements(array, func(value []byte) error {
		if jsonscan.KindOf(value) != jsonscan.String {
			return errFields
		}
		x.paths = append(x.paths, jsonscan.NewPath(string(jsonscan.AppendUnquoted(nil, value))))
		return nil
	})
}

func (x *redactor) record(r *wasmill.Record, out *wasmill.Output) {
	value := r.Value()
	if mayHoldAddress(value) {
		if clean, changed := x.redact(value); changed {
			r.SetValue(clean)
			wasmill.AddMetric("records_redacted", 1)
		}
	}
	out.Keep()
}

// mayHoldAddress is the quick look that settles most records: without an @, plain or
// escaped, there is no address.
func mayHoldAddress(value []byte) bool {
	return bytes.IndexByte(value, '@') >= 0 || bytes.Contains(value, []byte(`\u0040`))
}

// redact returns value without addresses, in a buffer that is valid until the next call.
func (x *redactor) redact(value []byte) (clean []byte, changed bool) {
	strings, err := x.strings(value)
	if err != nil {
		x.value, changed = appendRedacted(x.value[:0], value, x.replacement)
		return x.value, changed
	}
	x.value = x.value[:0]
	from := 0
	for _, at := range strings {
		if at.Start < from { // a field within a field that was named too
			continue
		}
		quoted := value[at.Start:at.End]
		if !mayHoldAddress(quoted) {
			continue
		}
		var found bool
		x.plain = jsonscan.AppendUnquoted(x.plain[:0], quoted)
		x.clean, found = appendRedacted(x.clean[:0], x.plain, x.replacement)
		if !found {
			continue
		}
		x.value = append(x.value, value[from:at.Start]...)
		x.value = jsonscan.AppendQuoted(x.value, x.clean)
		from, changed = at.End, true
	}
	x.value = append(x.value, value[from:]...)
	return x.value, changed
}

// strings finds the strings to look at, in the order in which they stand in value.
func (x *redactor) strings(value []byte) ([]jsonscan.Span, error) {
	x.spans = x.spans[:0]
	if len(x.paths) == 0 {
		err := jsonscan.Strings(value, func(at jsonscan.Span, _ bool) { x.spans = append(x.spans, at) })
		return x.spans, err
	}
	for _, path := range x.paths {
		fields, err := path.All(value)
		if err != nil {
			return nil, err
		}
		for _, field := range fields {
			err := jsonscan.Strings(value[field.Start:field.End], func(at jsonscan.Span, _ bool) {
				x.spans = append(x.spans, jsonscan.Span{Start: field.Start + at.Start, End: field.Start + at.End})
			})
			if err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(x.spans, func(a, b jsonscan.Span) int { return a.Start - b.Start })
	return x.spans, nil
}

func newRedactor() wasmill.Transform {
	x := &redactor{}
	return wasmill.Transform{Fields: wasmill.FieldValue, Init: x.init, Record: x.record}
}

func init() { wasmill.Register(newRedactor()) }

func main() {}
