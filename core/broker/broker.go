package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/controller"
	"github.com/wasmill/wasmill/core/datadir"
	"github.com/wasmill/wasmill/core/derive"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/transform"
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
	Observer  Observer     // nil: nothing is observed
	Tracer    trace.Tracer // nil: nothing is traced

	Admission       *admission.Controller // memory of requests; nil: one of the default size
	RecycleBytes    int64                 // dropped segment files kept for reuse; 0 for 256 MiB, -1 for none
	MaintainEvery   time.Duration         // retention and snapshots; 0 for 30 s
	EngineInstances int                   // Wasm instances per stage; 0 for one per processor
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.BrokerID == "" {
		o.BrokerID = "1"
	}
	if o.Observer == nil {
		o.Observer = noopObserver{}
	}
	if o.Tracer == nil {
		o.Tracer = noop.Tracer{}
	}
	if o.Admission == nil {
		o.Admission = admission.Default()
	}
	if o.RecycleBytes == 0 {
		o.RecycleBytes = 256 << 20
	}
	if o.MaintainEvery == 0 {
		o.MaintainEvery = 30 * time.Second
	}
	return o
}

// Broker is safe for concurrent use. Its methods' errors are, or wrap, *errcode.Error.
//
// It puts the parts together and answers requests. The parts know nothing of it: the way in is writer, the way
// out reader, both look into the catalog, which the reconciler keeps to what the metadata says.
type Broker struct {
	opts      Options
	id        raft.ServerID
	logger    *slog.Logger
	startedAt time.Time

	dir         *datadir.Dir
	stable      *stable.Store
	modules     *store.Store
	engine      *engine.Engine
	meta        *controller.Controller
	ids         *controller.ProducerIDs
	catalog     *catalog
	opener      *opener
	loader      *transform.Loader
	derivations *derive.Manager
	reconciler  *reconciler
	changes     *proposer
	maintenance *maintenance
	writer      *writer
	reader      *reader

	ctx    context.Context // ends when the broker closes
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	close  func(context.Context) error
}

// Open opens the data directory, making it when missing, starts every local partition and returns
// when all of them serve. A second broker on the same directory is refused.
func Open(ctx context.Context, o Options) (*Broker, error) {
	o = o.withDefaults()
	b := &Broker{opts: o, id: raft.ServerID(o.BrokerID), logger: o.Logger, startedAt: time.Now(), catalog: newCatalog()}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	var once sync.Once
	var closed error
	b.close = func(ctx context.Context) error {
		once.Do(func() { closed = b.shutdown(ctx) })
		return closed
	}
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(err, b.Close(ctx))
	}
	b.tasks.Go(b.reconciler.run)
	b.tasks.Go(b.reconciler.watchMetadata)
	b.tasks.Go(b.maintenance.run)
	return b, nil
}

func (b *Broker) open(ctx context.Context) (err error) {
	o := b.opts
	if b.dir, err = datadir.Open(o.FS, o.DataDir, o.Version); err != nil {
		return err
	}
	if err := b.openStores(); err != nil {
		return fmt.Errorf("open broker: %w", err)
	}
	if err := b.openMetadata(ctx); err != nil {
		return fmt.Errorf("open broker: %w", err)
	}
	if err := b.dir.Sweep(b.stable, deletedIn(b.meta.Image()), b.logger); err != nil {
		b.logger.Warn("what is left of deleted topics could not be removed; the next start tries again", "error", err)
	}
	b.compose()
	return b.reconciler.pass(ctx).joined()
}

