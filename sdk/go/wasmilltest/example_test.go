package wasmilltest_test

import (
	"fmt"
	"testing"

	wasmill "github.com/wasmill/wasmill/sdk/go"
	"github.com/wasmill/wasmill/sdk/go/wasmilltest"
)

// t is the *testing.T that a test function gets; examples have none.
var t exampleT

type exampleT struct{ testing.TB }

func (exampleT) Helper() {}

// Options say what the broker tells a transform about a batch. What the transform logs can be looked at.
func ExampleNew() {
	audit := wasmill.Transform{
		Batch: func(b *wasmill.Batch) error {
			wasmill.Log(wasmill.LevelInfo, fmt.Sprintf("%d records of %s/%d, place %d, at %d",
				b.Len(), b.Topic(), b.Partition(), b.Place(), wasmill.Now()))
			for r, out := range b.All() {
				wasmill.Log(wasmill.LevelDebug, fmt.Sprintf("offset %d", r.Offset()))
				out.Keep()
			}
			return nil
		},
	}

	run, err := wasmilltest.Start(t, audit,
		wasmilltest.Topic("orders"), wasmilltest.Partition(3),
		wasmilltest.Place(wasmill.PlaceView), wasmilltest.Now(1_700_000_000_000))
	if err != nil {
		panic(err)
	}
	got, err := run.Try(wasmilltest.Record{Value: []byte("a"), Offset: 40}, wasmilltest.Record{Value: []byte("b"), Offset: 41})
	if err != nil {
		panic(err)
	}
	fmt.Print(got)
	for _, line := range run.Logs() {
		fmt.Println(line)
	}
	// Output:
	// 0 keep to orders key="" value="a"
	// 1 keep to orders key="" value="b"
	// 2 records of orders/3, place 1, at 1700000000000
	// offset 40
	// offset 41
}
