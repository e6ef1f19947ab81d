package derive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/core/transform"
	"github.com/wasmill/wasmill/wasm/engine"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakePartition is a partition in memory, here or elsewhere.
type fakePartition struct {
	name string

	mu        sync.Mutex
	batches   []record.Batch
	next      int64
	logStart  int64
	advanced  chan struct{}
	positions map[string]partition.Position
	synced    int64         // the end at the last Sync
	relaxed   bool          // no more than that is durable
	syncError error         // of Sync
	fail      error         // of Position and Append
	noAnswer  error         // of Position alone
	hold      chan struct{} // what Fetch waits for; nil for nothing
	held      chan struct{} // gets an element when Fetch waits
}

func newPartition(name string) *fakePartition {
	return &fakePartition{name: name, advanced: make(chan struct{}), positions: map[string]partition.Position{}, held: make(chan struct{}, 1)}
}

func (p *fakePartition) Name() string { return p.name }

func (p *fakePartition) Bounds() partition.Bounds {
	p.mu.Lock()
	defer p.mu.Unlock()
	return partition.Bounds{LogStart: p.logStart, HighWatermark: p.next}
}

func (p *fakePartition) FetchDurable(dst []byte, offset int64, maxBytes int) (partition.Fetched, error) {
	p.mu.Lock()
	hold := p.hold
	p.mu.Unlock()
	if hold != nil {
		p.held <- struct{}{}
		<-hold
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := partition.Fetched{Batches: dst, Next: offset, Bounds: partition.Bounds{LogStart: p.logStart, HighWatermark: p.next}}
	if offset < p.logStart {
		return f, errcode.New(errcode.OffsetOutOfRange, "%d is before %d", offset, p.logStart)
	}
	for _, b := range p.batches {
		if b.NextOffset() > f.Next && (!p.relaxed || b.NextOffset() <= p.synced) && len(f.Batches) < maxBytes {
			f.Batches, f.Next = append(f.Batches, b...), b.NextOffset()
		}
	}
	return f, nil
}

func (p *fakePartition) Advanced(offset int64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next > offset {
		c := make(chan struct{})
		close(c)
		return c
	}
	return p.advanced
}

func (p *fakePartition) Position(_ context.Context, origin string) (partition.Position, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := errors.Join(p.fail, p.noAnswer); err != nil {
		return partition.Position{}, false, err
	}
	at, ok := p.positions[origin]
	return at, ok, nil
}

func (p *fakePartition) Append(_ context.Context, a partition.Append) (partition.Appended, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return partition.Appended{}, p.fail
	}
	for _, at := range a.Positions {
		if old, ok := p.positions[at.Origin]; ok && at.Next <= old.Next {
			return partition.Appended{BaseOffset: -1, Duplicate: true}, nil
		}
		p.positions[at.Origin] = at
	}
	for b, err := range record.All(slices.Clone(a.Data)) {
		if err != nil {
			return partition.Appended{}, err
		}
		b.SetBaseOffset(p.next)
		p.next = b.NextOffset()
		p.batches = append(p.batches, b)
	}
	close(p.advanced)
	p.advanced = make(chan struct{})
	return partition.Appended{}, nil
}

func (p *fakePartition) DurableEnd() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.relaxed {
		return p.synced
	}
	return p.next
}

func (p *fakePartition) Sync(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.syncError == nil {
		p.synced = p.next
	}
	return p.syncError
}

// values are the records' values in order.
func (p *fakePartition) values(t testing.TB) (values []string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.batches {
		values = append(values, recordtest.ValuesOf(t, b)...)
	}
	return values
}

// await waits until the partition has n records, and returns their values.
func (p *fakePartition) await(t testing.TB, n int) []string {
	t.Helper()
	for {
		p.mu.Lock()
		next, advanced := p.next, p.advanced
		p.mu.Unlock()
		if next >= int64(n) {
			return p.values(t)
		}
		<-advanced
	}
}

func (p *fakePartition) produce(t testing.TB, records ...record.Record) {
	t.Helper()
	if _, err := p.Append(t.Context(), partition.Append{Data: recordtest.Build(t, record.BuilderOptions{}, records...)}); err != nil {
		t.Fatal(err)
	}
}

func (p *fakePartition) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// cluster is topics of partitions, wherever those are.
type cluster struct {
	mu     sync.Mutex
	topics map[string][]*fakePartition
	gone   map[string]error // why partitions are not found, by name
}

func newCluster(counts map[string]int) *cluster {
	c := &cluster{topics: map[string][]*fakePartition{}, gone: map[string]error{}}
	for name, n := range counts {
		c.grow(name, n)
	}
	return c
}

