package broker

import (
	"context"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
)

// CreateTopic makes a topic; it takes records when the call returns.
func (b *Broker) CreateTopic(ctx context.Context, spec api.TopicSpec) (*api.Topic, error) {
	if spec.Replication > 1 {
		return nil, errcode.New(errcode.InvalidReplicationFactor,
			"create topic %q: replication %d needs as many brokers, this cluster has 1; leave it out or say 1", spec.Name, spec.Replication)
	}
	_, err := b.changes.serve(ctx, metadata.CreateTopic{
		Name: spec.Name, Partitions: spec.Partitions, Replication: spec.Replication, Config: spec.Config,
	}, spec.Name)
	if err != nil {
		return nil, err
	}
	return b.Topic(ctx, spec.Name)
}

// AlterTopic changes a topic's configuration or adds partitions.
func (b *Broker) AlterTopic(ctx context.Context, name string, change api.TopicChange) (*api.Topic, error) {
	command := metadata.AlterTopic{Name: name, Partitions: change.Partitions, Config: change.Config}
	if _, err := b.changes.serve(ctx, command, name); err != nil {
		return nil, err
	}
	return b.Topic(ctx, name)
}

// DeleteTopic deletes a topic and its records.
func (b *Broker) DeleteTopic(ctx context.Context, name string) error {
	_, err := b.changes.serve(ctx, metadata.DeleteTopic{Name: name}, name)
	return err
}

// Topics describes all topics by name, without the state of their partitions.
func (b *Broker) Topics(context.Context) ([]api.Topic, error) {
	tab, infos := b.catalog.table(), []api.Topic{}
	for _, m := range b.meta.Image().Topics() {
		if t := tab.topics[m.Name]; t != nil {
			infos = append(infos, t.now().describe())
		}
	}
	return infos, nil
}

// Topic describes a topic, or the one that a view shows, and the state of its partitions.
func (b *Broker) Topic(_ context.Context, name string) (*api.Topic, error) {
	t, v, err := b.catalog.source(name)
	if err != nil {
		return nil, err
	}
	info := t.describe()
	if v != nil {
		info.Name, info.ViewOf, info.PipelineVersion = name, t.name, v.meta.Version
	}
	for i := range t.places {
		info.State = append(info.State, t.places[i].describe(int32(i), b.id))
	}
	return &info, nil
}

// EachPartition calls visit for every partition that is to be served by this broker, for metrics. It may be
// called while the broker closes and afterwards; then it shows what there was.
func (b *Broker) EachPartition(visit func(topic string, state api.PartitionState)) {
	for t := range b.catalog.states {
		for i := range t.places {
			if at := &t.places[i]; at.leader == nil {
				visit(t.name, at.describe(int32(i), b.id))
			}
		}
	}
}

func (t *topicState) describe() api.Topic {
	info := topicShape(t.meta)
	info.Effective = t.config.Map()
	info.PipelineVersion = t.write.Current().Version()
	return info
}

// describe describes a partition that self, this broker, or another leads.
func (at *place) describe(number int32, self raft.ServerID) api.PartitionState {
	state := api.PartitionState{Partition: number, Leader: string(self)}
	if at.leader != nil {
		state.Leader = string(at.leader.id)
	}
	if p := at.replica; p != nil {
		bounds := p.Bounds()
		state.LogStartOffset, state.HighWatermark, state.SizeBytes = bounds.LogStart, bounds.HighWatermark, p.SizeBytes()
	}
	if err := at.problem(); err != nil {
		state.Error = err.Error()
	}
	return state
}
