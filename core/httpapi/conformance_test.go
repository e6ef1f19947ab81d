package httpapi

import (
	"context"
	"log/slog"
	"testing"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/httpapi/apitest"
)

// TestFakeConforms and TestBrokerConforms hold the broker that the other tests use and the real one to
// the same cases: what a test here takes for granted of the one is true of the other.
func TestFakeConforms(t *testing.T) {
	ts := serve(t, Options{})
	apitest.Conform(t, "http://"+ts.addr, ts.client)
}

func TestBrokerConforms(t *testing.T) {
	memory := admission.Default()
	b, err := broker.Open(t.Context(), broker.Options{
		DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Admission: memory,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the server's shutdown
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ts := serveBroker(t, Options{Admission: memory}, b)
	apitest.Conform(t, "http://"+ts.addr, ts.client)
}
