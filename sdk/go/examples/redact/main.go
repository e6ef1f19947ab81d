// Redact replaces the value of one field of JSON records and notes that it did so in a
// header. Records that are not JSON are rejected: the producer learns which and why.
//
// Configuration: {"field": "card.number", "with": "****"}
package main

import (
	"errors"

	wasmill "github.com/wasmill/wasmill/sdk/go"
	"github.com/wasmill/wasmill/sdk/go/jsonscan"
)

const codeNotJSON = 1

type redactor struct {
	field *jsonscan.Path
	with  []byte // a JSON string
	value []byte // reused for every record
}

func (x *redactor) init([]byte) error {
	field, ok := wasmill.Config("field")
	if !ok {
		return errors.New(`the configuration needs a "field"`)
	}
	with, _ := wasmill.Config("with")
	x.field = jsonscan.NewPath(field)
	x.with = jsonscan.AppendQuoted(nil, []byte(with))
	return nil
}

func (x *redactor) record(r *wasmill.Record, out *wasmill.Output) {
	value := r.Value()
	places, err := x.field.All(value)
	if err != nil {
		out.Reject(codeNotJSON, "the value is "+err.Error())
		return
	}
	if len(places) > 0 {
		x.value = x.value[:0]
		from := 0
		for _, at := range places {
			x.value = append(append(x.value, value[from:at.Start]...), x.with...)
			from = at.End
		}
		r.SetValue(append(x.value, value[from:]...))
		r.SetHeader("redacted", []byte("yes"))
	}
	out.Keep()
}

func newRedactor() wasmill.Transform {
	x := &redactor{}
	return wasmill.Transform{
		Fields: wasmill.FieldValue | wasmill.FieldHeaders,
		Init:   x.init,
		Record: x.record,
	}
}

func init() { wasmill.Register(newRedactor()) }

func main() {}
