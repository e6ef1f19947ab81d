package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/hashicorp/raft"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/wasmill/wasmill/core/controller"
	"github.com/wasmill/wasmill/core/datadir"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/stable"
	"github.com/wasmill/wasmill/raftstore/transport"
	"github.com/wasmill/wasmill/raftstore/vfs"
	"github.com/wasmill/wasmill/wasm/engine"
	"github.com/wasmill/wasmill/wasm/store"
)

// Options open a broker. Only DataDir and Logger must be set.
type Options struct {
	DataDir   string
	FS        vfs.FS // nil: the operating system's
	BrokerID  string // "" for "1"
	Advertise string // address under which clients reach this broker
	Version   string
	Logger    *slog.Logger
	Observer  Observer     // nil: nobody watches
	Tracer    trace.Tracer // nil: nothing is traced

	MaxFetchBytes   int64         // all fetch answers together, in memory; 0 for 256 MiB
	RecycleBytes    int64         // dropped segment files kept for reuse; 0 for 256 MiB, -1 for none
	MaintainEvery   time.Duration // retention and snapshots; 0 for 30 s
	EngineInstances int           // Wasm instances per stage; 0 for one per processor
}

func (o *Options) setDefaults() {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.BrokerID == "" {
		o.BrokerID = "1"
	}
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	if o.Tracer == nil {
		o.Tracer = noop.Tracer{}
	}
	if o.MaxFetchBytes == 0 {
		o.MaxFetchBytes = 256 << 20
	}
	if o.RecycleBytes == 0 {
		o.RecycleBytes = 256 << 20
	}
	if o.MaintainEvery == 0 {
		o.MaintainEvery = 30 * time.Second
	}
}

// Broker is safe for concurrent use. Its methods' errors are, or wrap, *errcode.Error.
type Broker struct {
	opts      Options
	id        raft.ServerID
	fs        vfs.FS
	logger    *slog.Logger
	observer  Observer
	startedAt time.Time

	dir      *datadir.Dir
	stable   *stable.Store
	recycler *log.Recycler
	meta     *controller.Controller
	ids      *controller.ProducerIDs
	engine   *engine.Engine
	modules  *store.Store

	fetchBudget *semaphore.Weighted
	unpack      *record.Budget

	table       atomic.Pointer[table]
	reconcileMu sync.Mutex  // one reconciliation at a time
	behind      atomic.Bool // the last one could not do everything that the metadata says
	derivations derivations

	ctx    context.Context // ends when the broker closes
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	close  func(context.Context) error
}

