package controller

import (
	"context"
	"fmt"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
)

// producerIDBlock is how many producer ids a broker takes at a time. Ids that are unused when it stops are
// never used.
const producerIDBlock = 1000

// ProducerIDs allocates producer ids one by one from blocks. Safe for concurrent use.
type ProducerIDs struct {
	propose Propose
	block   chan idBlock // holds the current block while no call has it
}

// Propose carries a command out, as Controller.Propose does.
type Propose func(context.Context, metadata.Command) (metadata.Result, error)

type idBlock struct {
	next int64
	left int32
}

// NewProducerIDs allocates blocks through propose.
func NewProducerIDs(propose Propose) *ProducerIDs {
	p := &ProducerIDs{propose: propose, block: make(chan idBlock, 1)}
	p.block <- idBlock{}
	return p
}

// Next is an id that is never returned again, by any broker. Most calls do no I/O. A call that takes a new
// block waits for the group, and concurrent calls wait for that one, until their contexts end. The error
// is, or wraps, an *errcode.Error.
func (p *ProducerIDs) Next(ctx context.Context) (int64, error) {
	var b idBlock
	select {
	case b = <-p.block:
	case <-ctx.Done():
		return 0, errcode.New(errcode.RequestTimedOut, "allocate a producer id: %w", ctx.Err())
	}
	defer func() { p.block <- b }()
	if b.left == 0 {
		r, err := p.propose(ctx, metadata.AllocateProducerIDs{Count: producerIDBlock})
		if err != nil {
			return 0, fmt.Errorf("allocate a producer id: %w", err)
		}
		b = idBlock{r.FirstProducerID, r.ProducerIDs}
	}
	id := b.next
	b.next++
	b.left--
	return id, nil
}