func (c *cluster) grow(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.topics[name]); i < n; i++ {
		c.topics[name] = append(c.topics[name], newPartition(fmt.Sprint(name, "/", i)))
	}
}

func (c *cluster) at(name string, number int) *fakePartition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.topics[name][number]
}

func (c *cluster) lose(name string, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone[name] = why
}

func (c *cluster) Topic(name string) (transform.Topic, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	parts := c.topics[name]
	if parts == nil {
		return transform.Topic{}, errcode.New(errcode.UnknownTopicOrPartition, "there is no topic %q", name)
	}
	return transform.Topic{Name: name, Partitions: int32(len(parts)), MaxMessageBytes: 1 << 20, Turn: new(atomic.Uint32)}, nil
}

func (c *cluster) Destination(t transform.Topic, number int32) (Destination, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.topics[t.Name][number]
	if err := c.gone[p.name]; err != nil {
		return nil, err
	}
	return p, nil
}

// spec is a derivation of the source topic, with all of its partitions here.
func (c *cluster) spec(version uint64, startFrom string, stages ...metadata.Stage) Spec {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Spec{
		Derivation: &metadata.Derivation{
			ID: 7, Name: "d", Topic: "source", Output: "derived", Version: version, StartFrom: startFrom, Stages: stages,
		},
		Partitions: int32(len(c.topics["source"])),
	}
	for i, p := range c.topics["source"] {
		s.Sources = append(s.Sources, SourceAt{Number: int32(i), Source: p})
	}
	return s
}

// store has the module "commands"; others wait for compile and are missing then.
type store struct {
	hash, slow string
	wasm       []byte
	compiling  chan struct{}
	compile    chan struct{}
}

func (s *store) Get(_ context.Context, hash string) ([]byte, error) {
	if hash == s.slow {
		s.compiling <- struct{}{}
		<-s.compile
	}
	if hash != s.hash {
		return nil, errors.New("the module is lost")
	}
	return s.wasm, nil
}

var (
	commands = metadata.Stage{Module: "commands", Version: 1}
	lost     = metadata.Stage{Module: "lost", Version: 1}
)

func manage(t testing.TB, topics Topics) (*Manager, *store) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	e, err := engine.New(engine.Options{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	wasm := wasmtest.Commands(0)
	sum := sha256.Sum256(wasm)
	s := &store{
		hash: hex.EncodeToString(sum[:]), wasm: wasm, slow: hex.EncodeToString(make([]byte, 32)),
		compiling: make(chan struct{}), compile: make(chan struct{}),
	}
	image := metadata.NewImage()
	for _, command := range []metadata.Command{
		metadata.AddModule{Name: "commands", SHA256: s.hash, Size: 1, ABI: "wasmill-v1"},
		metadata.AddModule{Name: "lost", SHA256: s.slow, Size: 1, ABI: "wasmill-v1"},
	} {
		if image, _, err = metadata.Apply(image, metadata.Entry{At: time.UnixMilli(1), Command: command}); err != nil {
			t.Fatal(err)
		}
	}
	m := NewManager(Options{
		Topics: topics, Budget: record.NewBudget(admission.Default().Unpack), Logger: logger,
		Loader: transform.NewLoader(transform.LoaderOptions{
			Engine: e, Modules: s, Image: func() *metadata.Image { return image }, Logger: logger,
		}),
		Route: func(ctx context.Context) (context.Context, func(error)) { return ctx, func(error) {} },
	})
	t.Cleanup(func() {
		m.Close()
		m.Close()
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m, s
}

func wantValues(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// byPartition makes a record for each partition of a topic, by key.
func byPartition(prefix string, partitions int32) []record.Record {
	records := map[int32]record.Record{}
	for i := 0; len(records) < int(partitions); i++ {
		key := fmt.Append(nil, prefix, i)
		number := record.PartitionForKey(key, partitions)
		records[number] = record.Record{Timestamp: 1, Key: key, Value: fmt.Append(nil, prefix, number)}
	}
	var sorted []record.Record
	for _, number := range slices.Sorted(maps.Keys(records)) {
		sorted = append(sorted, records[number])
	}
	return sorted
}

// TestDestinationsFailAndReturn: the position of one output cannot be read, another takes no appends, a third
// is not found. The others get their records once, and so do these when they are back, however many attempts
// there were.
func TestDestinationsFailAndReturn(t *testing.T) {
	c := newCluster(map[string]int{"source": 1, "derived": 4})
	m, _ := manage(t, c)
	broken := errors.New("broken")
	c.lose("derived/1", errcode.New(errcode.NotLeaderOrFollower, "led elsewhere"))
	c.at("derived", 2).set(func() { c.topics["derived"][2].fail = broken })
	source := c.at("source", 0)
	source.produce(t, byPartition("k", 4)...)
	if !m.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartEarliest, commands)}) {
		t.Fatal("not complete")
	}
	wantValues(t, "derived/0", c.at("derived", 0).await(t, 1), "k0")
	wantValues(t, "derived/3", c.at("derived", 3).await(t, 1), "k3")
	for failed := false; !failed; { // the first attempt has its end
		progress, err := m.Progress(7)
		if err != nil || len(progress) != 1 || progress[0].NextOffset != 0 || progress[0].Lag != 4 {
			t.Fatalf("%+v, %v", progress, err)
		}
		failed = progress[0].Err != ""
	}
	source.produce(t, byPartition("K", 4)...)
	c.lose("derived/1", nil)
	c.at("derived", 2).set(func() { c.topics["derived"][2].fail = nil })
	for number := range 4 {
		wantValues(t, fmt.Sprint("derived/", number), c.at("derived", number).await(t, 2), fmt.Sprint("k", number), fmt.Sprint("K", number))
	}
	m.Close()
	if saved := source.positions["derivation/7/0"]; saved.Next != 8 {
		t.Errorf("the saved position is %d, want 8", saved.Next)
	}
}

// TestNothingIsWrittenUnseen: an output that has a part of a stretch already, and whose position cannot be
// read, gets nothing although it takes appends. When it answers again it gets what it lacks, once.
func TestNothingIsWrittenUnseen(t *testing.T) {
	c := newCluster(map[string]int{"source": 1, "derived": 1})
	m, _ := manage(t, c)
	source, derived := c.at("source", 0), c.at("derived", 0)
	source.produce(t, recordtest.Values("k0", "k1")...)
	derived.produce(t, recordtest.Values("k0")...) // and then the broker was killed
	derived.set(func() {
		derived.positions[origin] = partition.OffsetPosition(origin, 1)
		derived.noAnswer = errors.New("not the leader just now")
	})
	m.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartEarliest, commands)})
	for failed := false; !failed; {
		progress, err := m.Progress(7)
		if err != nil || len(progress) != 1 {
			t.Fatalf("%+v, %v", progress, err)
		}
		failed = progress[0].Err != ""
	}
	wantValues(t, "while its position cannot be read", derived.values(t), "k0")
	derived.set(func() { derived.noAnswer = nil })
	wantValues(t, "derived", derived.await(t, 2), "k0", "k1")
}

