package broker

import (
	"context"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
)

// Ready is why the broker does not serve, nil when it does.
func (b *Broker) Ready() error {
	if b.ctx.Err() != nil {
		return errcode.New(errcode.ShuttingDown, "the broker is shutting down")
	}
	for t := range b.catalog.states {
		for i := range t.places {
			// One that could not be opened is tried again, and its requests get an error to retry on: that is
			// no reason to send the requests of all others elsewhere.
			if at := &t.places[i]; at.failure == nil && at.problem() != nil {
				return at.problem()
			}
		}
	}
	return nil
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
	for t := range b.catalog.states {
		for i := range t.places {
			if t.places[i].leader == nil {
				info.Partitions++
			}
		}
	}
	return []api.Broker{info}, nil
}

// AllocateProducerID returns an id for an idempotent producer that nobody else has or will have; its epoch
// is 0.
func (b *Broker) AllocateProducerID(ctx context.Context) (int64, error) { return b.ids.Next(ctx) }
