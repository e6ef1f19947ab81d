package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
)

// maxSection keeps a batch's length field within an int32.
const maxSection = math.MaxInt32 - minLength

// Producer identifies an idempotent producer in a batch.
type Producer struct {
	ID           int64 // 0 or more
	Epoch        int16
	BaseSequence int32 // sequence number of offset delta 0
}

// BuilderOptions say what a batch's header shall hold. The zero value is an uncompressed batch of a
// producer that is not idempotent.
type BuilderOptions struct {
	Codec    Codec
	Producer *Producer // nil: not idempotent. Copied by Reset
	// Attributes other than the codec's.
	Attributes Attributes
	// BaseTimestamp is where timestamp deltas count from, in ms; 0 takes the first record's. It
	// changes the encoding, never the records' timestamps.
	BaseTimestamp int64
	// KeepDeltas takes offset deltas from the records, which must increase strictly. Otherwise
	// records are numbered from 0.
	KeepDeltas bool
}

// Builder writes batches, one after another, and owns the memory for it. It copies what is appended.
// The zero Builder is ready, as after Reset(BuilderOptions{}). Not for concurrent use.
type Builder struct {
	codec      Codec
	attributes Attributes
	producer   Producer
	idempotent bool
	keepDeltas bool
	baseOffset int64
	epoch      int32

	section       []byte // encoded records
	count         int32
	nextDelta     int64 // the least offset delta that may come next
	forcedLast    int64 // last offset delta to write, -1 for the last record's
	baseTimestamp int64
	baseIsSet     bool
	maxTimestamp  int64
	appendTime    int64 // MaxTimestamp that all records share, when source bears AttrLogAppendTime
	like          bool  // a batch is replaced: its encoded records may be appended
	started       bool
	err           error // the first misuse, returned by Build
}

// Reset begins a new batch. The builder's memory is kept, up to a few MiB.
func (w *Builder) Reset(o BuilderOptions) {
	if cap(w.section) > maxKeptScratch {
		w.section = nil
	}
	*w = Builder{
		section: w.section[:0], started: true, codec: o.Codec, attributes: o.Attributes &^ attrCodecMask,
		keepDeltas: o.KeepDeltas, epoch: -1, forcedLast: -1, maxTimestamp: NoTimestamp,
		producer:      Producer{ID: NoProducerID, Epoch: NoProducerEpoch, BaseSequence: NoSequence},
		baseTimestamp: o.BaseTimestamp, baseIsSet: o.BaseTimestamp != 0,
	}
	if o.Producer != nil {
		w.producer, w.idempotent = *o.Producer, true
	}
	if o.Codec > CodecZstd {
		w.err = fmt.Errorf("build batch: %w: number %d", ErrCodec, o.Codec)
	}
}

// resetLike begins a batch that replaces b; see Replace.
func (w *Builder) resetLike(b Batch) {
	w.Reset(BuilderOptions{Codec: b.Codec(), Attributes: b.Attributes(), KeepDeltas: true})
	if b.ProducerID() >= 0 {
		w.producer = Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence()}
		w.idempotent = true
	}
	w.baseOffset, w.epoch, w.forcedLast = b.BaseOffset(), b.LeaderEpoch(), int64(b.LastOffsetDelta())
	w.baseTimestamp, w.baseIsSet, w.like = b.BaseTimestamp(), true, true
	w.appendTime = b.MaxTimestamp()
}

// Append adds a copy of r. A record that cannot be added makes Build fail.
func (w *Builder) Append(r Record) {
	w.start()
	delta := int32(w.nextDelta)
	if w.keepDeltas {
		delta = r.OffsetDelta
	}
	if !w.baseIsSet {
		w.baseTimestamp, w.baseIsSet = r.Timestamp, true
	}
	timestampDelta := r.Timestamp - w.baseTimestamp
	body := recordBodySize(&r, delta, timestampDelta)
	if !w.admit(delta, body+varintSize(int64(body))) {
		return
	}
	w.section = appendRecord(w.section, &r, delta, timestampDelta, body)
	w.added(delta, r.Timestamp)
}

// Replace begins a batch that replaces d: same codec, flags, producer, base offset, leader epoch, base
// timestamp and offsets spanned as its batch has, with the offset deltas of the records that are
// appended. It is how records are filtered out of a batch or changed without moving the others. For a
// Draft it is a batch in the draft's codec that spans the offsets of all its records.
func (w *Builder) Replace(d *Decoded) {
	if d.batch != nil {
		w.resetLike(d.batch)
		return
	}
	w.Reset(BuilderOptions{Codec: d.codec, KeepDeltas: true})
	if n := len(d.Records); n > 0 {
		w.forcedLast = int64(n - 1)
		w.baseTimestamp, w.baseIsSet = d.Records[0].Timestamp, true
	}
}

