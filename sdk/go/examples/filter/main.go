// Filter keeps the records whose key starts with a prefix. It asks for keys alone, so the
// broker copies no values into it, however large they are.
//
// Configuration: {"prefix": "eu-"}
package main

import (
	"bytes"
	"errors"

	wasmill "github.com/wasmill/wasmill/sdk/go"
)

func newFilter() wasmill.Transform {
	var prefix []byte
	return wasmill.Transform{
		Fields: wasmill.FieldKey,
		Init: func([]byte) error {
			text, ok := wasmill.Config("prefix")
			if !ok {
				return errors.New(`the configuration needs a "prefix"`)
			}
			prefix = []byte(text)
			return nil
		},
		Record: func(r *wasmill.Record, out *wasmill.Output) {
			if bytes.HasPrefix(r.Key(), prefix) {
				out.Keep()
			}
		},
	}
}

func init() { wasmill.Register(newFilter()) }

func main() {}