// TestProgressDoesNotWait: while a task is stopped, and while a pipeline is compiled, the progress is answered
// at once.
func TestProgressDoesNotWait(t *testing.T) {
	c := newCluster(map[string]int{"source": 1, "derived": 1})
	m, modules := manage(t, c)
	source := c.at("source", 0)
	if !m.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartEarliest, commands)}) {
		t.Fatal("not complete")
	}
	source.produce(t, recordtest.Values("k1")...)
	c.at("derived", 0).await(t, 1)
	leave := make(chan struct{})
	source.set(func() { source.hold = leave })
	source.produce(t, recordtest.Values("k2")...)
	<-source.held
	done := make(chan bool, 1)
	go func() { done <- m.Reconcile(context.Background(), []Spec{c.spec(2, metadata.StartEarliest, lost)}) }()
	<-modules.compiling
	if progress, err := m.Progress(7); err != nil || len(progress) != 1 || progress[0].NextOffset != 1 {
		t.Errorf("while the new version compiles: %+v, %v", progress, err)
	}
	close(modules.compile)
	for m.mustRun(7).ctx.Err() == nil { // the old one is told to stop, and cannot
	}
	if progress, err := m.Progress(7); err != nil || len(progress) != 1 {
		t.Errorf("while the old version stops: %+v, %v", progress, err)
	}
	source.set(func() { source.hold = nil })
	close(leave)
	if <-done {
		t.Error("a version that cannot be loaded counts as complete")
	}
	if progress, err := m.Progress(7); !errcode.Is(err, errcode.InvalidPipeline) || len(progress) != 0 {
		t.Errorf("of a version that cannot be loaded: %+v, %v", progress, err)
	}
	// It goes on where it was as soon as it can be loaded, with the same version or another.
	if !m.Reconcile(t.Context(), []Spec{c.spec(3, metadata.StartEarliest, commands)}) {
		t.Error("not complete")
	}
	wantValues(t, "derived", c.at("derived", 0).await(t, 2), "k1", "k2")
	if !m.Reconcile(t.Context(), nil) {
		t.Error("not complete")
	}
	if progress, err := m.Progress(7); progress != nil || err != nil {
		t.Errorf("of a derivation that is gone: %+v, %v", progress, err)
	}
}

func (m *Manager) mustRun(id uint64) *derivation {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running[id]
}

