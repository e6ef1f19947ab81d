package wasmill

import (
	"errors"
	"iter"
	"unsafe"
)

// errInput is a batch that breaks the ABI: a broker newer than the SDK, or a broken one.
var errInput = errors.New("wasmill: the input is not an ABI v1 batch")

// Batch is what one call transforms: records of one partition, in order. It is valid until
// the handler returns.
type Batch struct {
	in      []byte
	base    uint32 // address of in[0]
	header  *inputHeader
	record  Record
	output  Output
	started bool // All has been ranged over
}

// parse lays b over in. The record and output that b owns are kept for reuse.
func (b *Batch) parse(in []byte, base uint32) error {
	if len(in) < inputHeaderSize {
		return errInput
	}
	h := (*inputHeader)(unsafe.Pointer(unsafe.SliceData(in)))
	table := uint64(h.headerSize) + uint64(h.recordCount)*uint64(h.descriptorSize)
	if h.headerSize < inputHeaderSize || h.descriptorSize < descriptorSize || table > uint64(len(in)) {
		return errInput
	}
	b.in, b.base, b.header, b.started = in, base, h, false
	b.record.batch = b
	return nil
}

// Len is the number of records.
func (b *Batch) Len() int { return int(b.header.recordCount) }

// Topic is the topic being processed. The string is valid until the handler returns.
func (b *Batch) Topic() string { return text(b.bytes(b.header.topicOff, b.header.topicLen)) }

// Partition is the partition being processed.
func (b *Batch) Partition() int32 { return b.header.partition }

// Place says where in the broker the batch is being transformed.
func (b *Batch) Place() Place { return b.header.place }

// BaseTimestamp is the time of the batch in milliseconds since 1970.
func (b *Batch) BaseTimestamp() int64 { return b.header.baseTimestamp }

// Fields are the parts of the records that were really copied into the guest.
func (b *Batch) Fields() Fields { return b.header.fields }

// At returns record i for reading ahead. Decisions are taken in order, by All.
func (b *Batch) At(i int) Record {
	r := Record{batch: b}
	r.point(i, b.descriptor(i))
	return r
}

// All yields the records in order, each with the output that decides about it. It can be
// ranged over once, since decisions are handed to the broker in the order of the records.
func (b *Batch) All() iter.Seq2[*Record, *Output] {
	return func(yield func(*Record, *Output) bool) {
		if b.started {
			panic("wasmill: Batch.All ranged over twice")
		}
		b.started = true
		for i := range b.Len() {
			b.record.point(i, b.descriptor(i))
			b.output.begin(&b.record)
			if !yield(&b.record, &b.output) {
				return
			}
		}
	}
}

func (b *Batch) descriptor(i int) *descriptor {
	if i < 0 || i >= b.Len() {
		panic("wasmill: record index out of range")
	}
	at := int(b.header.headerSize) + i*int(b.header.descriptorSize)
	return (*descriptor)(unsafe.Pointer(&b.in[at]))
}

// bytes returns n bytes of the input at offset off, nil for a null.
func (b *Batch) bytes(off, n uint32) []byte {
	if n == nullLength {
		return nil
	}
	return b.in[off : uint64(off)+uint64(n) : uint64(off)+uint64(n)]
}
