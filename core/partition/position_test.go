package partition

import (
	"encoding/hex"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"
)

// TestPositionsOfTheVersionBefore: an entry and a snapshot that the version before wrote are read as it meant
// them, and written again as they were. On disk a position of a sequence is the last one that was written; in
// memory it is what comes next, also behind the largest sequence, after which 0 follows. The bytes were printed
// by that version.
func TestPositionsOfTheVersionBefore(t *testing.T) {
	const (
		entry = "01" + // version
			"01" + "1600" + "02" + "0300" + "0500000000000000" + "726f7574652f312f302f39" +
			"01" + "1700" + "02" + "0000" + "ffffff7f00000000" + "726f7574652f312f302f3130" +
			"01" + "1900" + "01" + "0000" + "2c00000000000000" + "64657269766174696f6e2f312f30"
		snapshot = "574d505301000000000000000000000000000000000000" + "68e5cf8b010000" + "00000000" + "03000000" +
			"0068e5cf8b010000" + "1900" + "01" + "0000" + "2c00000000000000" + "64657269766174696f6e2f312f30" +
			"0068e5cf8b010000" + "1700" + "02" + "0000" + "ffffff7f00000000" + "726f7574652f312f302f3130" +
			"0068e5cf8b010000" + "1600" + "02" + "0300" + "0500000000000000" + "726f7574652f312f302f39"
	)
	want := []Position{
		{Origin: "route/1/0/9", Kind: PositionSequence, Epoch: 3, Next: 6},
		{Origin: "route/1/0/10", Kind: PositionSequence, Next: math.MaxInt32 + 1},
		{Origin: "derivation/1/0", Kind: PositionOffset, Next: 44},
	}
	b, err := hex.DecodeString(entry)
	if err != nil {
		t.Fatal(err)
	}
	meta, err := decodeEntryMeta(b)
	if err != nil || !slices.Equal(meta.positions, want) {
		t.Errorf("the entry's positions are %+v, %v; want %+v", meta.positions, err, want)
	}
	if got := hex.EncodeToString(meta.encode()); got != entry {
		t.Errorf("the entry is written again as\n%s, it was\n%s", got, entry)
	}
	if b, err = hex.DecodeString(snapshot); err != nil {
		t.Fatal(err)
	}
	s, err := decodeState(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range want {
		if got := s.positions[p.Origin].Position; got != p {
			t.Errorf("the snapshot's position is %+v, want %+v", got, p)
		}
	}
	if got := hex.EncodeToString(s.encode()); got != snapshot {
		t.Errorf("the snapshot is written again as\n%s, it was\n%s", got, snapshot)
	}
	// An entry that is replayed and a snapshot that is restored give the same positions.
	replayed := newState()
	if b, err = hex.DecodeString(entry); err != nil {
		t.Fatal(err)
	}
	if err := replayed.apply(nil, b, time.UnixMilli(1_700_000_000_000)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(replayed.positions, s.positions) {
		t.Errorf("replayed %v, restored %v", slices.Sorted(maps.Keys(replayed.positions)), slices.Sorted(maps.Keys(s.positions)))
	}
}

// TestSequencesWrap: behind the largest sequence 0 follows. It is not covered by the position of the largest,
// which covers itself and what came before it.
func TestSequencesWrap(t *testing.T) {
	upTo := func(last int32) Position {
		return Position{Origin: "route/1/0/9", Kind: PositionSequence, Next: int64(last) + 1}
	}
	for _, tt := range []struct {
		last, saved int32
		reached     bool
	}{
		{math.MaxInt32, math.MaxInt32, true},
		{math.MaxInt32 - 1, math.MaxInt32, true},
		{0, math.MaxInt32, false},
		{1, math.MaxInt32, false},
		{math.MaxInt32, 0, true},
		{0, 0, true},
		{1, 0, false},
	} {
		saved, err := decodePosition(appendPosition(nil, upTo(tt.saved)))
		if err != nil {
			t.Fatal(err)
		}
		if got := upTo(tt.last).reached(saved); got != tt.reached {
			t.Errorf("%d is covered by %d: %v, want %v", tt.last, tt.saved, got, tt.reached)
		}
	}
}
