package transform

import (
	"slices"

	"github.com/wasmill/wasmill/core/record"
)

// Batch is a record batch of a request on its way to a partition, with the places that its records have in
// the request: record i is number Index[i], or First+i when Index is nil.
type Batch struct {
	// Data is the encoded batch; nil for a draft, whose records are encoded only after their pipeline.
	Data record.Batch
	// Decoded are the batch's records where they have been decoded already; nil otherwise. A draft has
	// only these.
	Decoded *record.Decoded
	First   int
	Index   []int

	draftBytes int
}

// RequestIndex is the place of record i in the request.
func (b *Batch) RequestIndex(i int) int {
	if b.Index != nil {
		return b.Index[i]
	}
	return b.First + i
}

// Count is the number of records.
func (b *Batch) Count() int {
	if b.Data == nil {
		return len(b.Decoded.Records)
	}
	return int(b.Data.Count())
}

// Bytes is the encoded batch's size; a draft's before compression.
func (b *Batch) Bytes() int {
	if b.Data == nil {
		return b.draftBytes
	}
	return len(b.Data)
}

// ProducerID is the id of an idempotent producer, or below 0. Drafts have none.
func (b *Batch) ProducerID() int64 {
	if b.Data == nil {
		return record.NoProducerID
	}
	return b.Data.ProducerID()
}

// Part is what a request writes to one partition.
type Part struct {
	Number  int32
	Batches []Batch
}

// Units groups a part's batches into what is appended at once: all of them, unless an idempotent producer's
// batches must keep their own entries for its sequences to be checked.
func Units(batches []Batch) [][]Batch {
	idempotent := func(b Batch) bool { return b.ProducerID() >= 0 }
	if len(batches) == 1 || !slices.ContainsFunc(batches, idempotent) {
		return [][]Batch{batches}
	}
	return slices.Collect(slices.Chunk(batches, 1))
}

// Join returns encoded batches back to back: in place when they already lie so in the request's body,
// which is the common case, else as a copy.
func Join(batches []Batch) []byte {
	if len(batches) == 1 {
		return batches[0].Data
	}
	total := 0
	for i := range batches {
		total += len(batches[i].Data)
	}
	if first := batches[0].Data; cap(first) >= total {
		whole := first[:total]
		if last := batches[len(batches)-1].Data; &whole[total-len(last)] == &last[0] {
			return whole
		}
	}
	data := make([]byte, 0, total)
	for i := range batches {
		data = append(data, batches[i].Data...)
	}
	return data
}
