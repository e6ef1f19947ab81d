package record

import "context"

// Unpacker decodes batches within a Budget, one at a time. The zero value works. Not for concurrent use.
type Unpacker struct {
	// Decoded is the batch decoded last. Its records alias the batch or the Unpacker's memory, and are
	// valid until Release.
	Decoded

	budget *Budget
	share  int64
	used   *Decoder // by the batch at hand
	plain  Decoder
	small  *Decoder
}

// Decode reads a batch's records; after a success they are to be given back with Release. The caller must
// hold no other share of the budget, as Decode waits for one. Errors: those of Decoder and of Memory.
func (u *Unpacker) Decode(ctx context.Context, b *Budget, batch Batch) (err error) {
	u.budget, u.share, u.used = b, 0, &u.plain
	if !compressed(batch) {
		b.decodes.Add(1)
		return u.decode(batch)
	}
	u.share, err = b.unpack(ctx, DefaultLimits(), b.bytes.Acquire, func(limits Limits) error {
		u.choose(limits)
		return u.decode(batch)
	})
	return err
}

func (u *Unpacker) decode(batch Batch) error {
	records, err := u.used.Decode(batch, u.Records[:0])
	u.Decoded = u.used.decoded(batch, records)
	return err
}

// choose takes the decoder for batches that unpack to little, or a new one for a large batch, which is not
// kept: such batches are rare.
func (u *Unpacker) choose(limits Limits) {
	switch {
	case limits.MaxDecompressedBytes > budgetSmall:
		u.used = NewDecoder(limits)
	case u.small == nil:
		u.small = NewDecoder(limits)
		fallthrough
	default:
		u.used = u.small
	}
}

// Release gives back what the last successful Decode took of the budget.
func (u *Unpacker) Release() {
	if u.used != &u.plain && u.used != u.small {
		clear(u.Records) // they refer to the memory of a large batch
	}
	u.budget.bytes.Release(u.share)
	u.used, u.share, u.section, u.ends = nil, 0, nil, nil
}
