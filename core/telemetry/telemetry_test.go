package telemetry

import (
	"testing"

	"github.com/wasmill/wasmill/core/record"
)

// batches makes n record batches of so many records each, back to back.
func batches(t testing.TB, n, records int) []byte {
	t.Helper()
	var out []byte
	for range n {
		var b record.Builder
		for range records {
			b.Append(record.Record{Timestamp: 1, Value: []byte("v")})
		}
		var err error
		if out, err = b.Build(out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
