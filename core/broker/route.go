package broker

import (
	"context"
	"fmt"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// resolveRoute tells the pipeline whether a record may go to a topic and partition (-1: by key). A
// destination that does not exist is the failure of the stage that named it.
func (b *Broker) resolveRoute(name string, number int32) error {
	t, err := b.topic(name)
	if err != nil {
		return fmt.Errorf("route: %w", err)
	}
	if number == AnyPartition {
		return nil
	}
	_, err = t.partition(number)
	return err
}

// addRouted puts a routed record into its destination's batch. Records that a pipeline routes are not
// run through the destination's own pipeline: there are no loops, and a record is transformed once.
func (b *Broker) addRouted(r *rewritten, e pipeline.Emitted, index int) error {
	t, err := b.topic(e.Topic)
	if err != nil {
		return err
	}
	s := r.destinations[t]
	if s == nil {
		s = newSplitter(t, 0)
		if producer := r.origin.ProducerID(); producer >= 0 {
			s.stick(producer + int64(r.number))
		}
		r.destinations[t] = s
	}
	return s.add(e.Record, e.Partition, index)
}

// routePositions says how far an idempotent producer's records will have been routed with this unit.
func (b *Broker) routePositions(t *topic, number int32, unit []chunk) []partition.Position {
	first := unit[0].batch
	if first.ProducerID() < 0 {
		return nil
	}
	return []partition.Position{
		partition.SequencePosition(fmt.Sprintf("route/%d/%d/%d", t.id, number, first.ProducerID()), first),
	}
}

// appendRouted writes records to other topics and returns where they went. Those that were written
// before are only listed, with offset -1. With positions a failure keeps none of the other destinations from
// getting theirs, as the repetition will skip what is there; without, it ends the attempt.
func (b *Broker) appendRouted(ctx context.Context, destinations map[*topic]*splitter, positions []partition.Position, before bool) (routed []RoutedRecord, err error) {
	if len(destinations) == 0 {
		return nil, nil
	}
	ctx, s := b.begin(ctx, stageRoute, "", AnyPartition)
	defer func() { s.end(err) }()
	var failed error // the first
	for t, s := range destinations {
		parts, err := s.finish()
		if err != nil {
			return nil, err
		}
		for p, chunks := range parts {
			offset := int64(-1)
			if !before {
				offset, err = b.routeTo(ctx, t, p, chunks, positions)
			}
			switch {
			case err != nil && len(positions) == 0:
				return nil, err
			case err != nil && failed == nil:
				failed = err
			}
			routed = appendPlaces(routed, t, p, chunks, offset)
		}
	}
	return routed, failed
}

// routeTo writes to one partition and returns the first record's offset, -1 if it was there before.
func (b *Broker) routeTo(ctx context.Context, t *topic, p *partition.Partition, chunks []chunk, positions []partition.Position) (int64, error) {
	done, err := b.append(ctx, t, p, t.numberOf(p), partition.Append{Data: joinChunks(chunks), Positions: positions})
	if err != nil {
		known := errcode.From(err)
		e := errcode.New(known.Code, "route to %q: %w", t.name, err)
		e.Fields = known.Fields
		return -1, e
	}
	return done.BaseOffset, nil
}

// appendPlaces lists where the records of chunks lie, the first of them at offset.
func appendPlaces(list []RoutedRecord, t *topic, p *partition.Partition, chunks []chunk, offset int64) []RoutedRecord {
	number := t.numberOf(p)
	for _, c := range chunks {
		for _, index := range c.index {
			list = append(list, RoutedRecord{Index: index, Topic: t.name, Partition: number, Offset: offset})
			if offset >= 0 {
				offset++
			}
		}
	}
	return list
}
