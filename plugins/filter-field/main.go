// Filter-field keeps the JSON records whose field passes a test, and drops the others.
//
// Configuration: the field and at least one test, all of which must pass.
//
//	{"field": "section", "equals": "games"}             this value
//	{"field": "section", "in": ["games", "net"]}        one of these values
//	{"field": "name", "matches": "^lib.*-dev$"}         a regular expression (RE2)
//	{"field": "size", "min": 1000, "max": 5e6}          a number in this range, ends included
//	{"field": "homepage", "exists": true}               the field is there, or is not
//
// "invert": true keeps what would be dropped, and drops what would be kept. A record
// without the field passes no test but {"exists": false}. A value that is not JSON is
// treated as one without the field, unless "on_invalid" is "reject" (default "drop").
//
// Strings are compared by their text, numbers, true, false and null as they are written: 1
// equals 1, not 1.0; a range tells numbers apart by their value. The field may lie deeper:
// "address.city".
package main

import (
	wasmill "github.com/wasmill/wasmill/sdk/go"
)

const codeNotJSON = 1

func (x *filter) record(r *wasmill.Record, out *wasmill.Output) {
	raw, err := x.field.Find(r.Value())
	if err != nil && x.reject {
		out.Reject(codeNotJSON, "the value is "+err.Error())
		return
	}
	if x.passes(raw) != x.invert {
		out.Keep()
	}
}

func newFilter() wasmill.Transform {
	x := &filter{}
	return wasmill.Transform{Fields: wasmill.FieldValue, Init: x.init, Record: x.record}
}

func init() { wasmill.Register(newFilter()) }

func main() {}
