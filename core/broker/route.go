package broker

import (
	"context"
	"fmt"
	"slices"

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

// routeMarks names how far an idempotent producer's records will have been routed with this unit.
func (b *Broker) routeMarks(t *topic, number int32, unit []chunk) []partition.Mark {
	first := unit[0].batch
	if first.ProducerID() < 0 {
		return nil
	}
	return []partition.Mark{{
		Origin: fmt.Sprintf("route/%d/%d/%d", t.id, number, first.ProducerID()),
		Kind:   partition.MarkSequence, Epoch: first.ProducerEpoch(), Position: int64(first.LastSequence()),
	}}
}

// appendRouted writes records to other topics and returns where they went. Those that were written
// before are only listed, with offset -1.
func (b *Broker) appendRouted(ctx context.Context, destinations map[*topic]*splitter, marks []partition.Mark, before bool) (routed []RoutedRecord, err error) {
	if len(destinations) == 0 {
		return nil, nil
	}
	ctx, s := b.begin(ctx, stageRoute, "", AnyPartition)
	defer func() { s.end(err) }()
	for t, s := range destinations {
		parts, err := s.finish()
		if err != nil {
			return nil, err
		}
		for p, chunks := range parts {
			done := partition.Appended{BaseOffset: -1}
			if !before {
				if done, err = b.append(ctx, t, p, t.numberOf(p), partition.Append{Data: joinChunks(chunks), Marks: marks}); err != nil {
					return nil, errcode.New(errcode.From(err).Code, "route to %q: %w", t.name, err)
				}
			}
			offset := done.BaseOffset
			for _, index := range slices.Concat(indexes(chunks)...) {
				routed = append(routed, RoutedRecord{Index: index, Topic: t.name, Partition: t.numberOf(p), Offset: offset})
				if offset >= 0 {
					offset++
				}
			}
		}
	}
	return routed, nil
}

func indexes(chunks []chunk) [][]int {
	all := make([][]int, len(chunks))
	for i, c := range chunks {
		all[i] = c.index
	}
	return all
}
