package recordtest

import (
	"testing"

	"github.com/wasmill/wasmill/core/record"
)

// Stored is a record at its offset.
type Stored struct {
	Offset int64
	record.Record
}

// Read checks batches that lie back to back and returns their records. They own their memory.
func Read(t testing.TB, batches []byte) []Stored {
	t.Helper()
	var all []Stored
	for b, err := range record.All(batches) {
		if err == nil {
			err = b.Validate(record.DefaultLimits())
		}
		if err != nil {
			t.Fatalf("after %d records: %v", len(all), err)
		}
		var d record.Decoder // one for each batch: what it hands out is its memory
		records, err := d.Decode(b, nil)
		if err != nil {
			t.Fatalf("after %d records: %v", len(all), err)
		}
		for _, r := range records {
			all = append(all, Stored{b.BaseOffset() + int64(r.OffsetDelta), r})
		}
	}
	return all
}

// ValuesOf is the values of the records in batches, "" for null too.
func ValuesOf(t testing.TB, batches []byte) []string {
	t.Helper()
	return ValuesFrom(t, batches, 0)
}

// ValuesFrom is ValuesOf without the records below an offset, as batches may begin before the offset that
// was asked for.
func ValuesFrom(t testing.TB, batches []byte, offset int64) []string {
	t.Helper()
	var values []string
	for _, r := range Read(t, batches) {
		if r.Offset >= offset {
			values = append(values, string(r.Value))
		}
	}
	return values
}
