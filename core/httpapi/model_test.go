package httpapi

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

// model is a broker that keeps everything in memory. Like the real one it patches produced batches in
// place and lends out buffers that must be released. Its hooks put faults and delays in the way.
type model struct {
	mu          sync.Mutex
	topics      map[string]*modelTopic
	modules     map[string][]modelModule
	pipelines   map[string]*api.Pipeline
	views       map[string]*api.View
	derivations map[string]*api.Derivation
	grown       chan struct{} // closed and replaced when records arrive
	lastID      int64

	admission *admission.Controller

	lent     atomic.Int64 // fetch responses that were not released
	released atomic.Int64

	onProduce func(ctx context.Context) error // called before an append
	onFetch   func()                          // called when a fetch begins to wait
	onResult  func(*broker.ProduceResult)
	notReady  error
}

type modelTopic struct {
	info  api.Topic
	parts []*modelPartition
}

type modelPartition struct {
	batches [][]byte
	start   int64
	next    int64
}

type modelModule struct {
	api.Module
	wasm []byte
}

func newModel() *model {
	return &model{
		topics: map[string]*modelTopic{}, modules: map[string][]modelModule{},
		pipelines: map[string]*api.Pipeline{}, views: map[string]*api.View{},
		derivations: map[string]*api.Derivation{}, grown: make(chan struct{}),
	}
}

var modelTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (m *model) partition(topic string, partition int32) (*modelPartition, error) {
	if v := m.views[topic]; v != nil {
		topic = v.Topic
	}
	t := m.topics[topic]
	if t == nil || partition < 0 || int(partition) >= len(t.parts) {
		return nil, errcode.New(errcode.UnknownTopicOrPartition, "there is no %s/%d", topic, partition)
	}
	return t.parts[partition], nil
}