// TestSourceGrows: a derivation that begins at the latest record takes none before it of the partitions that
// there were, and all of those that are added; the tasks of the others go on without a restart. A partition
// that cannot be followed says so, and is followed from its latest record once it can.
func TestSourceGrows(t *testing.T) {
	c := newCluster(map[string]int{"source": 2, "derived": 1})
	m, _ := manage(t, c)
	reconcile := func(absent ...int32) {
		t.Helper()
		spec := c.spec(1, metadata.StartLatest, commands)
		for _, number := range absent {
			spec.Sources[number] = SourceAt{Number: number, Err: errors.New("damaged")}
		}
		if !m.Reconcile(t.Context(), []Spec{spec}) {
			t.Fatal("not complete")
		}
	}
	for number := range 2 {
		c.at("source", number).produce(t, recordtest.Values("k before")...)
	}
	reconcile(1)
	progress, err := m.Progress(7)
	if err != nil || len(progress) != 2 || progress[0].NextOffset != 1 || progress[0].Err != "" || progress[1].Partition != 1 || progress[1].Err != "damaged" {
		t.Errorf("%+v, %v", progress, err)
	}
	first := m.mustRun(7).tasks[0]
	c.grow("source", 3)
	c.at("source", 2).produce(t, recordtest.Values("k in the new one")...)
	reconcile(1)
	wantValues(t, "derived", c.at("derived", 0).await(t, 1), "k in the new one")
	c.at("source", 1).produce(t, recordtest.Values("k while it was damaged")...)
	reconcile()
	c.at("source", 1).produce(t, recordtest.Values("k after")...)
	wantValues(t, "derived", c.at("derived", 0).await(t, 2), "k in the new one", "k after")
	if tasks := m.mustRun(7).tasks; len(tasks) != 3 || tasks[0] != first {
		t.Errorf("%d tasks, or others", len(tasks))
	}
	if progress, err = m.Progress(7); err != nil || len(progress) != 3 || progress[1].Err != "" || progress[2].Partition != 2 {
		t.Errorf("%+v, %v", progress, err)
	}
}

// TestSourceGrowsWithANewVersion: a derivation from the latest record that is replaced knows which partitions
// it has followed before. One that was added meanwhile is derived as a whole.
func TestSourceGrowsWithANewVersion(t *testing.T) {
	c := newCluster(map[string]int{"source": 1, "derived": 1})
	m, _ := manage(t, c)
	m.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartLatest, commands)})
	c.grow("source", 2)
	added := c.at("source", 1)
	added.produce(t, recordtest.Values("k in the new one")...)
	m.Reconcile(t.Context(), []Spec{c.spec(2, metadata.StartLatest, commands, commands)})
	added.produce(t, recordtest.Values("k after")...)
	for derived := false; !derived; {
		progress, err := m.Progress(7)
		if err != nil || len(progress) != 2 {
			t.Fatalf("%+v, %v", progress, err)
		}
		derived = progress[1].NextOffset == 2
	}
	wantValues(t, "derived", c.at("derived", 0).values(t), "k in the new one", "k after")
}

// TestOrderPerKey: with as many partitions as the source the output keeps the numbers, otherwise the key
// decides, and records without one stay together.
func TestOrderPerKey(t *testing.T) {
	for outputs, want := range map[int]int32{2: 1, 3: record.PartitionForKey([]byte("key"), 3)} {
		c := newCluster(map[string]int{"source": 2, "derived": outputs})
		m, _ := manage(t, c)
		if !m.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartEarliest, commands)}) {
			t.Fatal("not complete")
		}
		c.at("source", 1).produce(t, record.Record{Timestamp: 1, Key: []byte("key"), Value: []byte("k")})
		wantValues(t, "with a key", c.at("derived", int(want)).await(t, 1), "k")
		c.at("source", 1).produce(t, recordtest.Values("k without")...)
		keyless := c.at("derived", 1)
		n := 1
		if want == 1 {
			n = 2
		}
		if got := keyless.await(t, n); got[n-1] != "k without" {
			t.Errorf("without a key: %q", got)
		}
		m.Close()
	}
}

// TestRetentionOvertakes: what retention has dropped is lost to the derivation, and it goes on behind it.
func TestRetentionOvertakes(t *testing.T) {
	c := newCluster(map[string]int{"source": 1, "derived": 1})
	source := c.at("source", 0)
	for i := range 4 {
		source.produce(t, recordtest.Values(fmt.Sprint("k", i))...)
	}
	source.positions["derivation/7/0"] = partition.OffsetPosition("derivation/7/0", 1)
	source.set(func() { source.logStart = 3 })
	m, _ := manage(t, c)
	if !m.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartEarliest, commands)}) {
		t.Fatal("not complete")
	}
	wantValues(t, "derived", c.at("derived", 0).await(t, 1), "k3")
}
