package apitest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// Fake is a broker that keeps everything in memory and answers as the real one does, as far as Conform
// asks. Like the real one it patches produced batches in place and lends out buffers that must be
// released. Its hooks put faults and delays in the way.
type Fake struct {
	OnProduce func(ctx context.Context) error // called before an append
	OnFetch   func()                          // called when a fetch begins to wait
	OnResult  func(*broker.ProduceResult)
	NotReady  error

	Admission *admission.Controller // from which answers take their memory

	Lent     atomic.Int64 // fetch responses that were not released
	Released atomic.Int64

	mu          sync.Mutex // guards what follows
	topics      map[string]*fakeTopic
	modules     map[string][]fakeModule // all versions; deleted ones have no bytes
	pipelines   registry[api.Pipeline]
	views       registry[api.View]
	derivations registry[api.Derivation]
	grown       chan struct{} // closed and replaced when records arrive
	lastID      int64
	lastTopic   uint64
}

type fakeTopic struct {
	info  api.Topic
	parts []*Partition
}

// Partition is a partition of a Fake. A test may look at it and change it while no request runs.
type Partition struct {
	Batches [][]byte
	Start   int64
	Next    int64
}

// Partition finds a partition of a topic that is there.
func (m *Fake) Partition(topic string, number int) *Partition {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.topics[topic].parts[number]
}

type fakeModule struct {
	api.Module
	wasm []byte
}

// NewFake makes a broker without topics.
func NewFake() *Fake {
	return &Fake{
		Admission: admission.Default(), topics: map[string]*fakeTopic{}, modules: map[string][]fakeModule{},
		pipelines: newRegistry[api.Pipeline](), views: newRegistry[api.View](), derivations: newRegistry[api.Derivation](),
		grown: make(chan struct{}),
	}
}

// Time is when everything was made that a Fake describes.
var Time = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// view is a view by name, nil if there is none.
func (m *Fake) view(name string) *api.View { return m.views.get(name) }

// writable finds a topic that may be written to.
func (m *Fake) writable(name string) (*fakeTopic, error) {
	if t := m.topics[name]; t != nil {
		return t, nil
	}
	if v := m.view(name); v != nil {
		return nil, errcode.New(errcode.ViewReadOnly, "%s is a view of %s", name, v.Topic)
	}
	return nil, errcode.New(errcode.UnknownTopicOrPartition, "there is no topic %s", name)
}

func (m *Fake) partition(topic string, partition int32) (*Partition, error) {
	if v := m.view(topic); v != nil {
		topic = v.Topic
	}
	t := m.topics[topic]
	if t == nil || partition < 0 || int(partition) >= len(t.parts) {
		return nil, errcode.New(errcode.UnknownTopicOrPartition, "there is no %s/%d", topic, partition)
	}
	return t.parts[partition], nil
}

