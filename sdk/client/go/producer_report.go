package client

// report calls back for every record of a delivered batch.
func (q *queue) report(b *openBatch, res *ProduceResult) {
	own := ProducedPartition{Partition: q.partition, BaseOffset: -1}
	for _, pp := range res.Partitions {
		if pp.Partition == q.partition {
			own = pp
			break
		}
	}
	t := &q.p.totals
	t.kept.Add(int64(own.Count))
	t.dropped.Add(int64(len(res.Dropped)))
	t.rejected.Add(int64(len(res.Rejected)))
	t.routed.Add(int64(len(res.Routed)))
	if b.done != nil {
		fates := newFates(res)
		for i, done := range b.done {
			if done != nil {
				r := fates.of(i, own)
				r.Topic, r.Partition = q.p.o.Topic, q.partition
				done(r)
			}
		}
	}
	q.release(b)
}

// fail reports every record of the batch as failed.
func (q *queue) fail(b *openBatch, err error) {
	q.p.totals.failed.Add(int64(b.count))
	for _, done := range b.done {
		if done != nil {
			done(Report{Topic: q.p.o.Topic, Partition: q.partition, Outcome: Failed, Offset: -1, Err: err})
		}
	}
	q.release(b)
}

func (q *queue) release(b *openBatch) {
	builders.Put(b.builder)
	q.p.memory.Release(b.weight)
	q.p.finish(int64(b.count))
}

// fates finds a record's verdict by its index in the request. What an answer says about indexes that
// were never sent is of no consequence.
type fates struct {
	dropped  map[int]bool
	rejected map[int]RejectedRecord
	routed   map[int][]RoutedRecord
}

func newFates(res *ProduceResult) fates {
	f := fates{
		dropped:  make(map[int]bool, len(res.Dropped)),
		rejected: make(map[int]RejectedRecord, len(res.Rejected)),
		routed:   make(map[int][]RoutedRecord, len(res.Routed)),
	}
	for _, i := range res.Dropped {
		f.dropped[i] = true
	}
	for _, r := range res.Rejected {
		f.rejected[r.Index] = r
	}
	for _, r := range res.Routed {
		f.routed[r.Index] = append(f.routed[r.Index], r)
	}
	return f
}

func (f fates) of(index int, own ProducedPartition) Report {
	r := Report{Outcome: Kept, Offset: -1, Duplicate: own.Duplicate, Routed: f.routed[index]}
	if rej, ok := f.rejected[index]; ok {
		r.Outcome, r.Rejected = Rejected, rej
		return r
	}
	switch {
	case len(r.Routed) > 0:
		r.Outcome = Routed
	case f.dropped[index]:
		r.Outcome = Dropped
	case own.BaseOffset >= 0:
		r.Offset = own.BaseOffset + int64(index)
	}
	return r
}
