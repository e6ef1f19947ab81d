package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/engine"
)

const (
	maxCallBytes = 512 << 10 // input of one call; a single record may be larger
	maxPerSource = 256       // records that one stage leaves of one source
	maxRunBytes  = 64 << 20  // new bytes of one run
	maxRunFailed = 64        // records of one run that a stage may fail on alone before it is paused
	noOffset     = -1        // OffsetDelta of a record that has no place in the input
)

// Input is one batch of records of one partition.
type Input struct {
	Topic      string
	Partition  int32
	Place      abi.Place // the one that the pipeline was compiled for
	BaseOffset int64     // of OffsetDelta 0; -1: not known yet
	Records    []record.Record
	// Resolve checks that a record may be routed to a topic and partition (abi.ByKey: any). An error is a
	// failure of the stage on that record. nil allows everything.
	Resolve func(topic string, partition int32) error
}

// Run takes records through all stages. Its error is never caused by a module or a record: the context ended,
// the pipeline or its engine is closed, or the system is out of memory. out is then void.
func (p *Pipeline) Run(ctx context.Context, in Input, out *Result) error {
	p.running.RLock()
	defer p.running.RUnlock()
	if p.closed {
		return ErrClosed
	}
	out.reset(len(in.Records))
	if len(in.Records) == 0 {
		return nil
	}
	r := &out.run // in out, because the engine keeps its address: on the heap once, not for every run
	*r = run{ctx: ctx, pipeline: p, in: in, out: out}
	defer func() { *r = run{} }()
	r.call = abi.Input{
		Topic: in.Topic, Partition: in.Partition, Place: p.place,
		BaseTimestamp: in.Records[0].Timestamp, BaseOffset: in.BaseOffset,
	}
	r.from = set{records: in.Records}
	for i, s := range p.stages {
		r.to = &out.sets[i%2]
		r.to.reset()
		r.last = i == len(p.stages)-1
		if err := r.stage(s); err != nil {
			return fmt.Errorf("pipeline %s: stage %d: %w", p.name, i, err)
		}
		r.from = *r.to
	}
	out.finish(in.Records, r.to.intact)
	return nil
}

// run is one Run under way.
type run struct {
	ctx      context.Context
	pipeline *Pipeline
	in       Input
	out      *Result
	call     abi.Input

	current *stage
	last    bool // current is the last stage: what it leaves goes to out.Own
	from    set  // what it sees; sources and intact are nil for the first stage
	to      *set // what it leaves
	failed  int  // records that current has failed on alone
	outcome engine.Outcome
	same    int32 // source of the last record left, and how many it has left
	count   int
}

// stage takes all records of r.from through s, in calls of a bounded size.
func (r *run) stage(s *stage) error {
	r.current, r.failed, r.same, r.count = s, 0, -1, 0
	r.outcome = engine.Outcome{}
	for a := 0; a < len(r.from.records); {
		b, size := a, 0
		for b < len(r.from.records) {
			size += abi.DescriptorSize + abi.RecordSize(&r.from.records[b], s.mask)
			if b > a && size > maxCallBytes {
				break
			}
			b++
		}
		if err := r.process(a, b); err != nil {
			return err
		}
		a = b
	}
	s.pool.Observer().Outcome(s.label, r.outcome)
	return nil
}

// process runs records [a, b) of r.from, halving them where the module fails.
func (r *run) process(a, b int) error {
	s := r.current
	if why, paused := r.paused(); paused {
		for i := a; i < b; i++ {
			r.fail(i, 0, why)
		}
		return nil
	}
	r.call.Records = r.from.records[a:b]
	actions, err := s.pool.Process(r.ctx, &r.call, &r.out.arena, r.out.actions[:0])
	r.out.actions = actions
	if err == nil {
		s.breaker.success()
		r.apply(a, b, actions)
		return nil
	}
	var guest *engine.GuestError
	if !errors.As(err, &guest) {
		return err
	}
	if b-a == 1 {
		r.failed++
		s.breaker.failure(r.pipeline.now(), guest.Reason(), r.failed >= maxRunFailed)
		r.fail(a, 0, guest.Reason())
		return nil
	}
	middle := a + (b-a)/2
	if err := r.process(a, middle); err != nil {
		return err
	}
	return r.process(middle, b)
}

