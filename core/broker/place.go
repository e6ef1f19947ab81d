package broker

import (
	"context"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/partition"
)

// place says where a partition is served. Exactly one of replica, leader, damage and failure is set. It never
// changes: a partition that moves gets another place.
type place struct {
	name    string               // topic/partition, for people
	replica *partition.Partition // here
	leader  *remote              // by another broker
	damage  *errcode.Error       // nowhere: its files here are damaged
	failure error                // nowhere yet: it could not be opened, which is tried again
}

// remote is another broker that leads a partition.
type remote struct {
	id   raft.ServerID
	http string // where its HTTP API is reached; "" when it is not known
}

// toRead is the replica to read from, or why the records cannot be read here.
func (at *place) toRead() (*partition.Partition, error) {
	if at.damage != nil {
		return nil, at.damage
	}
	return at.served()
}

// toWrite is the replica to write to, or why this broker does not take the records.
func (at *place) toWrite() (*partition.Partition, error) {
	if at.damage != nil {
		return nil, errcode.New(errcode.StorageFailed, "%w", at.damage)
	}
	return at.served()
}

// served is where every request learns that a partition is not, or not yet, served by this broker.
func (at *place) served() (*partition.Partition, error) {
	switch {
	case at.replica != nil:
		return at.replica, nil
	case at.leader != nil:
		e := errcode.New(errcode.NotLeaderOrFollower,
			"partition %s is led by broker %s; send the request there", at.name, at.leader.id).With("leader_id", string(at.leader.id))
		if at.leader.http != "" {
			e = e.With("leader", at.leader.http)
		}
		return nil, e
	}
	return nil, errcode.New(errcode.NotLeaderOrFollower,
		"partition %s is not served yet: it could not be opened, which is tried again (%w)", at.name, at.failure).
		With("retry_after_ms", 1000)
}

// problem is why the partition does not take writes here although it should; nil when it does, or when
// another broker leads it.
func (at *place) problem() error {
	switch {
	case at.replica != nil:
		return at.replica.Failure()
	case at.leader != nil:
		return nil
	}
	_, err := at.toWrite()
	return err
}

// destination is a partition that a request or a derivation writes to. It implements derive.Destination.
type destination struct {
	topic  string
	number int32
	at     *place
	phases phases
}

// Position implements derive.Destination.
func (d *destination) Position(ctx context.Context, origin string) (partition.Position, bool, error) {
	p, err := d.at.toWrite()
	if err != nil {
		return partition.Position{}, false, err
	}
	return p.Position(ctx, origin)
}

// Append implements derive.Destination: it writes and waits for the acknowledgement.
func (d *destination) Append(ctx context.Context, a partition.Append) (done partition.Appended, err error) {
	p, err := d.at.toWrite()
	if err != nil {
		return partition.Appended{}, err
	}
	ctx, ph := d.phases.begin(ctx, phaseAppend, d.topic, d.number)
	defer func() { ph.end(err) }()
	return p.Append(ctx, a)
}

// Sync implements derive.Destination.
func (d *destination) Sync(ctx context.Context) error {
	p, err := d.at.toWrite()
	if err != nil {
		return err
	}
	return p.Sync(ctx)
}
