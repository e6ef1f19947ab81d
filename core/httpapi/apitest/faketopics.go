package apitest

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
)

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func (m *Fake) CreateTopic(_ context.Context, spec api.TopicSpec) (*api.Topic, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !topicName.MatchString(spec.Name) {
		return nil, errcode.New(errcode.InvalidTopic, "%q is no name for a topic", spec.Name)
	}
	if m.topics[spec.Name] != nil || m.view(spec.Name) != nil {
		return nil, errcode.New(errcode.TopicAlreadyExists, "topic %s is there already", spec.Name)
	}
	spec.Partitions = max(spec.Partitions, 1)
	m.lastTopic++
	t := &fakeTopic{info: api.Topic{
		ID: m.lastTopic, Name: spec.Name, Partitions: spec.Partitions,
		Replication: 1, Config: spec.Config, CreatedAt: Time,
		Effective: map[string]string{"flush": "fsync"},
	}}
	if t.info.Config == nil {
		t.info.Config = map[string]string{}
	}
	m.topics[spec.Name] = t
	t.grow(spec.Partitions)
	return t.describe(), nil
}

func (t *fakeTopic) grow(n int32) {
	for int32(len(t.parts)) < n {
		t.parts = append(t.parts, &Partition{})
	}
	t.info.Partitions = n
}

func (t *fakeTopic) describe() *api.Topic {
	info := t.info
	info.State = nil
	for i, p := range t.parts {
		info.State = append(info.State, api.PartitionState{Partition: int32(i), Leader: "1", LogStartOffset: p.Start, HighWatermark: p.Next})
	}
	return &info
}

func (m *Fake) Topics(context.Context) ([]api.Topic, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []api.Topic
	for _, t := range m.topics {
		info := t.describe()
		info.State = nil
		out = append(out, *info)
	}
	slices.SortFunc(out, func(a, b api.Topic) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (m *Fake) Topic(_ context.Context, name string) (*api.Topic, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.topics[name]; t != nil {
		info := t.describe()
		if p := m.pipelines.get(name); p != nil {
			info.PipelineVersion = p.Version
		}
		return info, nil
	}
	if v := m.view(name); v != nil {
		info := m.topics[v.Topic].describe()
		info.Name, info.ViewOf, info.PipelineVersion = name, v.Topic, v.Version
		return info, nil
	}
	return nil, errcode.New(errcode.UnknownTopicOrPartition, "there is no topic %s", name)
}

func (m *Fake) AlterTopic(_ context.Context, name string, change api.TopicChange) (*api.Topic, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.writable(name)
	if err != nil {
		return nil, err
	}
	if change.Partitions != 0 {
		if change.Partitions < t.info.Partitions {
			return nil, errcode.New(errcode.InvalidPartitions, "topic %s has %d partitions", name, t.info.Partitions).
				With("partitions", t.info.Partitions)
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

func (m *Fake) DeleteTopic(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.writable(name); err != nil {
		return err
	}
	if users := m.topicUsers(name); len(users) > 0 {
		return errcode.New(errcode.TopicInUse, "topic %s is named by %q", name, users)
	}
	delete(m.topics, name)
	delete(m.pipelines.entries, name)
	return nil
}

func (m *Fake) Cluster(context.Context) (*api.Cluster, error) {
	return &api.Cluster{ClusterID: "c1", Version: "test", Leader: "1", Brokers: []api.Broker{{ID: "1", StartedAt: Time}}}, nil
}

func (m *Fake) Brokers(context.Context) ([]api.Broker, error) {
	return []api.Broker{{ID: "1", HTTP: "127.0.0.1:8640", Version: "test", StartedAt: Time}}, nil
}

func (m *Fake) Ready() error { return m.NotReady }