// paused reports why the current stage must not be called now.
func (r *run) paused() (string, bool) {
	if r.out.arena.Used() > maxRunBytes {
		return fmt.Sprintf("the batch grew by more than %d bytes; send smaller batches", maxRunBytes), true
	}
	until, reason, open := r.current.breaker.open(r.pipeline.now())
	if !open {
		return "", false
	}
	return fmt.Sprintf("%s is paused until %s because it kept failing: %s", r.current.label, until.UTC().Format(time.RFC3339), reason), true
}

// apply turns checked actions for records [a, b) into what the stage leaves.
func (r *run) apply(a, b int, actions []abi.Action) {
	for i := a; i < b; i++ {
		n := 0
		for n < len(actions) && int(actions[n].Index) == i-a {
			n++
		}
		r.record(i, actions[:n])
		actions = actions[n:]
	}
}

// record applies the actions that name record i of r.from.
func (r *run) record(i int, group []abi.Action) {
	if len(group) == 0 {
		r.outcome.In++
		r.outcome.Dropped++
		r.note(i, 0, "")
		return
	}
	if group[0].Kind == abi.Reject {
		r.reject(i, group[0].Code, group[0].Message)
		return
	}
	if why := r.refuse(i, group); why != nil {
		r.fail(i, 0, why.Error())
		return
	}
	r.outcome.In++
	kept := false
	for k := range group {
		if group[k].Kind == abi.Keep {
			kept = true
			r.outcome.Kept++
			r.leave(i, r.from.records[i], r.isIntact(i))
		}
	}
	if kept && len(group) == 1 {
		return
	}
	r.note(i, 0, "")
	hasOffset := !kept // the first own record takes the input's place
	for k := range group {
		switch e := &group[k]; {
		case e.Kind == abi.Keep:
		case e.Topic != "":
			r.outcome.Routed++
			r.out.Routed = append(r.out.Routed, Emitted{Record: e.Record, Source: r.source(i), Topic: e.Topic, Partition: e.Partition})
		default:
			if !hasOffset {
				e.Record.OffsetDelta = noOffset
			}
			hasOffset = false
			r.outcome.Emitted++
			r.leave(i, e.Record, false)
		}
	}
}

// refuse reports why the actions on record i cannot be followed although they keep the rules of the ABI.
func (r *run) refuse(i int, group []abi.Action) error {
	if r.count+len(group) > maxPerSource && r.same == int32(r.source(i)) {
		return fmt.Errorf("more than %d records come of one", maxPerSource)
	}
	if r.in.Resolve == nil {
		return nil
	}
	for k := range group {
		if group[k].Topic != "" {
			if err := r.in.Resolve(group[k].Topic, group[k].Partition); err != nil {
				return err
			}
		}
	}
	return nil
}

// leave passes a record on to the next stage, or out of the pipeline.
func (r *run) leave(i int, rec record.Record, intact bool) {
	source := r.source(i)
	if r.out.Verdicts[source].Kind == Rejected {
		return // nothing of the source will be written
	}
	if r.same != int32(source) {
		r.same, r.count = int32(source), 0
	}
	r.count++
	r.to.intact = append(r.to.intact, intact)
	if r.last {
		r.out.Own = append(r.out.Own, Emitted{Record: rec, Source: source, Partition: abi.ByKey})
		return
	}
	r.to.records = append(r.to.records, rec)
	r.to.sources = append(r.to.sources, int32(source))
}

func (r *run) source(i int) int {
	if r.from.sources == nil {
		return i
	}
	return int(r.from.sources[i])
}

func (r *run) isIntact(i int) bool { return r.from.intact == nil || r.from.intact[i] }

// note records which stage last changed record i's source. A rejection is not overwritten.
func (r *run) note(i int, code uint16, message string) {
	v := &r.out.Verdicts[r.source(i)]
	if v.Kind == Rejected {
		return
	}
	v.Stage = r.current.index
	if message != "" {
		v.Code, v.Message = code, message
	}
}
