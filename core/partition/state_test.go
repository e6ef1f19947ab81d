package partition

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

func batchOf(t testing.TB, base int64, p *record.Producer, values ...string) record.Batch {
	t.Helper()
	b := recordtest.Build(t, record.BuilderOptions{Producer: p}, recordtest.Values(values...)...)
	b.SetBaseOffset(base)
	return b
}

func exampleState(t testing.TB) *state {
	t.Helper()
	s := newState()
	at := time.UnixMilli(1_700_000_000_000)
	apply := func(data, ext []byte) {
		if err := s.apply(data, ext, at); err != nil {
			t.Fatal(err)
		}
	}
	apply(batchOf(t, 0, nil, "a", "b"), nil)
	apply(batchOf(t, 2, &record.Producer{ID: 9, Epoch: 1}, "c"), nil)
	apply(batchOf(t, 3, &record.Producer{ID: 9, Epoch: 1, BaseSequence: 1}, "d"),
		entryMeta{positions: []Position{{Origin: "derivation/1/0", Kind: PositionOffset, Next: 44}}, trimTo: -1}.encode())
	apply(nil, entryMeta{trimTo: 2}.encode())
	return s
}

func TestStateRoundTrip(t *testing.T) {
	want := exampleState(t)
	if want.next != 4 || want.logStart != 2 {
		t.Fatalf("next %d, log start %d; want 4 and 2", want.next, want.logStart)
	}
	got, err := decodeState(want.encode())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded state differs:\n got %+v\nwant %+v", got, want)
	}
}

// TestStateGolden pins the snapshot's bytes: a data directory of this version must stay readable.
// They were printed by this test from exampleState and checked by hand against the byte table.
func TestStateGolden(t *testing.T) {
	const golden = "574d505301000400000000000000020000000000000000" + // magic, version, next, logStart
		"68e5cf8b010000" + // lastMs
		"01000000" + "0900000000000000" + "0100" + "0068e5cf8b010000" + "02" + // one producer, 2 batches
		"00000000" + "00000000" + "0200000000000000" +
		"01000000" + "01000000" + "0300000000000000" +
		"01000000" + "0068e5cf8b010000" + "1900" + "01" + "0000" + "2c00000000000000" +
		"64657269766174696f6e2f312f30"
	if got := hex.EncodeToString(exampleState(t).encode()); got != golden {
		t.Errorf("snapshot bytes changed:\n got %s\nwant %s", got, golden)
	}
}

func TestStateForgetsExpiredProducers(t *testing.T) {
	s := newState()
	old := time.UnixMilli(1_700_000_000_000)
	if err := s.apply(batchOf(t, 0, &record.Producer{ID: 1}, "x"), nil, old); err != nil {
		t.Fatal(err)
	}
	if err := s.apply(batchOf(t, 1, &record.Producer{ID: 2}, "y"), nil, old.Add(2*producerExpiry)); err != nil {
		t.Fatal(err)
	}
	got, err := decodeState(s.encode())
	if err != nil {
		t.Fatal(err)
	}
	if got.producers[1] != nil || got.producers[2] == nil {
		t.Errorf("producers kept: %v; want only 2", got.producers)
	}
}

func TestStateBoundsProducers(t *testing.T) {
	s := newState()
	for id := range int64(maxProducers + 1) {
		s.lastMs = id
		s.applyProducer(batchOf(t, id, &record.Producer{ID: id}, "x"))
	}
	if n := len(s.producers); n > maxProducers {
		t.Errorf("%d producers are remembered, the bound is %d", n, maxProducers)
	}
	if s.producers[0] != nil || s.producers[maxProducers] == nil {
		t.Error("not the oldest producers were forgotten")
	}
}

func TestStateBoundsSequencePositions(t *testing.T) {
	s := newState()
	save := func(kind PositionKind, origin string) {
		ext := entryMeta{positions: []Position{{Origin: origin, Kind: kind, Next: 1}}, trimTo: -1}.encode()
		if err := s.apply(nil, ext, time.UnixMilli(s.lastMs+1)); err != nil {
			t.Fatal(err)
		}
	}
	save(PositionOffset, "derivation/1/0")
	for id := range maxSequencePositions + 1 {
		save(PositionSequence, fmt.Sprint(id))
		save(PositionSequence, fmt.Sprint(id)) // again: it counts once
	}
	if n := len(s.positions); n > maxSequencePositions+1 || s.sequences != n-1 {
		t.Errorf("%d positions are remembered, %d of them of sequences; the bound is %d", n, s.sequences, maxSequencePositions)
	}
	_, oldest := s.positions["0"]
	_, newest := s.positions[fmt.Sprint(maxSequencePositions)]
	_, derivation := s.positions["derivation/1/0"]
	if oldest || !newest || !derivation {
		t.Errorf("remembered: the oldest position %v, the newest %v, a derivation's %v; want false, true, true", oldest, newest, derivation)
	}
}

func FuzzDecodeState(f *testing.F) {
	f.Add(exampleState(f).encode())
	f.Add([]byte("WMPS"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			return
		}
		again, err := decodeState(s.encode())
		if err != nil {
			t.Fatalf("own encoding is refused: %v", err)
		}
		if !bytes.Equal(again.encode(), s.encode()) {
			t.Error("encoding is not canonical")
		}
	})
}

func FuzzDecodeEntryMeta(f *testing.F) {
	f.Add(entryMeta{positions: []Position{{Origin: "a", Kind: PositionOffset, Next: 1}}, trimTo: 7}.encode())
	f.Add([]byte{1, 2, 8, 0})
	f.Add([]byte("\x01\x02\x08\x000000000\xfc")) // trims to a negative offset
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeEntryMeta(b)
		if err != nil {
			return
		}
		if again, err := decodeEntryMeta(m.encode()); err != nil || fmt.Sprint(again) != fmt.Sprint(m) {
			t.Errorf("round trip of %x: %+v, %v; want %+v", b, again, err, m)
		}
	})
}
