package broker

import (
	"slices"
	"sync"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/transform"
)

// outcome collects what became of a produce request. It is safe for concurrent use until finish.
type outcome struct {
	mu     sync.Mutex // covers all fields: the partitions of a request are written concurrently
	result ProduceResult
	failed int
	first  error
}

// add notes a partition's outcome.
func (o *outcome) add(p ProducedPartition, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		p.Error, p.BaseOffset, p.Count = errcode.From(err), -1, 0
		o.failed++
		if o.first == nil {
			o.first = err
		}
	}
	o.result.Partitions = append(o.result.Partitions, p)
}

// verdicts notes what became of records that were not simply written.
func (o *outcome) verdicts(r *transform.Rewritten, routed []RoutedRecord) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.result.Dropped = append(o.result.Dropped, r.Dropped...)
	for _, rejected := range r.Rejected {
		o.result.Rejected = append(o.result.Rejected, RejectedRecord(rejected))
	}
	o.result.Routed = append(o.result.Routed, routed...)
}

// finish sorts the result. If every partition failed, the first failure is the request's.
func (o *outcome) finish() (*ProduceResult, error) {
	if o.failed > 0 && o.failed == len(o.result.Partitions) {
		return nil, o.first
	}
	slices.SortStableFunc(o.result.Partitions, func(a, b ProducedPartition) int { return int(a.Partition - b.Partition) })
	slices.Sort(o.result.Dropped)
	slices.SortFunc(o.result.Rejected, func(a, b RejectedRecord) int { return a.Index - b.Index })
	slices.SortStableFunc(o.result.Routed, func(a, b RoutedRecord) int { return a.Index - b.Index })
	return &o.result, nil
}
