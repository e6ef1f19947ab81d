package record

import (
	"context"
	"errors"
	"unsafe"
)

// keepPart is the part of a budget that one request of several batches may keep: 1/keepPart.
const keepPart = 4

// Unpacked checks the batches of one produce request and keeps their records decoded, so that they need
// not be decompressed and parsed again to be split and transformed:
//
//	defer u.Release()
//	for each batch of the request {
//		err := u.Add(ctx, budget, batch, limits)
//	}
//	if u.Kept() {
//		... u.Batch(i) ...
//	}
//
// All of the request's batches are kept or none. What is kept is counted against the Budget with all its
// memory (decompressed bytes, Records, headers) until Release. Only the first compressed batch of a request
// waits for room, as Budget.ValidateProduced does, and with nothing held. When a further batch finds no
// room at once, or the request would keep more than a quarter of the budget, everything is given back and
// Kept is false: then the batches are checked all the same, but have to be decoded one by one with an
// Unpacker. Batches that are not compressed take part, as their Records need memory too, but never wait.
//
// The zero value works, and keeps some memory for the next request. Not for concurrent use; between the
// last Add and Release the results may be read concurrently.
type Unpacked struct {
	budget  *Budget
	held    int64 // bytes of budget
	lost    bool  // some batch found no room
	batches []keptBatch
	n       int // of batches, those that are in use
}

// keptBatch is one batch and the memory of its records.
type keptBatch struct {
	decoder Decoder
	decoded Decoded
}

// errNoRoom means that a batch is sound or has not been checked, but that its records cannot be kept.
var errNoRoom = errors.New("no room to keep a batch unpacked")

// Add checks the request's next batch as Budget.ValidateProduced does, with the same errors, and keeps its
// records if it can. The batch must not change until Release. After an error only Release may be called.
func (u *Unpacked) Add(ctx context.Context, b *Budget, batch Batch, limits Limits) error {
	u.budget = b
	if !u.lost {
		err := u.keep(ctx, batch, limits)
		if !errors.Is(err, errNoRoom) {
			return err
		}
		u.giveBack()
		u.lost = true
	}
	return b.ValidateProduced(ctx, batch, limits)
}

// Kept says whether the records of all batches added are there.
func (u *Unpacked) Kept() bool { return !u.lost }

// Batch is the records of the i-th batch added, valid until Release. Only if Kept.
func (u *Unpacked) Batch(i int) *Decoded { return &u.batches[:u.n][i].decoded }

// Release gives the memory back: all records are void. Idempotent.
func (u *Unpacked) Release() {
	u.giveBack()
	u.lost = false
}

func (u *Unpacked) keep(ctx context.Context, batch Batch, limits Limits) error {
	if u.n == len(u.batches) {
		u.batches = append(u.batches, keptBatch{})
	}
	k := &u.batches[u.n]
	share, err := u.decode(ctx, k, batch, limits)
	if err != nil {
		return err
	}
	u.n++
	u.held += share
	cost := k.memory()
	most := u.budget.most
	if u.n > 1 {
		most /= keepPart
	}
	if u.held+cost-share > most || cost > share && !u.budget.bytes.TryAcquire(cost-share) {
		return errNoRoom
	}
	if cost < share {
		u.budget.bytes.Release(share - cost)
	}
	u.held += cost - share
	return nil
}

// decode reads a batch into k and returns what it took of the budget for that.
func (u *Unpacked) decode(ctx context.Context, k *keptBatch, batch Batch, limits Limits) (int64, error) {
	read := func(limits Limits) error {
		records, err := k.decoder.decodeProduced(batch, k.decoded.Records[:0], limits)
		k.decoded = k.decoder.decoded(batch, records)
		return err
	}
	if compressed(batch) {
		return u.budget.unpack(ctx, limits, u.acquire, read)
	}
	if len(batch) < HeaderSize {
		return 0, read(limits)
	}
	// The count is not yet checked; the bytes bound what will be allocated.
	count := min(int64(max(batch.Count(), 0)), int64(len(batch)/minRecordSize), int64(limits.withDefaults().MaxRecords))
	share := count * perRecord
	if !u.budget.bytes.TryAcquire(share) {
		return 0, errNoRoom
	}
	u.budget.decodes.Add(1)
	if err := read(limits); err != nil {
		u.budget.bytes.Release(share)
		return 0, err
	}
	return share, nil
}

// acquire takes a share for a batch that is to be unpacked. It must not wait while batches are kept, which
// hold shares.
func (u *Unpacked) acquire(ctx context.Context, n int64) error {
	switch {
	case u.held == 0:
		return u.budget.bytes.Acquire(ctx, n)
	case u.budget.bytes.TryAcquire(n):
		return nil
	}
	return errNoRoom
}

// giveBack drops the batches and returns their memory to the budget. What is kept for the next request is
// bounded as in a Decoder.
func (u *Unpacked) giveBack() {
	left := int64(0)
	for i := range u.batches {
		k := &u.batches[i]
		if left += k.memory(); left > maxKeptScratch {
			*k = keptBatch{}
			continue
		}
		clear(k.decoded.Records[:cap(k.decoded.Records)])
		clear(k.decoder.headers[:cap(k.decoder.headers)])
		k.decoder.records, k.decoded = nil, Decoded{Records: k.decoded.Records[:0]}
	}
	u.n = 0
	if u.held > 0 {
		u.budget.bytes.Release(u.held)
		u.held = 0
	}
}

const (
	perRecord = int64(unsafe.Sizeof(Record{}) + unsafe.Sizeof(int(0)))
	perHeader = int64(unsafe.Sizeof(RecordHeader{}))
)

// memory is what the batch occupies besides its own bytes.
func (k *keptBatch) memory() int64 {
	return int64(cap(k.decoder.scratch)) + int64(cap(k.decoded.Records))*perRecord + int64(cap(k.decoder.headers))*perHeader
}
