package pipeline

import (
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
)

// Kind is what became of an input record.
type Kind uint8

// The outcomes of a record.
const (
	Kept     Kind = iota // written to the topic, unchanged
	Changed              // written to the topic, but not as it was, or with further records
	Dropped              // not written
	Rejected             // refused; nothing that came of it is written to any topic
	Routed               // written to other topics only
)

func (k Kind) String() string {
	return [...]string{"kept", "changed", "dropped", "rejected", "routed"}[k]
}

// Verdict is what became of one input record, and why when a stage rejected it or failed on it.
type Verdict struct {
	Kind    Kind
	Code    uint16 // the module's own number; 0 when the module did not give one
	Message string
	Stage   int // the last stage that did more than keep it; -1: none
}

// Emitted is a record that comes out of a pipeline.
type Emitted struct {
	record.Record
	Source    int    // index of the input record that it comes from
	Extra     bool   // Own: not the first of its source, so it has no offset among the input's; OffsetDelta is -1
	Topic     string // Routed
	Partition int32  // Routed; abi.ByKey: the broker chooses
}

// Result is the output of a run. Its records use the memory of the result or of the run's input and are void
// after the next run with the same result. The zero Result is ready to use; reusing one saves allocations.
type Result struct {
	Verdicts []Verdict // one per input record
	Own      []Emitted // records of this topic; their sources never decrease
	Routed   []Emitted // records of other topics

	changed bool // some own record is not an input record
	arena   abi.Arena
	actions []abi.Action
	sets    [2]set // what one stage leaves for the next; stages use them alternately
	run     run
}

// set is what a stage sees. The slices have equal lengths.
type set struct {
	records []record.Record
	sources []int32
	intact  []bool // the record is its source, unchanged
}

func (s *set) reset() {
	clear(s.records)
	s.records, s.sources, s.intact = s.records[:0], s.sources[:0], s.intact[:0]
}

// Unchanged reports that the topic gets exactly the input's records. Copies may have been routed besides.
func (r *Result) Unchanged() bool { return !r.changed && len(r.Own) == len(r.Verdicts) }

// OnlyFiltered reports that the topic gets some or all of the input's records and no others.
func (r *Result) OnlyFiltered() bool { return !r.changed }

func (r *Result) reset(records int) {
	clear(r.Own)
	clear(r.Routed)
	clear(r.actions)
	r.Own, r.Routed, r.actions, r.changed = r.Own[:0], r.Routed[:0], r.actions[:0], false
	r.arena.Reset()
	r.sets[0].reset()
	r.sets[1].reset()
	if cap(r.Verdicts) < records {
		r.Verdicts = make([]Verdict, records)
	}
	r.Verdicts = r.Verdicts[:records]
	for i := range r.Verdicts {
		r.Verdicts[i] = Verdict{Kind: Dropped, Stage: -1}
	}
}

// finish sets the verdicts from the records that the last stage left. intact says of every own record whether
// it is its source, unchanged.
func (r *Result) finish(input []record.Record, intact []bool) {
	anyRejected := false
	for i := range r.Verdicts {
		anyRejected = anyRejected || r.Verdicts[i].Kind == Rejected
	}
	if anyRejected {
		r.Own, intact = r.withoutRejected(r.Own, intact)
		r.Routed, _ = r.withoutRejected(r.Routed, nil)
	}
	for i := range r.Routed {
		r.Verdicts[r.Routed[i].Source].Kind = Routed
	}
	last := -1
	for i := range r.Own {
		e := &r.Own[i]
		v := &r.Verdicts[e.Source]
		if e.Extra = e.Source == last; e.Extra {
			e.OffsetDelta = noOffset
			v.Kind = Changed
		} else {
			e.OffsetDelta = input[e.Source].OffsetDelta
			v.Kind = Kept
			if !intact[i] {
				v.Kind = Changed
			}
		}
		r.changed = r.changed || v.Kind == Changed
		last = e.Source
	}
}

// withoutRejected removes the records that come of a rejected source.
func (r *Result) withoutRejected(list []Emitted, intact []bool) ([]Emitted, []bool) {
	n := 0
	for i := range list {
		if r.Verdicts[list[i].Source].Kind == Rejected {
			continue
		}
		list[n] = list[i]
		if intact != nil {
			intact[n] = intact[i]
		}
		n++
	}
	clear(list[n:])
	return list[:n], intact
}
