package record

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

func TestSplit(t *testing.T) {
	b := build(t, BuilderOptions{}, sample(3, 10))
	withLength := func(n int32) []byte {
		c := append([]byte(nil), b...)
		binary.BigEndian.PutUint32(c[offLength:], uint32(n))
		return c
	}
	cases := []struct {
		name string
		buf  []byte
		want error
	}{
		{"empty", nil, ErrTooShort},
		{"less than a length", b[:11], ErrTooShort},
		{"header only", b[:HeaderSize], ErrTooShort},
		{"one byte short", b[:len(b)-1], ErrTooShort},
		{"negative length", withLength(-1), ErrLength},
		{"least negative length", withLength(math.MinInt32), ErrLength},
		{"less than a header", withLength(minLength - 1), ErrLength},
		{"huge length", withLength(math.MaxInt32), ErrTooShort},
		{"whole", b, nil},
		{"whole and more", append(append([]byte(nil), b...), 1, 2), nil},
		{"header alone is legal", withLength(minLength)[:HeaderSize], nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			first, rest, err := Split(c.buf)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err != nil && (first != nil || rest != nil) {
				t.Fatal("results beside an error")
			}
			if err == nil && (len(first)+len(rest) != len(c.buf) || cap(first) != len(first)) {
				t.Fatalf("%d + %d bytes of %d, capacity %d", len(first), len(rest), len(c.buf), cap(first))
			}
		})
	}
}

func TestAll(t *testing.T) {
	a, b := build(t, BuilderOptions{}, sample(3, 10)), build(t, BuilderOptions{Codec: CodecZstd}, sample(9, 10))
	buf := append(append([]byte(nil), a...), b...)
	var got []int32
	for batch, err := range All(buf) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, batch.Count())
	}
	if len(got) != 2 || got[0] != 3 || got[1] != 9 {
		t.Fatalf("counts %v", got)
	}
	batches, failures := 0, 0
	for _, err := range All(buf[:len(buf)-1]) {
		if err == nil {
			batches++
		} else if failures++; !errors.Is(err, ErrTooShort) {
			t.Fatal(err)
		}
	}
	if batches != 1 || failures != 1 {
		t.Fatalf("%d batches, %d errors of a torn buffer", batches, failures)
	}
	for range All(buf) {
		break // must not go on after the loop does not want more
	}
}

func TestPatchOutsideChecksum(t *testing.T) {
	b := build(t, BuilderOptions{}, sample(3, 10))
	b.SetBaseOffset(1 << 40)
	b.SetLeaderEpoch(9)
	if b.BaseOffset() != 1<<40 || b.LeaderEpoch() != 9 || b.LastOffset() != 1<<40+2 || b.NextOffset() != 1<<40+3 {
		t.Fatalf("offset %d to %d, epoch %d", b.BaseOffset(), b.LastOffset(), b.LeaderEpoch())
	}
	if err := b.Validate(Limits{}); err != nil {
		t.Fatal(err)
	}
}

func TestSequenceWraps(t *testing.T) {
	for _, c := range []struct{ sequence, n, want int32 }{
		{0, 0, 0}, {5, 10, 15}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 5, 3},
	} {
		if got := AddSequence(c.sequence, c.n); got != c.want {
			t.Errorf("%d + %d = %d, want %d", c.sequence, c.n, got, c.want)
		}
	}
	if got := build(t, BuilderOptions{}, sample(2, 1)).LastSequence(); got != NoSequence {
		t.Errorf("last sequence without a producer: %d", got)
	}
}