// openStores opens what the parts keep their files in.
func (b *Broker) openStores() (err error) {
	o := b.opts
	b.opener = &opener{
		id: b.id, fs: o.FS, dir: b.dir, logger: b.logger, observer: o.Observer, rolled: make(chan struct{}, 1),
		appends: o.Admission.Appends, transport: b.transport,
	}
	if b.stable, err = stable.Open(o.FS, b.dir.Stable()); err != nil {
		return err
	}
	b.opener.stable = b.stable
	if o.RecycleBytes > 0 {
		if b.opener.recycler, err = log.OpenRecycler(o.FS, b.dir.Recycle(), o.RecycleBytes); err != nil {
			return err
		}
	}
	if b.modules, err = store.Open(o.FS, b.dir.Modules()); err != nil {
		return err
	}
	b.engine, err = engine.New(engine.Options{
		CacheDir: b.dir.CompileCache(), FS: o.FS, MaxInstances: o.EngineInstances, Logger: b.logger, Observer: o.Observer,
	})
	return err
}

// transport is that of every Raft group: each has one voter, this broker.
func (b *Broker) transport(string) group.Transport { return transport.NewLocal(b.id) }

// openMetadata opens the metadata group and waits until its image is the newest.
func (b *Broker) openMetadata(ctx context.Context) (err error) {
	b.meta, err = controller.Open(controller.Options{
		Dir: b.dir.Metadata(), FS: b.opts.FS, ID: b.id, Stable: b.stable.Group(controller.GroupName),
		Transport: b.transport, Logger: b.logger,
	})
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	if err := b.meta.WaitReady(wait); err != nil {
		return err
	}
	return nameCluster(ctx, b.meta)
}

// compose connects the parts.
func (b *Broker) compose() {
	o, unpack := b.opts, record.NewBudget(b.opts.Admission.Unpack)
	measured := phases{tracer: o.Tracer, observer: o.Observer}
	to := destinations{catalog: b.catalog, phases: measured}
	b.loader = transform.NewLoader(transform.LoaderOptions{
		Engine: b.engine, Modules: b.modules, Image: b.meta.Image, Logger: b.logger,
	})
	b.writer = &writer{destinations: to, observer: o.Observer, unpack: unpack, rewriter: transform.NewRewriter(unpack, to)}
	b.reader = &reader{
		catalog: b.catalog, phases: measured, observer: o.Observer, loader: b.loader, unpack: unpack,
		answers: o.Admission.Answers, lifetime: b.ctx,
	}
	b.derivations = derive.NewManager(derive.Options{
		Topics: to, Loader: b.loader, Budget: unpack, Logger: b.logger, Route: measured.route,
	})
	b.reconciler = newReconciler(reconciler{
		meta: b.meta, catalog: b.catalog, opener: b.opener, loader: b.loader, derivations: b.derivations,
		logger: b.logger, lifetime: b.ctx,
	})
	b.changes = &proposer{
		meta: b.meta, reconciler: b.reconciler, disk: freeSpace{fs: o.FS, dir: o.DataDir}, lifetime: b.ctx,
	}
	b.ids = controller.NewProducerIDs(b.changes.propose)
	b.maintenance = &maintenance{
		catalog: b.catalog, reconciler: b.reconciler, rolled: b.opener.rolled, every: o.MaintainEvery,
		logger: b.logger, lifetime: b.ctx,
	}
}

// nameCluster gives a new cluster its id.
func nameCluster(ctx context.Context, meta *controller.Controller) error {
	if meta.Image().ClusterID() != "" {
		return nil
	}
	_, err := meta.Propose(ctx, metadata.SetClusterInfo{ClusterID: rand.Text()})
	return err
}

// deletedIn reports which topics the metadata once had and has no longer. What it never had is not
// ours to remove: then it is the metadata that is not what it was.
func deletedIn(image *metadata.Image) func(topicID uint64) bool {
	return func(id uint64) bool {
		return image.Knew(metadata.TopicID(id)) && image.TopicByID(metadata.TopicID(id)) == nil
	}
}

// Close stops background work, closes the partitions after answering what they took, and releases
// the data directory. Every step is tried; the errors are joined. Idempotent.
func (b *Broker) Close(ctx context.Context) error { return b.close(ctx) }

func (b *Broker) shutdown(ctx context.Context) error {
	b.cancel()
	b.tasks.Wait() // the last pass of the reconciler is over: nothing starts any more
	if b.derivations != nil {
		b.derivations.Close()
	}
	errs := []error{b.catalog.close()}
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
