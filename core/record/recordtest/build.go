// Package recordtest makes and reads record batches for tests: sound ones, broken ones, and what a test
// wants to compare of them.
package recordtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/record"
)

// Time is the timestamp of records that say none, in ms since 1970: 2023-11-14T22:13:20Z.
const Time = 1_700_000_000_000

// Values makes a record of each value, without a key, at Time.
func Values(values ...string) []record.Record {
	records := make([]record.Record, len(values))
	for i, v := range values {
		records[i] = record.Record{OffsetDelta: int32(i), Timestamp: Time, Value: []byte(v)}
	}
	return records
}

// Pairs is Values, but what is written "key=value" has a key.
func Pairs(values ...string) []record.Record {
	records := Values(values...)
	for i, v := range values {
		if key, value, ok := strings.Cut(v, "="); ok {
			records[i].Key, records[i].Value = []byte(key), []byte(value)
		}
	}
	return records
}

// Numbered makes n records with keys k0, k1 ... and values v0, v1 ..., at Time.
func Numbered(n int) []record.Record {
	records := make([]record.Record, n)
	for i := range records {
		records[i] = record.Record{OffsetDelta: int32(i), Timestamp: Time, Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i)}
	}
	return records
}

// At gives all records one timestamp, in ms since 1970, and returns them.
func At(timestamp int64, records []record.Record) []record.Record {
	for i := range records {
		records[i].Timestamp = timestamp
	}
	return records
}

// Build makes one batch.
func Build(t testing.TB, o record.BuilderOptions, records ...record.Record) record.Batch {
	t.Helper()
	var b record.Builder
	b.Reset(o)
	for _, r := range records {
		b.Append(r)
	}
	data, err := b.Build(nil)
	if err != nil {
		t.Fatalf("build a batch of %d records: %v", len(records), err)
	}
	return data
}

// Batch makes one uncompressed batch of Values.
func Batch(t testing.TB, values ...string) record.Batch {
	t.Helper()
	return Build(t, record.BuilderOptions{}, Values(values...)...)
}

// Sequence is the options of a batch of an idempotent producer.
func Sequence(id int64, epoch int16, baseSequence int32) record.BuilderOptions {
	return record.BuilderOptions{Producer: &record.Producer{ID: id, Epoch: epoch, BaseSequence: baseSequence}}
}