func (m *model) ProduceBatches(ctx context.Context, topic string, partition int32, body []byte) (*broker.ProduceResult, error) {
	if m.onProduce != nil {
		if err := m.onProduce(ctx); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.partition(topic, max(partition, 0))
	if err != nil {
		return nil, err
	}
	out := broker.ProducedPartition{Partition: max(partition, 0), BaseOffset: p.next}
	for b, err := range record.All(body) {
		if err == nil {
			err = b.ValidateProduced(record.DefaultLimits())
		}
		if err != nil {
			return nil, errcode.New(errcode.CorruptMessage, "%w", err)
		}
		b.SetBaseOffset(p.next)
		b.SetLeaderEpoch(7)
		p.batches = append(p.batches, slices.Clone(b))
		p.next += int64(b.Count())
		out.Count += int(b.Count())
	}
	return m.produced(&broker.ProduceResult{Topic: topic, Partitions: []broker.ProducedPartition{out}}), nil
}

func (m *model) produced(res *broker.ProduceResult) *broker.ProduceResult {
	if m.onResult != nil {
		m.onResult(res)
	}
	close(m.grown)
	m.grown = make(chan struct{})
	return res
}

func (m *model) ProduceRecords(ctx context.Context, topic string, recs []broker.InputRecord) (*broker.ProduceResult, error) {
	if m.onProduce != nil {
		if err := m.onProduce(ctx); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.topics[topic]
	if t == nil {
		return nil, errcode.New(errcode.UnknownTopicOrPartition, "there is no topic %s", topic)
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
		record.Batch(raw).SetBaseOffset(p.next)
		p.batches = append(p.batches, raw)
		res.Partitions = append(res.Partitions, broker.ProducedPartition{Partition: int32(i), BaseOffset: p.next, Count: builders[i].Len()})
		p.next += int64(builders[i].Len())
	}
	return m.produced(res), nil
}

func (m *model) Fetch(ctx context.Context, req broker.FetchRequest) (*broker.FetchResponse, error) {
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
		if first && m.onFetch != nil {
			m.onFetch()
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
func (m *model) answer(parts []broker.FetchedPartition) (*broker.FetchResponse, error) {
	n := int64(0)
	for i := range parts {
		n += int64(len(parts[i].Batches))
	}
	if !m.admission.Answers.TryAcquire(n) {
		return nil, m.admission.Answers.Refusal(nil)
	}
	lent := m.lend(parts)
	resp := broker.NewFetchResponse(parts, func() {
		lent.Release()
		m.admission.Answers.Release(n)
	})
	resp.Held = n
	return resp, nil
}

// lend makes a response that notices what becomes of its buffers: they are overwritten on release.
func (m *model) lend(parts []broker.FetchedPartition) *broker.FetchResponse {
	m.lent.Add(1)
	return broker.NewFetchResponse(parts, func() {
		for i := range parts {
			for k := range parts[i].Batches {
				parts[i].Batches[k] = 0xee
			}
		}
		m.lent.Add(-1)
		m.released.Add(1)
	})
}

func (m *model) read(req broker.FetchRequest) (parts []broker.FetchedPartition, n int) {
	for _, fp := range req.Partitions {
		out := broker.FetchedPartition{Topic: fp.Topic, Partition: fp.Partition, NextOffset: fp.Offset}
		p, err := m.partition(fp.Topic, fp.Partition)
		if err != nil {
			out.Err = errcode.From(err)
			parts = append(parts, out)
			n = max(n, req.MinBytes)
			continue
		}
		out.HighWatermark, out.LogStartOffset = p.next, p.start
		if fp.Offset < p.start || fp.Offset > p.next {
			out.Err = errcode.New(errcode.OffsetOutOfRange, "offset %d is not in [%d, %d]", fp.Offset, p.start, p.next)
			n = max(n, req.MinBytes)
		}
		for _, b := range p.batches {
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

func (m *model) ResolveOffset(_ context.Context, topic string, partition int32, at broker.OffsetSpec) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.partition(topic, partition)
	if err != nil {
		return 0, err
	}
	switch at.At {
	case broker.OffsetEarliest:
		return p.start, nil
	case broker.OffsetLatest:
		return p.next, nil
	}
	for _, b := range p.batches {
		if record.Batch(b).MaxTimestamp() >= at.Time.UnixMilli() {
			return record.Batch(b).BaseOffset(), nil
		}
	}
	return p.next, nil
}

func (m *model) AllocateProducerID(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastID++
	return m.lastID, nil
}

func (m *model) CreateTopic(_ context.Context, spec api.TopicSpec) (*api.Topic, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if spec.Name == "" {
		return nil, errcode.New(errcode.InvalidTopic, "a topic needs a name")
	}
	if m.topics[spec.Name] != nil {
		return nil, errcode.New(errcode.TopicAlreadyExists, "topic %s is there already", spec.Name)
	}
	spec.Partitions = max(spec.Partitions, 1)
	t := &modelTopic{info: api.Topic{
		ID: uint64(len(m.topics) + 1), Name: spec.Name, Partitions: spec.Partitions,
		Replication: 1, Config: spec.Config, CreatedAt: modelTime,
		Effective: map[string]string{"flush": "fsync"},
	}}
	if t.info.Config == nil {
		t.info.Config = map[string]string{}
	}
	m.topics[spec.Name] = t
	t.grow(spec.Partitions)
	return t.describe(), nil
}

func (t *modelTopic) grow(n int32) {
	for int32(len(t.parts)) < n {
		t.parts = append(t.parts, &modelPartition{})
	}
	t.info.Partitions = n
}

func (t *modelTopic) describe() *api.Topic {
	info := t.info
	info.State = nil
	for i, p := range t.parts {
		info.State = append(info.State, api.PartitionState{Partition: int32(i), Leader: "1", LogStartOffset: p.start, HighWatermark: p.next})
	}
	return &info
}

func (m *model) Topics(context.Context) ([]api.Topic, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []api.Topic
	for _, t := range m.topics {
		out = append(out, *t.describe())
	}
	return out, nil
}

func (m *model) Topic(_ context.Context, name string) (*api.Topic, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.topics[name]; t != nil {
		return t.describe(), nil
	}
	return nil, errcode.New(errcode.UnknownTopicOrPartition, "there is no topic %s", name)
}

func (m *model) AlterTopic(_ context.Context, name string, change api.TopicChange) (*api.Topic, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.topics[name]
	if t == nil {
		return nil, errcode.New(errcode.UnknownTopicOrPartition, "there is no topic %s", name)
	}
	if change.Partitions != 0 {
		if change.Partitions < t.info.Partitions {
			return nil, errcode.New(errcode.InvalidPartitions, "topic %s has %d partitions", name, t.info.Partitions)
		}
		t.grow(change.Partitions)
	}
	for k, v := range change.Config {
		if v == nil {
			delete(t.info.Config, k)
		} else {
			t.info.Config[k] = *v
		}
	}
	return t.describe(), nil
}

func (m *model) DeleteTopic(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.topics[name] == nil {
		return errcode.New(errcode.UnknownTopicOrPartition, "there is no topic %s", name)
	}
	delete(m.topics, name)
	return nil
}

func (m *model) Cluster(context.Context) (*api.Cluster, error) {
	return &api.Cluster{ClusterID: "c1", Version: "test", Leader: "1", Brokers: []api.Broker{{ID: "1", StartedAt: modelTime}}}, nil
}

func (m *model) Brokers(context.Context) ([]api.Broker, error) {
	return []api.Broker{{ID: "1", HTTP: "127.0.0.1:8640", Version: "test", StartedAt: modelTime}}, nil
}

func (m *model) Ready() error { return m.notReady }

// The broker that is served outside of tests.
var _ Broker = (*broker.Broker)(nil)