// AppendFrom adds record i of d as it is, by its encoded bytes if there are any. The builder must have
// been reset with Replace of d.
func (w *Builder) AppendFrom(d *Decoded, i int) {
	if d.batch == nil {
		w.Append(d.Records[i])
		return
	}
	w.start()
	if !w.like || d.batch.BaseTimestamp() != w.baseTimestamp {
		w.misuse("record of another batch than Replace was given")
		return
	}
	raw, r := d.raw(i), &d.Records[i]
	if w.admit(r.OffsetDelta, len(raw)) {
		w.section = append(w.section, raw...)
		w.added(r.OffsetDelta, r.Timestamp)
	}
}

// start makes the zero Builder usable.
func (w *Builder) start() {
	if !w.started {
		w.Reset(BuilderOptions{})
	}
}

// admit reports whether a record of that offset delta and encoded size may be appended.
func (w *Builder) admit(delta int32, size int) bool {
	switch {
	case w.err != nil:
		return false
	case int64(delta) < w.nextDelta || w.nextDelta > math.MaxInt32:
		w.misuse("offset delta %d after %d", delta, w.nextDelta-1)
		return false
	case size > maxSection-len(w.section):
		w.err = fmt.Errorf("build batch: %w: %d bytes of records and one of %d", ErrTooLarge, len(w.section), size)
		return false
	}
	return true
}

func (w *Builder) added(delta int32, timestamp int64) {
	if w.count == 0 || timestamp > w.maxTimestamp {
		w.maxTimestamp = timestamp
	}
	w.nextDelta = int64(delta) + 1
	w.count++
}

func (w *Builder) misuse(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("%w: %s", ErrBuilder, fmt.Sprintf(format, args...))
	}
}

// Len is the number of records appended.
func (w *Builder) Len() int { return int(w.count) }

// Bytes is the size that the batch would have without compression.
func (w *Builder) Bytes() int { return HeaderSize + len(w.section) }

// Build appends the batch to dst and returns it. The builder stays as it is: more records may be
// added and Build called again. On error dst comes back as it was. A batch without records needs
// Replace, which says what offsets it spans.
func (w *Builder) Build(dst []byte) ([]byte, error) {
	w.start()
	last, err := w.lastOffsetDelta()
	if err != nil {
		return dst, err
	}
	from := len(dst)
	out := slices.Grow(dst, HeaderSize)[:from+HeaderSize]
	codec := w.codec
	if w.count == 0 {
		codec = CodecNone // nothing to compress; empty batches have no payload at all
	}
	if out, err = compress(out, codec, w.section); err != nil {
		return dst, fmt.Errorf("build batch: %w", err)
	}
	if len(out)-from-prefixSize > math.MaxInt32 {
		return dst, fmt.Errorf("build batch: %w: %d bytes", ErrTooLarge, len(out)-from)
	}
	w.putHeader(Batch(out[from:]), codec, last)
	return out, nil
}

func (w *Builder) lastOffsetDelta() (int32, error) {
	switch {
	case w.err != nil:
		return 0, w.err
	case w.forcedLast >= 0 && w.forcedLast < w.nextDelta-1:
		return 0, fmt.Errorf("%w: last offset delta %d below the last record's %d", ErrBuilder, w.forcedLast, w.nextDelta-1)
	case w.forcedLast >= 0:
		return int32(w.forcedLast), nil
	case w.count == 0:
		return 0, fmt.Errorf("%w: no records and no last offset delta", ErrBuilder)
	}
	return int32(w.nextDelta - 1), nil
}

// putHeader fills in the header of b, whose payload is there already.
func (w *Builder) putHeader(b Batch, codec Codec, last int32) {
	maxTimestamp := w.maxTimestamp
	if w.like && w.attributes&AttrLogAppendTime != 0 {
		maxTimestamp = w.appendTime
	}
	be := binary.BigEndian
	b.SetBaseOffset(w.baseOffset)
	be.PutUint32(b[offLength:], uint32(len(b)-prefixSize))
	b.SetLeaderEpoch(w.epoch)
	b[offMagic] = Magic
	be.PutUint16(b[offAttributes:], uint16(w.attributes)|uint16(codec))
	be.PutUint32(b[offLastOffsetDelta:], uint32(last))
	be.PutUint64(b[offBaseTimestamp:], uint64(w.baseTimestamp))
	be.PutUint64(b[offMaxTimestamp:], uint64(maxTimestamp))
	be.PutUint64(b[offProducerID:], uint64(w.producer.ID))
	be.PutUint16(b[offProducerEpoch:], uint16(w.producer.Epoch))
	be.PutUint32(b[offBaseSequence:], uint32(w.producer.BaseSequence))
	be.PutUint32(b[offCount:], uint32(w.count))
	be.PutUint32(b[offCRC:], crc32.Checksum(b[offAttributes:], castagnoli))
}
