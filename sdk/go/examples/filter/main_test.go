package main

import (
	"slices"
	"testing"

	"github.com/wasmill/wasmill/sdk/go/wasmilltest"
)

func TestFilter(t *testing.T) {
	run := wasmilltest.New(t, newFilter(), wasmilltest.Config(`{"prefix":"eu-"}`))
	got := run.Run(
		wasmilltest.Record{Key: []byte("eu-1"), Value: []byte("a")},
		wasmilltest.Record{Key: []byte("us-1"), Value: []byte("b")},
		wasmilltest.Record{Key: nil, Value: []byte("c")},
	)
	want := []wasmilltest.Verdict{wasmilltest.Kept, wasmilltest.Dropped, wasmilltest.Dropped}
	if !slices.Equal(got.Verdicts(), want) {
		t.Errorf("verdicts %v, want %v", got.Verdicts(), want)
	}
}

func TestFilterNeedsAPrefix(t *testing.T) {
	if _, err := wasmilltest.Start(t, newFilter()); err == nil {
		t.Error("a filter without a prefix must refuse its configuration")
	}
}
