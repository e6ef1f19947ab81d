package controller

import (
	"context"
	"fmt"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
)

// producerIDBlock is how many producer ids a broker takes at a time; what it has not used when it
// stops is lost, which costs nothing.
const producerIDBlock = 1000

// ProducerIDs gives out producer ids one by one from blocks of its own. Safe for concurrent use.
type ProducerIDs struct {
	propose Propose
	block   chan idBlock // has its one element when nobody holds the block
}

// Propose carries a command out, as Controller.Propose does.
type Propose func(context.Context, metadata.Command) (metadata.Result, error)

type idBlock struct {
	next int64
	left int32
}

// NewProducerIDs takes its blocks through propose.
func NewProducerIDs(propose Propose) *ProducerIDs {
	p := &ProducerIDs{propose: propose, block: make(chan idBlock, 1)}
	p.block <- idBlock{}
	return p
}

// Next is an id that nobody else has or will have. Most calls do no I/O; those that do wait for the
// group, and others wait for them, as long as their contexts last. The error is an *errcode.Error.
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
