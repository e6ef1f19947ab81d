package wasmill_test

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"testing"

	wasmill "github.com/wasmill/wasmill/sdk/go"
	"github.com/wasmill/wasmill/sdk/go/jsonscan"
	"github.com/wasmill/wasmill/sdk/go/wasmilltest"
)

// t is the *testing.T that a test function gets; examples have none.
var t exampleT

type exampleT struct{ testing.TB }

func (exampleT) Helper() {}

func (exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// A module registers its transform in init; main stays empty. This one keeps records with a value, and
// rejects the others, so that the producer gets the reason.
func ExampleRegister() {
	// func init() {
	wasmill.Register(wasmill.Transform{
		Fields: wasmill.FieldValue,
		Record: func(r *wasmill.Record, out *wasmill.Output) {
			if len(r.Value()) == 0 {
				out.Reject(1, "the value is empty")
				return
			}
			out.Keep()
		},
	})
	// }

	// In a test:
	run := wasmilltest.New(t, wasmill.Registered())
	got := run.Values("a", "", "b")
	fmt.Print(got)
	fmt.Println(got.Verdicts())
	// Output:
	// 0 keep to test key="" value="a"
	// 1 reject 1 "the value is empty"
	// 2 keep to test key="" value="b"
	// [kept rejected kept]
}

// The configuration of a stage is JSON. Init reads it once for an instance; an error refuses it, and the
// pipeline with it.
func ExampleTransform_config() {
	newLimit := func() wasmill.Transform {
		most := 0
		return wasmill.Transform{
			Fields: wasmill.FieldValue,
			Init: func([]byte) error {
				text, ok := wasmill.Config("max_bytes")
				if !ok {
					return errors.New("max_bytes is missing")
				}
				var err error
				most, err = strconv.Atoi(text)
				return err
			},
			Record: func(r *wasmill.Record, out *wasmill.Output) {
				if len(r.Value()) <= most {
					out.Keep()
				}
			},
		}
	}

	run := wasmilltest.New(t, newLimit(), wasmilltest.Config(`{"max_bytes": 3}`))
	fmt.Println(run.Values("abc", "abcd").Verdicts())

	_, err := wasmilltest.Start(t, newLimit())
	fmt.Println(err != nil)
	// Output:
	// [kept dropped]
	// true
}

// Batch is for transforms that look at several records at once. This one keeps the last record of each key.
func ExampleTransform_batch() {
	last := wasmill.Transform{
		Fields: wasmill.FieldKey,
		Batch: func(b *wasmill.Batch) error {
			newest := map[string]int{}
			for i := range b.Len() {
				r := b.At(i)
				newest[string(r.Key())] = i
			}
			for r, out := range b.All() {
				if newest[string(r.Key())] == r.Index() {
					out.Keep()
				}
			}
			return nil
		},
	}

	run := wasmilltest.New(t, last)
	got := run.Run(
		wasmilltest.Record{Key: []byte("a"), Value: []byte("1")},
		wasmilltest.Record{Key: []byte("b"), Value: []byte("2")},
		wasmilltest.Record{Key: []byte("a"), Value: []byte("3")},
	)
	fmt.Print(got)
	// Output:
	// 1 keep to test key="b" value="2"
	// 2 keep to test key="a" value="3"
}

// A changed record keeps its place and offset in the topic.
func ExampleRecord_SetValue() {
	redact := wasmill.Transform{
		Fields: wasmill.FieldValue,
		Record: func(r *wasmill.Record, out *wasmill.Output) {
			if at := bytes.IndexByte(r.Value(), '@'); at > 0 {
				r.SetValue(append([]byte("***"), r.Value()[at:]...))
			}
			out.Keep()
		},
	}

	run := wasmilltest.New(t, redact)
	got := run.Values("ada@example.org", "nothing")
	for _, r := range got.Own() {
		fmt.Printf("%s\n", r.Value)
	}
	fmt.Println(got.Verdicts())
	// Output:
	// ***@example.org
	// nothing
	// [changed kept]
}

// Records may be routed to other topics, by a field of their value: nothing but the value is copied into the
// module.
func ExampleOutput_Route() {
	country := jsonscan.NewPath("address.country")
	route := wasmill.Transform{
		Fields: wasmill.FieldValue,
		Record: func(r *wasmill.Record, out *wasmill.Output) {
			raw, err := country.Find(r.Value())
			if err != nil || raw == nil {
				out.Keep()
				return
			}
			out.Route("orders-" + string(jsonscan.AppendText(nil, raw)))
		},
	}

	run := wasmilltest.New(t, route)
	got := run.Values(`{"address":{"country":"fr"}}`, `{"id":1}`)
	fmt.Println(got.Verdicts())
	for _, r := range got.To("orders-fr") {
		fmt.Printf("%s\n", r.Value)
	}
	// Output:
	// [routed kept]
	// {"address":{"country":"fr"}}
}

// Emit adds records. The first one replaces the record, unless that is kept.
func ExampleOutput_Emit() {
	split := wasmill.Transform{
		Fields: wasmill.FieldValue,
		Record: func(r *wasmill.Record, out *wasmill.Output) {
			for word := range bytes.FieldsSeq(r.Value()) {
				out.Emit(wasmill.Emission{Key: r.Key(), Value: word})
			}
			wasmill.AddMetric("lines", 1)
		},
	}

	run := wasmilltest.New(t, split)
	for _, r := range run.Values("to be", "or not").Own() {
		fmt.Printf("%s\n", r.Value)
	}
	fmt.Println(run.Metrics())
	// Output:
	// to
	// be
	// or
	// not
	// map[lines:2]
}
