package broker

import (
	"context"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
)

// propose changes the metadata and returns when this broker serves the change.
func (b *Broker) propose(ctx context.Context, c metadata.Command) (metadata.Result, error) {
	if b.ctx.Err() != nil {
		return metadata.Result{}, errcode.New(errcode.ShuttingDown, "the broker is shutting down; retry in a moment")
	}
	r, err := b.change(ctx, c)
	if err != nil {
		return r, err
	}
	// Whether the client still waits has no part in how the broker follows.
	err = b.reconcile(b.ctx, b.meta.Image())
	if err != nil && b.ctx.Err() != nil {
		err = errcode.New(errcode.ShuttingDown, "the change is made, and served after the next start: the broker is shutting down: %w", err)
	}
	return r, storageError(err)
}

// change changes the metadata where the broker has nothing to do for it.
func (b *Broker) change(ctx context.Context, c metadata.Command) (metadata.Result, error) {
	if err := b.needRoom(b.room(c)); err != nil {
		return metadata.Result{}, err
	}
	return b.meta.Propose(ctx, c)
}

// CreateTopic makes a topic; it takes records when the call returns.
func (b *Broker) CreateTopic(ctx context.Context, spec api.TopicSpec) (*api.Topic, error) {
	if spec.Replication > 1 {
		return nil, errcode.New(errcode.InvalidReplicationFactor,
			"create topic %q: replication %d needs as many brokers, this cluster has 1; leave it out or say 1", spec.Name, spec.Replication)
	}
	_, err := b.propose(ctx, metadata.CreateTopic{
		Name: spec.Name, Partitions: spec.Partitions, Replication: spec.Replication, Config: spec.Config,
	})
	if err != nil {
		return nil, err
	}
	return b.Topic(ctx, spec.Name)
}

// AlterTopic changes a topic's configuration or adds partitions.
func (b *Broker) AlterTopic(ctx context.Context, name string, change api.TopicChange) (*api.Topic, error) {
	if _, err := b.propose(ctx, metadata.AlterTopic{Name: name, Partitions: change.Partitions, Config: change.Config}); err != nil {
		return nil, err
	}
	return b.Topic(ctx, name)
}

// DeleteTopic deletes a topic and its records.
func (b *Broker) DeleteTopic(ctx context.Context, name string) error {
	_, err := b.propose(ctx, metadata.DeleteTopic{Name: name})
	return err
}

// Topics describes all topics by name, without the state of their partitions.
func (b *Broker) Topics(context.Context) ([]api.Topic, error) {
	tab, infos := b.table.Load(), []api.Topic{}
	for _, m := range b.meta.Image().Topics() {
		if t := tab.topics[m.Name]; t != nil {
			infos = append(infos, t.describe())
		}
	}
	return infos, nil
}

// Topic describes a topic, or the one that a view shows, and the state of its partitions.
func (b *Broker) Topic(_ context.Context, name string) (*api.Topic, error) {
	t, v, err := b.source(name)
	if err != nil {
		return nil, err
	}
	info := t.describe()
	if v != nil {
		info.Name, info.ViewOf, info.PipelineVersion = name, t.name, v.meta.Version
	}
	for i, p := range t.partitions() {
		info.State = append(info.State, b.describePartition(i, p))
	}
	return &info, nil
}

// EachPartition tells visit of every partition of this broker, for metrics. It may be called while the
// broker closes and afterwards; then it tells of what there was.
func (b *Broker) EachPartition(visit func(topic string, state api.PartitionState)) {
	for _, t := range b.table.Load().topics {
		for i, p := range t.partitions() {
			visit(t.name, b.describePartition(i, p))
		}
	}
}

func (b *Broker) describePartition(number int, p *partition.Partition) api.PartitionState {
	bounds := p.Bounds()
	state := api.PartitionState{
		Partition: int32(number), Leader: string(b.id), LogStartOffset: bounds.LogStart,
		HighWatermark: bounds.HighWatermark, SizeBytes: p.SizeBytes(),
	}
	if err := p.Failure(); err != nil {
		state.Error = err.Error()
	}
	return state
}

func (t *topic) describe() api.Topic {
	info := topicShape(t.meta.Load())
	info.Effective = t.config.Load().Map()
	if l := t.write.Load(); l != nil {
		info.PipelineVersion = l.version
	}
	return info
}

// AllocateProducerID gives out an id for an idempotent producer; its epoch is 0.
func (b *Broker) AllocateProducerID(ctx context.Context) (int64, error) {
	return b.ids.Next(ctx)
}

// Cluster describes the cluster.
func (b *Broker) Cluster(ctx context.Context) (*api.Cluster, error) {
	brokers, err := b.Brokers(ctx)
	if err != nil {
		return nil, err
	}
	image := b.meta.Image()
	return &api.Cluster{
		ClusterID: image.ClusterID(), Version: b.opts.Version, Leader: string(b.id), Brokers: brokers,
		Topics: len(image.Topics()), Views: len(image.Views()), Modules: len(image.Modules()),
	}, nil
}

// Brokers describes the brokers of the cluster: this one.
func (b *Broker) Brokers(context.Context) ([]api.Broker, error) {
	info := api.Broker{ID: string(b.id), HTTP: b.opts.Advertise, Version: b.opts.Version, StartedAt: b.startedAt}
	for _, t := range b.table.Load().topics {
		info.Partitions += len(t.partitions())
	}
	return []api.Broker{info}, nil
}
