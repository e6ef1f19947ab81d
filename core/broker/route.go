package broker

import (
	"context"
	"fmt"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/transform"
)

// routePositions says how far an idempotent producer's records will have been routed with the unit that the
// batch begins.
func (r *produceRequest) routePositions(number int32, b transform.Batch) []partition.Position {
	if b.ProducerID() < 0 {
		return nil
	}
	origin := fmt.Sprintf("route/%d/%d/%d", r.topic.id, number, b.ProducerID())
	return []partition.Position{partition.SequencePosition(origin, b.Data)}
}

// route writes records to other topics and returns where they went. Of a duplicate they are only listed, with
// offset -1, as are those that were written before. With positions a failure keeps none of the other
// destinations from getting theirs, as the repetition will leave out what is there; without, it ends the
// attempt.
func (r *produceRequest) route(ctx context.Context, outputs []transform.Output, positions []partition.Position, duplicate bool) (routed []RoutedRecord, err error) {
	if len(outputs) == 0 {
		return nil, nil
	}
	ctx, ph := r.phases.begin(ctx, phaseRoute, "", AnyPartition)
	defer func() { ph.end(err) }()
	var failed error // the first
	for _, o := range outputs {
		offset := int64(-1)
		if !duplicate {
			offset, err = r.routeTo(ctx, o, positions)
		}
		switch {
		case err != nil && len(positions) == 0:
			return nil, err
		case err != nil && failed == nil:
			failed = err
		}
		routed = appendPlaces(routed, o, offset)
	}
	return routed, failed
}

// routeTo writes to one partition and returns the first record's offset, -1 if it was there before.
func (r *produceRequest) routeTo(ctx context.Context, o transform.Output, positions []partition.Position) (int64, error) {
	d, err := r.find(o.Topic, o.Number)
	var done partition.Appended
	if err == nil {
		done, err = d.Append(ctx, partition.Append{Data: transform.Join(o.Batches), Positions: positions})
	}
	if err != nil {
		known := errcode.From(err)
		e := errcode.New(known.Code, "route to %q: %w", o.Topic.Name, err)
		e.Fields = known.Fields
		return -1, e
	}
	return done.BaseOffset, nil
}

// appendPlaces lists where the records of an output are, the first of them at offset.
func appendPlaces(list []RoutedRecord, o transform.Output, offset int64) []RoutedRecord {
	for _, b := range o.Batches {
		for _, index := range b.Index {
			list = append(list, RoutedRecord{Index: index, Topic: o.Topic.Name, Partition: o.Number, Offset: offset})
			if offset >= 0 {
				offset++
			}
		}
	}
	return list
}
