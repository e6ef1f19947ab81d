package broker

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/datadir"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/stable"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

const (
	// startParallelism bounds the partitions that start, or end, at the same time.
	startParallelism = 16
	// readyWait is how long a Raft group may take to serve after it was opened.
	readyWait = 30 * time.Second
)

// opener opens and removes the partitions of this broker.
type opener struct {
	id        raft.ServerID
	fs        vfs.FS
	dir       *datadir.Dir
	stable    *stable.Store
	recycler  *log.Recycler // may be nil
	logger    *slog.Logger
	observer  Observer
	appends   *admission.Budget
	transport func(group string) group.Transport
	rolled    chan struct{} // gets an element when some partition sealed a segment; holds one
}

// openMissing opens the partitions of a topic that have no place, or could not be opened before, each whatever
// becomes of the others. It fills places in.
func (o *opener) openMissing(ctx context.Context, t *topic, c metadata.TopicConfig, places []place) error {
	var g errgroup.Group
	g.SetLimit(startParallelism)
	for i := range places {
		if at := &places[i]; at.replica == nil && at.leader == nil && at.damage == nil {
			g.Go(func() error {
				*at = o.open(ctx, t, int32(i), c)
				return nil
			})
		}
	}
	_ = g.Wait() // places carry their own errors
	var errs []error
	for i := range places {
		errs = append(errs, places[i].failure)
	}
	return errors.Join(errs...)
}

// open opens a partition and waits until it serves.
func (o *opener) open(ctx context.Context, t *topic, number int32, c metadata.TopicConfig) place {
	at := place{name: t.name + "/" + strconv.Itoa(int(number))}
	name := datadir.GroupName(uint64(t.id), number)
	p, err := partition.Open(partition.Options{
		Name: at.name, Group: name, FS: o.fs, Dir: o.dir.Partition(t.dirTopic(), number), ID: o.id,
		Stable: o.stable.Group(name), Transport: o.transport, Recycler: o.recycler,
		Config: partitionConfig(c), Logger: o.logger,
		Observer: o.observer.Log(t.name, number), OnRoll: o.onRoll, Appends: o.appends,
	})
	switch {
	case partition.IsDamage(err):
		at.damage = partition.DamageError(at.name, err)
		o.logger.Error("a partition is damaged and not served; the others are", "partition", at.name, "error", err)
		return at
	case err != nil:
		at.failure = err
		return at
	}
	wait, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	if err := p.WaitReady(wait); err != nil {
		at.failure = errors.Join(err, p.Close())
		return at
	}
	at.replica = p
	return at
}

func (o *opener) onRoll() {
	select {
	case o.rolled <- struct{}{}:
	default: // maintenance is due already
	}
}

func partitionConfig(c metadata.TopicConfig) partition.Config {
	flush := log.FlushFsync
	if c.Flush == metadata.FlushRelaxed {
		flush = log.FlushRelaxed
	}
	return partition.Config{
		SegmentBytes: c.SegmentBytes, Flush: flush, RetentionBytes: c.RetentionBytes, RetentionAge: c.Retention,
	}
}

// remove deletes a topic's partitions and then everything that is left of the topic, damaged files too. It
// may be called again after a failure.
func (o *opener) remove(s *topicState) error {
	var errs []error
	for i := range s.places {
		if p := s.places[i].replica; p != nil {
			errs = append(errs, p.Delete())
		}
		errs = append(errs, o.stable.DeleteGroup(datadir.GroupName(uint64(s.id), int32(i))))
	}
	s.write.Clear() // not before: no record may pass unchecked
	return errors.Join(append(errs, o.dir.RemoveTopic(s.dirTopic()))...)
}
