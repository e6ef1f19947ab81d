package main

import (
	"testing"

	wasmill "github.com/wasmill/wasmill/sdk/go"
	"github.com/wasmill/wasmill/sdk/go/wasmilltest"
)

func TestRedact(t *testing.T) {
	run := wasmilltest.New(t, newRedactor(), wasmilltest.Config(`{"field":"card.number","with":"****"}`))
	got := run.Run(
		wasmilltest.Record{
			Value:   []byte(`{"card":{"number":"4111 1111","brand":"v"},"sum":1}`),
			Headers: []wasmill.Header{{Key: "trace", Value: []byte("7")}, {Key: "redacted"}},
		},
		wasmilltest.Record{Value: []byte(`{"sum":2}`)},
		wasmilltest.Record{Value: []byte(`{"sum":`)},
	)
	own := got.Own()
	if len(own) != 2 {
		t.Fatalf("kept %d records:\n%s", len(own), got)
	}
	if string(own[0].Value) != `{"card":{"number":"****","brand":"v"},"sum":1}` {
		t.Errorf("value %s", own[0].Value)
	}
	if h := own[0].Headers; len(h) != 2 || h[0].Key != "trace" || h[1].Key != "redacted" || string(h[1].Value) != "yes" {
		t.Errorf("headers %v", h)
	}
	if got.Verdict(1) != wasmilltest.Kept {
		t.Errorf("a record without the field is %s", got.Verdict(1))
	}
	code, message, ok := got.Rejection(2)
	if !ok || code != codeNotJSON || message != "the value is not valid JSON at byte 7" {
		t.Errorf("rejected with %d %q, %v", code, message, ok)
	}
}
