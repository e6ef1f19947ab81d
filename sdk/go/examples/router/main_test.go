package main

import (
	"slices"
	"testing"

	wasmill "github.com/wasmill/wasmill/sdk/go"
	"github.com/wasmill/wasmill/sdk/go/wasmilltest"
)

func TestRouter(t *testing.T) {
	region := func(name string) wasmilltest.Record {
		return wasmilltest.Record{
			Value:   []byte(name),
			Headers: []wasmill.Header{{Key: "region", Value: []byte(name)}},
		}
	}
	run := wasmilltest.New(t, newRouter(), wasmilltest.Config(`{"prefix":"orders-","copy":"eu"}`))
	got := run.Run(region("us"), region("eu"), wasmilltest.Record{Value: []byte("none")})

	want := []wasmilltest.Verdict{wasmilltest.Routed, wasmilltest.Kept, wasmilltest.Kept}
	if !slices.Equal(got.Verdicts(), want) {
		t.Errorf("verdicts %v, want %v", got.Verdicts(), want)
	}
	for topic, n := range map[string]int{"orders-us": 1, "orders-eu": 1, "test": 2} {
		if len(got.To(topic)) != n {
			t.Errorf("%d records for %s, want %d:\n%s", len(got.To(topic)), topic, n, got)
		}
	}
	if run.Metrics()["routed"] != 2 {
		t.Errorf("metrics %v", run.Metrics())
	}
}
