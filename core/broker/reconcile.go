package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wasmill/wasmill/core/datadir"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/wasm/abi"
)

const (
	// startParallelism bounds the partitions that start at the same time.
	startParallelism = 16
	// readyWait is how long a partition may take to serve after it was opened.
	readyWait = 30 * time.Second
)

// reconcile makes the broker serve what the metadata says: it opens and removes partitions, compiles
// pipelines and starts and stops derivations, then shows the new table to requests in one step. It
// may be called again with the same or an older image, which changes nothing but tries again what failed.
func (b *Broker) reconcile(ctx context.Context, image *metadata.Image) error {
	b.reconcileMu.Lock()
	defer b.reconcileMu.Unlock()
	if b.ctx.Err() != nil {
		return b.ctx.Err()
	}
	if newest := b.meta.Image(); newest.Version() > image.Version() {
		image = newest
	}
	b.behind.Store(false)
	old := b.table.Load()
	next := &table{topics: map[string]*topic{}, views: map[string]*view{}, rolled: old.rolled}
	var errs []error
	for _, m := range image.Topics() {
		t := old.topics[m.Name]
		if t == nil || t.id != m.ID {
			t = newTopic(m)
		}
		next.topics[m.Name] = t
		errs = append(errs, b.reconcileTopic(ctx, t, m, next.rolled))
		b.reconcileWrite(ctx, t, image.Pipeline(m.Name))
	}
	for _, m := range image.Views() {
		next.views[m.Name] = b.reconcileView(ctx, old.views[m.Name], m, next.topics[m.Topic])
	}
	b.table.Store(next)
	b.retireViews(old, next)
	b.derivations.reconcile(b, image) // those of topics that go end first
	errs = append(errs, b.removeTopics(old, next))
	err := errors.Join(errs...)
	if err != nil {
		b.behind.Store(true)
	}
	return err
}

// reconcileTopic takes over a topic's configuration and opens the partitions that it lacks.
func (b *Broker) reconcileTopic(ctx context.Context, t *topic, m *metadata.Topic, rolled chan struct{}) error {
	t.meta.Store(m)
	config, err := metadata.ParseTopicConfig(m.Config)
	if err != nil {
		return fmt.Errorf("topic %q: %w", m.Name, err)
	}
	t.config.Store(&config)
	parts := t.partitions()
	var errs []error
	for _, p := range parts {
		errs = append(errs, p.Reconfigure(partitionConfig(config)))
	}
	if len(parts) < int(m.Partitions) {
		errs = append(errs, b.addPartitions(ctx, t, int(m.Partitions), config, rolled))
	}
	return errors.Join(errs...)
}

// addPartitions opens a topic's partitions from the first that is missing on: all of them or none.
func (b *Broker) addPartitions(ctx context.Context, t *topic, count int, config metadata.TopicConfig, rolled chan struct{}) error {
	parts := t.partitions()
	grown := make([]*partition.Partition, count)
	copy(grown, parts)
	var g errgroup.Group
	g.SetLimit(startParallelism)
	for i := len(parts); i < len(grown); i++ {
		g.Go(func() (err error) {
			grown[i], err = b.openPartition(ctx, t, int32(i), config, rolled)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		for _, p := range grown[len(parts):] {
			if p != nil {
				err = errors.Join(err, p.Close())
			}
		}
		return err
	}
	t.parts.Store(&grown)
	return nil
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

// dirTopic identifies the topic in the data directory.
func (t *topic) dirTopic() datadir.Topic { return datadir.Topic{Name: t.name, ID: uint64(t.id)} }

func (b *Broker) openPartition(ctx context.Context, t *topic, number int32, c metadata.TopicConfig, rolled chan struct{}) (*partition.Partition, error) {
	group := datadir.GroupName(uint64(t.id), number)
	o := partition.Options{
		Name: t.name + "/" + strconv.Itoa(int(number)), Group: group, FS: b.fs,
		Dir: b.dir.Partition(t.dirTopic(), number), ID: b.id,
		Stable: b.stable.Group(group), Recycler: b.recycler, Config: partitionConfig(c), Logger: b.logger,
		Observer: b.observer.Log(t.name, number),
		OnRoll: func() {
			select {
			case rolled <- struct{}{}:
			default:
			}
		},
	}
	p, err := partition.Open(o)
	if partition.IsDamage(err) {
		return partition.Damaged(o, err), nil
	}
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	if err := p.WaitReady(wait); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// reconcileWrite switches a topic's write pipeline in one step. One that cannot be loaded stands
// there with its error: writes are refused until it can, never let through unchecked.
func (b *Broker) reconcileWrite(ctx context.Context, t *topic, m *metadata.Pipeline) {
	current := t.write.Load()
	switch {
	case m == nil && current == nil:
		return
	case m == nil:
		t.write.Store(nil)
		current.release()
		return
	case current != nil && current.version == m.Version && current.err == nil:
		return
	}
	t.write.Store(b.load(ctx, m.Topic, m.Version, abi.PlaceWrite, m.Stages))
	current.release()
}

// load compiles a pipeline, or stands in for one that cannot be compiled.
func (b *Broker) load(ctx context.Context, name string, version uint64, place abi.Place, stages []metadata.Stage) *livePipeline {
	l, err := b.compile(ctx, name, version, place, stages)
	if err != nil {
		b.logger.Error("a pipeline cannot be loaded: it refuses everything until it can", "pipeline", name, "version", version, "error", err)
		b.behind.Store(true)
		l = &livePipeline{version: version, err: err}
		l.refs.Store(1)
	}
	return l
}

func (b *Broker) reconcileView(ctx context.Context, old *view, m *metadata.View, source *topic) *view {
	if old != nil && old.meta.Version == m.Version && old.source == source && old.read.err == nil {
		return old
	}
	return &view{meta: m, source: source, read: b.load(ctx, m.Name, m.Version, abi.PlaceView, m.Stages)}
}

func (b *Broker) retireViews(old, next *table) {
	for name, v := range old.views {
		if next.views[name] != v {
			v.read.release()
		}
	}
}

// removeTopics deletes the partitions of topics that are gone.
func (b *Broker) removeTopics(old, next *table) error {
	var errs []error
	for name, t := range old.topics {
		if next.topics[name] == t {
			continue
		}
		for i, p := range t.partitions() {
			errs = append(errs, p.Delete(), b.stable.DeleteGroup(datadir.GroupName(uint64(t.id), int32(i))))
		}
		t.write.Swap(nil).release() // not before: no record may pass unchecked
		errs = append(errs, b.dir.RemoveTopic(t.dirTopic()))
	}
	return errors.Join(errs...)
}

// closeTopics closes every partition and pipeline.
func (b *Broker) closeTopics() error {
	tab := b.table.Load()
	var g errgroup.Group
	g.SetLimit(startParallelism)
	var mu sync.Mutex
	var errs []error // all are told, where errgroup keeps the first
	for _, t := range tab.topics {
		for _, p := range t.partitions() {
			g.Go(func() error {
				err := p.Close()
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
				return nil
			})
		}
	}
	_ = g.Wait()
	for _, t := range tab.topics {
		t.write.Swap(nil).release()
	}
	for _, v := range tab.views {
		v.read.release()
	}
	return errors.Join(errs...)
}
