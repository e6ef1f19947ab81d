package broker

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/transform"
)

const (
	// defaultFetchBytes is a fetch's MaxBytes when it names none.
	defaultFetchBytes = 1 << 20
	// maxScanBytes bounds what one fetch reads through a pipeline that lets little pass; the answer says
	// how far it came.
	maxScanBytes = 8 << 20
	// maxKeptBuffer is the largest buffer that is kept for the next answer.
	maxKeptBuffer = 8 << 20
)

// buffers are the memory of fetch answers.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// keepBuffer gives a buffer back, unless it has become too large to keep.
func keepBuffer(buf *[]byte) {
	if cap(*buf) <= maxKeptBuffer {
		buffers.Put(buf)
	}
}

// Fetch reads from every partition asked for. It answers as soon as MinBytes of batches are there, a
// partition fails or is deleted, or Wait is over; a request that waits holds no buffer. The answer's
// buffers belong to the caller until Release. The call's own error is for requests that name nothing or
// when the broker is out of memory for answers; what fails in one partition is that partition's error.
func (b *Broker) Fetch(ctx context.Context, req FetchRequest) (*FetchResponse, error) {
	if len(req.Partitions) == 0 {
		return nil, errcode.New(errcode.InvalidRequest, "fetch: the request names no partitions")
	}
	ctx, ph := b.reader.phases.begin(ctx, phaseFetch, "", AnyPartition)
	resp, err := b.reader.fetch(ctx, req)
	if err == nil {
		b.reader.observer.Fetched(resp)
	}
	ph.end(err)
	return resp, err
}

// reader is the way of records out.
type reader struct {
	*catalog
	phases   phases
	observer Observer
	loader   *transform.Loader
	unpack   *record.Budget
	answers  *admission.Budget // memory of all answers
	lifetime context.Context   // of the broker: waits end with it
}

func (r *reader) fetch(ctx context.Context, req FetchRequest) (*FetchResponse, error) {
	sources := r.openSources(ctx, req.Partitions)
	defer closeSources(sources)
	var deadline <-chan time.Time
	if req.Wait > 0 {
		timer := time.NewTimer(req.Wait)
		defer timer.Stop()
		deadline = timer.C
	}
	for {
		resp, bytes, final, err := r.read(ctx, req, sources)
		if err != nil {
			return nil, err
		}
		if final || bytes >= max(req.MinBytes, 1) || req.Wait <= 0 || r.lifetime.Err() != nil {
			return resp, nil
		}
		resp.Release() // the bounds stay, the memory is given back while waiting
		if !r.awaitMore(ctx, resp, sources, deadline) {
			if bytes == 0 {
				return resp, nil
			}
			req.Wait = 0 // less than MinBytes is the answer: it is read once more
		}
	}
}

// read reads what is there now. final says that waiting for more is no use.
func (r *reader) read(ctx context.Context, req FetchRequest, sources []source) (resp *FetchResponse, bytes int, final bool, err error) {
	ctx, ph := r.phases.begin(ctx, phaseRead, "", AnyPartition)
	defer func() { ph.end(err) }()
	share := r.share(req, sources)
	if err := r.answers.Acquire(ctx, share); err != nil {
		return nil, 0, true, fmt.Errorf("fetch: %w", err)
	}
	memory := newAnswerMemory(r.answers, len(req.Partitions))
	resp = &memory.response
	for i, fp := range req.Partitions {
		buf := memory.buffer()
		out := &resp.Partitions[i]
		*out = FetchedPartition{Topic: fp.Topic, Partition: fp.Partition, NextOffset: fp.Offset}
		limit := min(fetchLimit(fp.MaxBytes), int(share)-bytes)
		r.readPartition(ctx, &sources[i], limit, buf, out)
		bytes += len(out.Batches)
		final = final || out.Err != nil
	}
	resp.Held = r.settle(share, int64(bytes))
	return resp, bytes, final, nil
}

// answerMemory is a fetch's answer with the memory that it holds until it is released.
type answerMemory struct {
	response FetchResponse
	budget   *admission.Budget
	buffers  []*[]byte
	one      [1]*[]byte // for the usual answer, of one partition
}

func newAnswerMemory(budget *admission.Budget, partitions int) *answerMemory {
	m := &answerMemory{budget: budget}
	m.buffers = m.one[:0]
	m.response = FetchResponse{Partitions: make([]FetchedPartition, partitions), release: m.release}
	return m
}

