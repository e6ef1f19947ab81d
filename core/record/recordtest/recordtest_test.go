package recordtest

import (
	"errors"
	"slices"
	"testing"

	"github.com/wasmill/wasmill/core/record"
)

func TestBuildAndRead(t *testing.T) {
	first := Build(t, Sequence(7, 1, 3), Pairs("k=a", "b")...)
	second := Build(t, record.BuilderOptions{Codec: record.CodecZstd}, At(5, Numbered(3))...)
	second.SetBaseOffset(2)
	both := append(slices.Clone(first), second...)
	if got, want := ValuesOf(t, both), []string{"a", "b", "v0", "v1", "v2"}; !slices.Equal(got, want) {
		t.Errorf("values %q, want %q", got, want)
	}
	if got, want := ValuesFrom(t, both, 3), []string{"v1", "v2"}; !slices.Equal(got, want) {
		t.Errorf("values from 3 on %q, want %q", got, want)
	}
	all := Read(t, both)
	if r := all[0]; string(r.Key) != "k" || r.Timestamp != Time || r.Offset != 0 {
		t.Errorf("first record %+v", r)
	}
	if r := all[4]; string(r.Key) != "k2" || r.Timestamp != 5 || r.Offset != 4 {
		t.Errorf("last record %+v", r)
	}
	if first.ProducerID() != 7 || first.ProducerEpoch() != 1 || first.BaseSequence() != 3 {
		t.Errorf("producer %d, epoch %d, sequence %d", first.ProducerID(), first.ProducerEpoch(), first.BaseSequence())
	}
}

func TestBroken(t *testing.T) {
	limits := record.DefaultLimits()
	b := Put32(Batch(t, "a value", "another value"), AtCount, 3)
	if err := b.CheckHeader(limits); !errors.Is(err, record.ErrCount) {
		t.Errorf("a wrong count, not sealed: %v", err)
	}
	if err := Seal(Put32(b, AtLastOffsetDelta, 2)).Validate(limits); !errors.Is(err, record.ErrRecord) {
		t.Errorf("a wrong count, sealed: %v", err)
	}
	o := Opaque(5, 1234, 100, 'x')
	if err := o.CheckHeader(limits); err != nil || o.NextOffset() != 5 || o.MaxTimestamp() != 1234 || o.ProducerID() != record.NoProducerID ||
		o.ProducerEpoch() != record.NoProducerEpoch || o.BaseSequence() != record.NoSequence || len(o.Payload()) != 100 {
		t.Errorf("opaque batch: %v, % x", err, o[:record.HeaderSize])
	}
	for _, codec := range []record.Codec{record.CodecGzip, record.CodecLZ4, record.CodecZstd} {
		bomb := Bomb(t, codec, 5<<20)
		if err := bomb.Validate(limits); err != nil || len(bomb) > 100<<10 {
			t.Errorf("%s: a bomb of %d bytes: %v", codec, len(bomb), err)
		}
		limits := limits
		limits.MaxDecompressedBytes = 5 << 20
		if err := bomb.Validate(limits); !errors.Is(err, record.ErrDecompressedTooLarge) {
			t.Errorf("%s: over the limit: %v", codec, err)
		}
	}
}