// Open opens the data directory, making it when missing, starts every local partition and returns
// when all of them serve. A second broker on the same directory is refused.
func Open(ctx context.Context, o Options) (*Broker, error) {
	o.setDefaults()
	b := &Broker{
		opts: o, id: raft.ServerID(o.BrokerID), fs: o.FS, logger: o.Logger, observer: o.Observer,
		startedAt: time.Now(), fetchBudget: semaphore.NewWeighted(o.MaxFetchBytes),
		unpack: record.NewBudget(),
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.table.Store(newTable())
	b.derivations.running = map[uint64]*derivation{}
	var once sync.Once
	var closed error
	b.close = func(ctx context.Context) error {
		once.Do(func() { closed = b.shutdown(ctx) })
		return closed
	}
	if err := b.openAll(ctx); err != nil {
		return nil, errors.Join(err, b.Close(ctx))
	}
	b.tasks.Add(2)
	go b.maintain()
	go b.follow()
	return b, nil
}

func (b *Broker) openAll(ctx context.Context) (err error) {
	if b.dir, err = datadir.Open(b.fs, b.opts.DataDir, b.opts.Version); err != nil {
		return err
	}
	if b.stable, err = stable.Open(b.fs, b.dir.Stable()); err != nil {
		return fmt.Errorf("open broker: %w", err)
	}
	if b.opts.RecycleBytes > 0 {
		b.recycler, err = log.OpenRecycler(b.fs, b.dir.Recycle(), b.opts.RecycleBytes)
		if err != nil {
			return fmt.Errorf("open broker: %w", err)
		}
	}
	if b.modules, err = store.Open(b.fs, b.dir.Modules()); err != nil {
		return fmt.Errorf("open broker: %w", err)
	}
	b.engine, err = engine.New(engine.Options{
		CacheDir: b.dir.CompileCache(), FS: b.fs, MaxInstances: b.opts.EngineInstances,
		Logger: b.logger, Observer: b.observer,
	})
	if err != nil {
		return fmt.Errorf("open broker: %w", err)
	}
	if err := b.openMetadata(ctx); err != nil {
		return fmt.Errorf("open broker: %w", err)
	}
	if err := b.nameCluster(ctx); err != nil {
		return fmt.Errorf("open broker: %w", err)
	}
	if err := b.dir.Sweep(b.stable, deletedIn(b.meta.Image()), b.logger); err != nil {
		b.logger.Warn("what is left of deleted topics could not be removed; the next start tries again", "error", err)
	}
	return b.reconcile(ctx, b.meta.Image())
}

// openMetadata opens the metadata group and waits until its image is the newest.
func (b *Broker) openMetadata(ctx context.Context) (err error) {
	b.meta, err = controller.Open(controller.Options{
		Dir: b.dir.Metadata(), FS: b.fs, ID: b.id, Stable: b.stable.Group(controller.GroupName),
		Transport: func(string) group.Transport { return transport.NewLocal(b.id) }, Logger: b.logger,
	})
	if err != nil {
		return err
	}
	b.ids = controller.NewProducerIDs(b.change)
	wait, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	return b.meta.WaitReady(wait)
}

// nameCluster gives a new cluster its id.
func (b *Broker) nameCluster(ctx context.Context) error {
	if b.meta.Image().ClusterID() != "" {
		return nil
	}
	_, err := b.meta.Propose(ctx, metadata.SetClusterInfo{ClusterID: rand.Text()})
	return err
}

// deletedIn reports which topics the metadata once had and has no longer. What it never had is not
// ours to remove: then it is the metadata that is not what it was.
func deletedIn(image *metadata.Image) func(topicID uint64) bool {
	return func(id uint64) bool {
		return image.Knew(metadata.TopicID(id)) && image.TopicByID(metadata.TopicID(id)) == nil
	}
}

// Ready tells why the broker does not serve, nil when it does.
func (b *Broker) Ready() error {
	if b.ctx.Err() != nil {
		return errcode.New(errcode.ShuttingDown, "the broker is shutting down")
	}
	for _, t := range b.table.Load().topics {
		for _, p := range t.partitions() {
			if err := p.Failure(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close stops background work, closes the partitions after answering what they took, and releases
// the data directory. Every step is tried; the errors are joined. Idempotent.
func (b *Broker) Close(ctx context.Context) error { return b.close(ctx) }

func (b *Broker) shutdown(ctx context.Context) error {
	b.cancel()
	b.tasks.Wait()
	b.reconcileMu.Lock() // the last one is over: nothing starts any more
	defer b.reconcileMu.Unlock()
	b.derivations.stop()
	errs := []error{b.closeTopics()}
	if b.meta != nil {
		errs = append(errs, b.meta.Close())
	}
	if b.engine != nil {
		errs = append(errs, b.engine.Close(ctx))
	}
	if b.stable != nil {
		errs = append(errs, b.stable.Close())
	}
	if b.dir != nil {
		errs = append(errs, b.dir.Close())
	}
	return errors.Join(errs...)
}

// maintain runs retention and snapshots, each partition's own when a segment rolled and all of them
// at an interval.
func (b *Broker) maintain() {
	defer b.tasks.Done()
	tick := time.NewTicker(b.opts.MaintainEvery)
	defer tick.Stop()
	for {
		var all bool
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
			all = true
			b.catchUp()
		case <-b.table.Load().rolled:
		}
		for _, t := range b.table.Load().topics {
			for _, p := range t.partitions() {
				if !all && !p.Rolled() {
					continue
				}
				if err := p.Maintain(time.Now()); err != nil && b.ctx.Err() == nil {
					b.logger.Warn("maintenance failed; it is tried again", "partition", p.Name(), "error", err)
				}
			}
		}
	}
}

// catchUp tries again what the metadata says and could not be done: there may be space now, or a file
// that was damaged may have been put back.
func (b *Broker) catchUp() {
	if !b.behind.Load() {
		return
	}
	if err := b.reconcile(b.ctx, b.meta.Image()); err != nil && b.ctx.Err() == nil {
		b.logger.Error("the broker does not yet serve what the metadata says; it tries again", "error", err)
	}
}

// follow reconciles the broker with every change of the metadata, whoever made it.
func (b *Broker) follow() {
	defer b.tasks.Done()
	image := b.meta.Image()
	for {
		next, _, err := b.meta.WaitChange(b.ctx, image)
		if err != nil {
			return
		}
		image = next
		if err := b.reconcile(b.ctx, image); err != nil && b.ctx.Err() == nil {
			b.logger.Error("the broker could not follow the metadata", "version", image.Version(), "error", err)
		}
	}
}
