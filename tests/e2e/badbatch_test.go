package e2e

import (
	"bytes"
	"encoding/binary"
	"strings"
	"sync"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/tests/harness"
)

func TestBadBatches(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	c := b.Client(t)
	topic(t, c, "orders", 1)
	good := func() []byte { return batch(t, record.BuilderOptions{}, "k=a", "b", "c") }
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint32(b[at:], v); return b }
	}
	resealed := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { return recordtest.Seal(put32(at, v)(b)) }
	}
	cases := map[string]struct {
		breakIt func([]byte) []byte
		want    refusal
	}{
		"wrong CRC":            {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, refusal{code: errcode.CorruptMessage, says: []string{"batch 0", "checksum"}}},
		"old magic":            {func(b []byte) []byte { b[recordtest.AtMagic] = 1; return b }, refusal{code: errcode.UnsupportedForMessageFormat, says: []string{"batch 0", "1"}}},
		"newer magic":          {func(b []byte) []byte { b[recordtest.AtMagic] = 3; return b }, refusal{code: errcode.UnsupportedForMessageFormat, says: []string{"3"}}},
		"length past the body": {put32(recordtest.AtLength, 1<<20), refusal{code: errcode.CorruptMessage, says: []string{"byte 0"}}},
		"length too short":     {put32(recordtest.AtLength, 60), refusal{code: errcode.CorruptMessage}},
		"length below header":  {put32(recordtest.AtLength, 3), refusal{code: errcode.CorruptMessage}},
		"negative length":      {put32(recordtest.AtLength, 0xffffffff), refusal{code: errcode.CorruptMessage}},
		"largest length":       {put32(recordtest.AtLength, 0x7fffffff), refusal{code: errcode.CorruptMessage}},
		"count too high":       {resealed(recordtest.AtCount, 4), refusal{code: errcode.CorruptMessage}},
		"count too low":        {resealed(recordtest.AtCount, 2), refusal{code: errcode.CorruptMessage}},
		"huge count":           {resealed(recordtest.AtCount, 0x7fffffff), refusal{code: errcode.CorruptMessage}},
		"negative count":       {resealed(recordtest.AtCount, 0xfffffff0), refusal{code: errcode.CorruptMessage}},
		"no records":           {resealed(recordtest.AtCount, 0), refusal{code: errcode.CorruptMessage}},
		"last delta too high":  {resealed(recordtest.AtLastOffsetDelta, 9), refusal{code: errcode.CorruptMessage}},
		"negative last delta":  {resealed(recordtest.AtLastOffsetDelta, 0xffffffff), refusal{code: errcode.CorruptMessage}},
		"unknown codec":        {func(b []byte) []byte { b[recordtest.AtAttributes+1] = 6; return recordtest.Seal(b) }, refusal{code: errcode.UnsupportedCompressionType, says: []string{"6"}}},
		"not what codec says": {func(b []byte) []byte {
			b[recordtest.AtAttributes+1] = byte(record.CodecZstd)
			return recordtest.Seal(b)
		}, refusal{code: errcode.CorruptMessage}},
		"control batch": {func(b []byte) []byte { b[recordtest.AtAttributes+1] = 0x20; return recordtest.Seal(b) }, refusal{code: errcode.CorruptMessage}},
		"record longer": {func(b []byte) []byte { b[record.HeaderSize] = 0x7e; return recordtest.Seal(b) }, refusal{code: errcode.CorruptMessage}},
		"endless varint": {func(b []byte) []byte {
			return recordtest.Seal(append(b[:record.HeaderSize], bytes.Repeat([]byte{0xff}, 20)...))
		}, refusal{code: errcode.CorruptMessage}},
		"cut in the header":   {func(b []byte) []byte { return b[:40] }, refusal{code: errcode.CorruptMessage}},
		"trailing bytes":      {func(b []byte) []byte { return append(b, "rest"...) }, refusal{code: errcode.CorruptMessage, says: []string{"batch 1"}}},
		"second batch broken": {func(b []byte) []byte { n := len(b); b = append(b, b...); b[n+recordtest.AtMagic] = 0; return b }, refusal{code: errcode.UnsupportedForMessageFormat, says: []string{"batch 1"}}},
		"empty body":          {func([]byte) []byte { return nil }, refusal{code: errcode.InvalidRequest, says: []string{"empty", "record batches"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, query := range []string{"?partition=0", ""} {
				tc.want.expect(t, call(t, b, "POST", "/v1/topics/orders/records"+query, tc.breakIt(good()), "Content-Type", typeBatches))
			}
			if got := rows(t, c, "orders", 0); len(got) != 0 {
				t.Fatalf("a part of it was written: %+v", got)
			}
			w.check(t, b)
		})
	}
	w.survive(t, b)
}

func TestOversizedRecordsAndBatches(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	c := b.Client(t)
	topic(t, c, "orders", 1)
	big := strings.Repeat("x", 2<<20)
	for name, tc := range map[string]struct {
		contentType string
		body        []byte
	}{
		"one record in a batch": {typeBatches, batch(t, record.BuilderOptions{}, big)},
		"batch of small ones":   {typeBatches, batch(t, record.BuilderOptions{}, strings.Split(strings.Repeat(strings.Repeat("y", 1000)+" ", 1500), " ")...)},
		"JSON":                  {typeJSON, []byte(`{"records":[{"value":"small"},{"value":"` + big + `"}]}`)},
		"NDJSON":                {typeNDJSON, []byte(`{"value":"small"}` + "\n" + `{"value":"` + big + `"}` + "\n")},
		"plain value":           {"text/plain", []byte(big)},
	} {
		t.Run(name, func(t *testing.T) {
			refusal{code: errcode.MessageTooLarge, says: []string{"limit"}}.
				expect(t, call(t, b, "POST", "/v1/topics/orders/records", tc.body, "Content-Type", tc.contentType))
			if got := rows(t, c, "orders", 0); len(got) != 0 {
				t.Errorf("a part of it was written: %d records", len(got))
			}
			w.check(t, b)
		})
	}
	w.survive(t, b)
}

// Many bombs at once are refused without the memory that they ask for.
func TestDecompressionBomb(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	topic(t, b.Client(t), "orders", 1)
	const unpacked, atOnce = 200 << 20, 6
	for _, codec := range []record.Codec{record.CodecGzip, record.CodecLZ4, record.CodecZstd} {
		t.Run(codec.String(), func(t *testing.T) {
			body := recordtest.Bomb(t, codec, unpacked)
			if len(body) > 1<<20 {
				t.Fatalf("the bomb itself has %d bytes", len(body))
			}
			want := refusal{code: errcode.DecompressionTooLarge, says: []string{"batch 0"}}
			var senders sync.WaitGroup
			for range atOnce {
				senders.Go(func() {
					want.expect(t, call(t, b, "POST", "/v1/topics/orders/records?partition=0", body, "Content-Type", typeBatches))
				})
			}
			senders.Wait()
			w.check(t, b)
		})
	}
	_, peak := b.Memory(t)
	t.Logf("peak memory %d MiB", peak>>20)
	limit := int64(300 << 20)
	if harness.Raced {
		limit *= 4
	}
	if peak > limit {
		t.Errorf("the broker took up to %d MiB for %d bombs at once", peak>>20, atOnce)
	}
	w.survive(t, b)
}