func (m *Fake) ProduceBatches(ctx context.Context, topic string, partition int32, body []byte) (*broker.ProduceResult, error) {
	if m.OnProduce != nil {
		if err := m.OnProduce(ctx); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.writable(topic); err != nil {
		return nil, err
	}
	p, err := m.partition(topic, max(partition, 0))
	if err != nil {
		return nil, err
	}
	out := broker.ProducedPartition{Partition: max(partition, 0), BaseOffset: p.Next}
	for b, err := range record.All(body) {
		if err == nil {
			err = b.ValidateProduced(record.DefaultLimits())
		}
		if err != nil {
			return nil, errcode.New(errcode.CorruptMessage, "%w", err)
		}
		b.SetBaseOffset(p.Next)
		b.SetLeaderEpoch(7)
		p.Batches = append(p.Batches, slices.Clone(b))
		p.Next += int64(b.Count())
		out.Count += int(b.Count())
	}
	return m.produced(&broker.ProduceResult{Topic: topic, Partitions: []broker.ProducedPartition{out}}), nil
}

func (m *Fake) produced(res *broker.ProduceResult) *broker.ProduceResult {
	if m.OnResult != nil {
		m.OnResult(res)
	}
	close(m.grown)
	m.grown = make(chan struct{})
	return res
}

func (m *Fake) ProduceRecords(ctx context.Context, topic string, recs []broker.InputRecord) (*broker.ProduceResult, error) {
	if m.OnProduce != nil {
		if err := m.OnProduce(ctx); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.writable(topic)
	if err != nil {
		return nil, err
	}
	builders := make([]record.Builder, len(t.parts))
	for _, r := range recs {
		n := r.Partition
		if n == broker.AnyPartition {
			n = record.PartitionForKey(r.Key, int32(len(t.parts)))
		}
		if int(n) >= len(t.parts) {
			return nil, errcode.New(errcode.UnknownTopicOrPartition, "there is no %s/%d", topic, n)
		}
		builders[n].Append(r.Record)
	}
	res := &broker.ProduceResult{Topic: topic}
	for i := range builders {
		if builders[i].Len() == 0 {
			continue
		}
		raw, err := builders[i].Build(nil)
		if err != nil {
			return nil, errcode.New(errcode.InvalidRecord, "%w", err)
		}
		p := t.parts[i]
		record.Batch(raw).SetBaseOffset(p.Next)
		p.Batches = append(p.Batches, raw)
		res.Partitions = append(res.Partitions, broker.ProducedPartition{Partition: int32(i), BaseOffset: p.Next, Count: builders[i].Len()})
		p.Next += int64(builders[i].Len())
	}
	return m.produced(res), nil
}

func (m *Fake) Fetch(ctx context.Context, req broker.FetchRequest) (*broker.FetchResponse, error) {
	deadline := time.NewTimer(req.Wait)
	defer deadline.Stop()
	for first := true; ; first = false {
		m.mu.Lock()
		parts, n := m.read(req)
		grown := m.grown
		m.mu.Unlock()
		if n >= req.MinBytes || req.Wait == 0 {
			return m.answer(parts)
		}
		if first && m.OnFetch != nil {
			m.OnFetch()
		}
		select {
		case <-grown:
		case <-deadline.C:
			return m.answer(parts)
		case <-ctx.Done():
			return nil, fmt.Errorf("fetch: %w", ctx.Err())
		}
	}
}

// answer holds memory for a response, as the broker does.
func (m *Fake) answer(parts []broker.FetchedPartition) (*broker.FetchResponse, error) {
	n := int64(0)
	for i := range parts {
		n += int64(len(parts[i].Batches))
	}
	if !m.Admission.Answers.TryAcquire(n) {
		return nil, m.Admission.Answers.Refusal(nil)
	}
	lent := m.lend(parts)
	resp := broker.NewFetchResponse(parts, func() {
		lent.Release()
		m.Admission.Answers.Release(n)
	})
	resp.Held = n
	return resp, nil
}

// lend makes a response that notices what becomes of its buffers: they are overwritten on release.
func (m *Fake) lend(parts []broker.FetchedPartition) *broker.FetchResponse {
	m.Lent.Add(1)
	return broker.NewFetchResponse(parts, func() {
		for i := range parts {
			for k := range parts[i].Batches {
				parts[i].Batches[k] = 0xee
			}
		}
		m.Lent.Add(-1)
		m.Released.Add(1)
	})
}

func (m *Fake) read(req broker.FetchRequest) (parts []broker.FetchedPartition, n int) {
	for _, fp := range req.Partitions {
		out := broker.FetchedPartition{Topic: fp.Topic, Partition: fp.Partition, NextOffset: fp.Offset}
		p, err := m.partition(fp.Topic, fp.Partition)
		if err != nil {
			out.Err = errcode.From(err)
			parts = append(parts, out)
			n = max(n, req.MinBytes)
			continue
		}
		out.HighWatermark, out.LogStartOffset = p.Next, p.Start
		if fp.Offset < p.Start || fp.Offset > p.Next {
			out.Err = errcode.New(errcode.OffsetOutOfRange, "offset %d is not in [%d, %d]", fp.Offset, p.Start, p.Next)
			n = max(n, req.MinBytes)
		}
		for _, b := range p.Batches {
			if out.Err != nil || record.Batch(b).NextOffset() <= fp.Offset {
				continue
			}
			if len(out.Batches) > 0 && len(out.Batches)+len(b) > fp.MaxBytes {
				break
			}
			out.Batches = append(out.Batches, b...)
			out.NextOffset = record.Batch(b).NextOffset()
		}
		n += len(out.Batches)
		parts = append(parts, out)
	}
	return parts, n
}

func (m *Fake) ResolveOffset(_ context.Context, topic string, partition int32, at broker.OffsetSpec) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.partition(topic, partition)
	if err != nil {
		return 0, err
	}
	switch at.At {
	case broker.OffsetEarliest:
		return p.Start, nil
	case broker.OffsetLatest:
		return p.Next, nil
	}
	for _, b := range p.Batches {
		if record.Batch(b).MaxTimestamp() >= at.Time.UnixMilli() {
			return record.Batch(b).BaseOffset(), nil
		}
	}
	return p.Next, nil
}

func (m *Fake) AllocateProducerID(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastID++
	return m.lastID, nil
}
