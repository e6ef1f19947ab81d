package client

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
)

func TestConditions(t *testing.T) {
	var match, none string
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		match, none = r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = w.Write([]byte(`{"version":4}`))
	}))
	for name, run := range map[string]func(context.Context, ...Condition) error{
		"set pipeline": func(ctx context.Context, cs ...Condition) error {
			_, err := c.SetPipeline(ctx, "t", nil, cs...)
			return err
		},
		"delete pipeline": func(ctx context.Context, cs ...Condition) error { return c.DeletePipeline(ctx, "t", cs...) },
		"put view": func(ctx context.Context, cs ...Condition) error {
			_, err := c.PutView(ctx, "v", "t", nil, cs...)
			return err
		},
		"delete view": func(ctx context.Context, cs ...Condition) error { return c.DeleteView(ctx, "v", cs...) },
		"put derivation": func(ctx context.Context, cs ...Condition) error {
			_, err := c.PutDerivation(ctx, "d", DerivationSpec{}, cs...)
			return err
		},
		"delete derivation": func(ctx context.Context, cs ...Condition) error { return c.DeleteDerivation(ctx, "d", cs...) },
	} {
		for _, want := range []struct {
			conditions  []Condition
			match, none string
		}{
			{nil, "", ""},
			{[]Condition{IfVersion(3)}, `"3"`, ""},
			{[]Condition{IfAbsent()}, "", "*"},
		} {
			if err := run(t.Context(), want.conditions...); err != nil || match != want.match || none != want.none {
				t.Errorf("%s: If-Match %q, If-None-Match %q, want %q and %q; %v", name, match, none, want.match, want.none, err)
			}
		}
	}
}

// TestConditionalCallsAreNotRepeated: the second attempt of a change that took effect would find the
// version that the first one made, and be refused.
func TestConditionalCallsAreNotRepeated(t *testing.T) {
	var calls atomic.Int32
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		problem(w, errcode.New(errcode.RequestTimedOut, "it may have taken effect"))
	}))
	c.o.Backoff, c.o.MaxBackoff = 1, 1
	if _, err := c.SetPipeline(t.Context(), "t", nil, IfVersion(3)); !IsCode(err, errcode.RequestTimedOut) || calls.Load() != 1 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
	calls.Store(0)
	if _, err := c.SetPipeline(t.Context(), "t", nil); !IsCode(err, errcode.RequestTimedOut) || calls.Load() < 2 {
		t.Errorf("%d calls without a condition, %v", calls.Load(), err)
	}
}