// buffer is memory for one partition's batches.
func (m *answerMemory) buffer() *[]byte {
	buf := buffers.Get().(*[]byte)
	m.buffers = append(m.buffers, buf)
	return buf
}

func (m *answerMemory) release() {
	for _, buf := range m.buffers {
		keepBuffer(buf)
	}
	m.budget.Release(m.response.Held)
}

// settle brings what is held for an answer from share to what it has, and returns what is held then. What
// was not there to be read does not stay reserved while the answer waits for its reader. An answer has more
// than its share when its first batch is larger than what was asked for: the rest is taken if there is room,
// and not waited for, since whoever holds memory must not wait for more.
func (r *reader) settle(share, bytes int64) (held int64) {
	bytes = r.answers.Clip(bytes)
	switch more := bytes - share; {
	case more <= 0:
		r.answers.Release(-more)
	case !r.answers.TryAcquire(more):
		return share
	}
	return bytes
}

// share is how much memory a request may need at a time.
func (r *reader) share(req FetchRequest, sources []source) int64 {
	share := int64(0)
	for i, fp := range req.Partitions {
		limit := fetchLimit(fp.MaxBytes)
		share += int64(limit)
		if sources[i].through != nil {
			share += int64(min(limit, maxScanBytes)) // what goes into the pipeline
		}
	}
	return r.answers.Clip(share)
}

func fetchLimit(asked int) int {
	if asked <= 0 {
		return defaultFetchBytes
	}
	return asked
}

// readPartition fills in one partition's part of the answer; limit is not positive when the partitions
// before it have used all the room that there is for the answer.
func (r *reader) readPartition(ctx context.Context, s *source, limit int, buf *[]byte, out *FetchedPartition) {
	if s.err != nil {
		out.Err = errcode.From(s.err)
		return
	}
	var f partition.Fetched
	var err error
	switch {
	case limit <= 0:
		f = partition.Fetched{Bounds: s.replica.Bounds(), Next: s.at}
	case s.through == nil:
		f, err = s.replica.Fetch((*buf)[:0], s.at, limit)
	default:
		f, err = r.readThrough(ctx, s, (*buf)[:0], limit)
		if len(f.Batches) == 0 {
			s.at = f.Next // what was scanned in vain is not scanned again
		}
	}
	out.HighWatermark, out.LogStartOffset, out.NextOffset = f.HighWatermark, f.LogStart, f.Next
	if err != nil {
		out.Err = errcode.From(err)
		return
	}
	if f.Batches != nil {
		*buf, out.Batches = f.Batches, f.Batches
	}
}

// readThrough reads through a pipeline. Offsets stay the source's; Next is how far it scanned.
func (r *reader) readThrough(ctx context.Context, s *source, dst []byte, limit int) (partition.Fetched, error) {
	raw := buffers.Get().(*[]byte)
	defer keepBuffer(raw)
	read := transform.Read{Pipeline: s.through, Name: s.name, Partition: s.number, Source: s.replica.Name(), Limit: limit}
	out := partition.Fetched{Batches: dst, Next: s.at}
	for scanned := 0; scanned < maxScanBytes; {
		f, err := s.replica.Fetch((*raw)[:0], out.Next, min(limit, maxScanBytes))
		out.Bounds = f.Bounds
		if err != nil {
			return out, err
		}
		if len(f.Batches) == 0 {
			return out, nil
		}
		*raw = f.Batches
		scanned += len(f.Batches)
		if out.Batches, out.Next, err = read.Through(ctx, r.unpack, out.Batches, f.Batches, out.Next); err != nil {
			return out, err
		}
		if len(out.Batches) > len(dst) {
			return out, nil
		}
	}
	return out, nil
}

// awaitMore waits until one of the partitions has something past what the answer has scanned; false
// when the wait is over.
func (r *reader) awaitMore(ctx context.Context, resp *FetchResponse, sources []source, deadline <-chan time.Time) bool {
	if len(sources) == 1 { // by far the most frequent
		select {
		case <-sources[0].replica.Advanced(resp.Partitions[0].NextOffset):
			return true
		case <-deadline:
		case <-ctx.Done():
		case <-r.lifetime.Done():
		}
		return false
	}
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(deadline)},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(r.lifetime.Done())},
	}
	ends := len(cases)
	for i := range sources {
		wake := sources[i].replica.Advanced(resp.Partitions[i].NextOffset)
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(wake)})
	}
	chosen, _, _ := reflect.Select(cases)
	return chosen >= ends
}
