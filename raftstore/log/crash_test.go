package log

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

var errLogPowerLoss = errors.New("power lost")

var logCrashSeeds = flag.Int("log-crash-seeds", 2, "random scripts per flush mode that the log's crash test runs")

const (
	crashDir     = "/data/orders-0"
	crashSegment = 12 << 10
)

// expectation is what a log may hold after a crash: the entries first..last, where last may be anything
// from minLast to maxLast, and first one of firsts.
type expectation struct {
	entries          map[uint64]*raft.Log
	minLast, maxLast uint64
	firsts           []uint64
}

// crashScript runs random operations on a log and keeps the expectation up to date: before an operation
// it covers every state in which a crash may leave it, after it only the one acknowledged.
type crashScript struct {
	rng  *rand.Rand
	want expectation
	last uint64
	term uint64
	fill byte
}

func newCrashScript(seed int64) *crashScript {
	return &crashScript{
		rng:  rand.New(rand.NewSource(seed)),
		want: expectation{entries: map[uint64]*raft.Log{}, firsts: []uint64{1}},
		term: 1,
	}
}

func crashOptions(fsys vfs.FS, flush FlushMode) (Options, error) {
	recycler, err := OpenRecycler(fsys, "/data/recycle", 64<<10)
	return Options{SegmentBytes: crashSegment, Flush: flush, Recycler: recycler, syncBehind: 5000, inline: true}, err
}

// run opens the log and does n operations, until one fails.
func (c *crashScript) run(fsys vfs.FS, flush FlushMode, n int) error {
	o, err := crashOptions(fsys, flush)
	if err != nil {
		return err
	}
	l, err := Open(fsys, crashDir, o)
	if err != nil {
		return err
	}
	for range n {
		if err := c.step(l, flush); err != nil {
			return err
		}
	}
	return l.Close()
}

func (c *crashScript) step(l *Log, flush FlushMode) error {
	switch p := c.rng.Intn(20); {
	case p < 14:
		return c.store(l, flush)
	case p < 15:
		return l.Reserve(c.rng.Intn(4000))
	case p < 17:
		return c.truncate(l)
	case p < 19:
		return c.retain(l)
	default:
		if err := l.Sync(); err != nil {
			return err
		}
		c.want.minLast = c.last
		return nil
	}
}

func (c *crashScript) store(l *Log, flush FlushMode) error {
	if c.rng.Intn(4) == 0 {
		c.term++
	}
	var entries []*raft.Log
	for i := range uint64(1 + c.rng.Intn(5)) {
		c.fill++
		e := command(c.last+1+i, c.term, recordtest.Opaque(int32(1+c.rng.Intn(3)), int64(c.fill), c.rng.Intn(1500), c.fill))
		if c.rng.Intn(6) == 0 {
			e = noop(c.last+1+i, c.term)
		}
		e.Extensions = bytes.Repeat([]byte{c.fill}, c.rng.Intn(12))
		entries = append(entries, e)
		c.want.entries[e.Index] = e
		c.want.maxLast = e.Index
	}
	if err := l.StoreLogs(entries); err != nil {
		return err
	}
	c.last = c.want.maxLast
	if flush == FlushFsync {
		c.want.minLast = c.last
	}
	return nil
}

func (c *crashScript) truncate(l *Log) error {
	first, _ := l.FirstIndex()
	if first == 0 {
		return nil
	}
	from := max(first, c.last-min(c.last, uint64(c.rng.Intn(12))))
	c.want.minLast = min(c.want.minLast, from-1)
	if err := l.DeleteRange(from, c.last); err != nil {
		return err
	}
	c.last, c.want.maxLast, c.want.minLast = from-1, from-1, from-1
	return nil
}

func (c *crashScript) retain(l *Log) error {
	st := l.state.Load()
	for _, s := range st.segments {
		c.want.firsts = append(c.want.firsts, s.baseIndex)
	}
	if _, err := l.Retain(Retention{MaxBytes: 20 << 10}, c.last); err != nil {
		return err
	}
	c.want.firsts = []uint64{l.state.Load().base.index + 1}
	return nil
}

// check opens what a crash left and compares it with the expectation. On success the expectation is
// what was found: it is acknowledged now.
func (c *crashScript) check(fsys vfs.FS) error {
	o, err := crashOptions(fsys, FlushFsync)
	if err != nil {
		return err
	}
	l, err := Open(fsys, crashDir, o)
	if err != nil {
		return err
	}
	defer l.Close()
	return c.compare(l)
}

// compare is check of a log that is open.
func (c *crashScript) compare(l *Log) error {
	first, last := l.state.Load().base.index+1, l.state.Load().tail().lastIndex
	if last < c.want.minLast || last > c.want.maxLast {
		return fmt.Errorf("the log ends at %d, expected %d to %d", last, c.want.minLast, c.want.maxLast)
	}
	known := false
	for _, f := range c.want.firsts {
		known = known || f == first
	}
	if !known {
		return fmt.Errorf("the log starts at %d, expected one of %v", first, c.want.firsts)
	}
	var got raft.Log
	for i := first; i <= last; i++ {
		if err := l.GetLog(i, &got); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if want := c.want.entries[i]; got.Term != want.Term || got.Type != want.Type ||
			!bytes.Equal(got.Data, want.Data) || !bytes.Equal(got.Extensions, want.Extensions) {
			return fmt.Errorf("entry %d is not what was stored last", i)
		}
	}
	if err := checkOffsets(l); err != nil {
		return err
	}
	c.want.minLast, c.want.maxLast, c.want.firsts, c.last = last, last, []uint64{first}, last
	if last > 0 && last >= first {
		c.term = max(c.term, got.Term)
	}
	return nil
}

// checkOffsets reads all records: they must have no holes.
func checkOffsets(l *Log) error {
	next, end := l.StartOffset(), l.EndOffset()
	for next < end {
		b, err := l.Read(nil, next, end, 4<<10)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return fmt.Errorf("nothing to read at offset %d of %d", next, end)
		}
		for batch, err := range record.All(b) {
			if err != nil {
				return err
			}
			if batch.BaseOffset() != next {
				return fmt.Errorf("offset %d where %d should be", batch.BaseOffset(), next)
			}
			next = batch.NextOffset()
		}
	}
	return nil
}

// crashEverywhere runs the script until each of its file system operations in turn is the one at which
// power is lost, looks at several states of the disk after it, goes on from there to a second crash,
// and returns the first violation of the expectation. wrap puts a deliberately broken part between the
// log and the disk.
func crashEverywhere(flush FlushMode, seed int64, steps int, wrap func(vfs.FS) vfs.FS) error {
	for k := uint64(1); ; k++ {
		finished, err := crashAt(flush, seed, steps, k, wrap)
		if err != nil {
			return fmt.Errorf("seed %d, power lost at operation %d: %w", seed, k, err)
		}
		if finished {
			return nil
		}
	}
}

func crashAt(flush FlushMode, seed int64, steps int, k uint64, wrap func(vfs.FS) vfs.FS) (finished bool, err error) {
	for variant := range int64(3) {
		mem := vfs.NewMem()
		script := newCrashScript(seed)
		err := script.run(wrap(vfs.NewFaulty(mem, vfs.FailFrom(k, errLogPowerLoss))), flush, steps)
		if err != nil && !errors.Is(err, errLogPowerLoss) {
			return false, fmt.Errorf("unexpected error: %w", err)
		}
		if err == nil {
			return true, nil
		}
		var rng *rand.Rand // the first variant loses all that is not synced
		if variant > 0 {
			rng = rand.New(rand.NewSource(seed*1000 + int64(k)*10 + variant))
		}
		disk := mem.CrashClone(rng)
		if err := script.check(wrap(disk)); err != nil {
			return false, fmt.Errorf("variant %d: %w", variant, err)
		}
		again := rand.New(rand.NewSource(int64(k) + variant))
		faulty := vfs.NewFaulty(disk, vfs.FailFrom(uint64(20+again.Intn(60)), errLogPowerLoss))
		if err := script.run(wrap(faulty), flush, 8); err != nil && !errors.Is(err, errLogPowerLoss) {
			return false, fmt.Errorf("variant %d, second run: %w", variant, err)
		}
		if err := script.check(wrap(disk.CrashClone(again))); err != nil {
			return false, fmt.Errorf("variant %d, second crash: %w", variant, err)
		}
	}
	return false, nil
}

func asIs(fsys vfs.FS) vfs.FS { return fsys }

func TestLogSurvivesCrashes(t *testing.T) {
	for _, c := range []struct {
		name  string
		flush FlushMode
	}{{"fsync", FlushFsync}, {"relaxed", FlushRelaxed}} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range int64(*logCrashSeeds) {
				if err := crashEverywhere(c.flush, seed+1, 30, asIs); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// logToReset is a log of several segments.
func logToReset(t *testing.T, fsys vfs.FS) *Log {
	l := openLog(t, fsys, Options{SegmentBytes: crashSegment})
	for i := uint64(1); i <= 20; i++ {
		store(t, l, command(i, 1, recordtest.Opaque(1, 1, 1000, 1)))
	}
	return l
}

// TestLogResetSurvivesCrashes: a reset happens or it does not.
func TestLogResetSurvivesCrashes(t *testing.T) {
	for k := uint64(1); ; k++ {
		mem := vfs.NewMem()
		faulty := vfs.NewFaulty(mem, nil)
		l := logToReset(t, faulty)
		faulty.SetHook(vfs.FailFrom(faulty.Ops()+k, errLogPowerLoss))
		before := faulty.Ops()
		err := l.Reset(500, 7, 900)
		if err == nil {
			err = l.StoreLog(command(501, 7, recordtest.Opaque(1, 1, 1000, 1)))
		}
		if err == nil && faulty.Ops() < before+k {
			return
		}
		disk := mem.CrashClone(rand.New(rand.NewSource(int64(k))))
		again := openLog(t, disk, Options{SegmentBytes: crashSegment})
		var stub raft.Log
		base := again.state.Load().base
		switch last, _ := again.LastIndex(); {
		case base == logBase{} && last == 20 && again.EndOffset() == 20:
		case base.index == 500 && (last == 501 || (last == 0 && err != nil)) && again.StartOffset() == 900:
			if err := again.GetLog(500, &stub); err != nil || stub.Term != 7 {
				t.Fatalf("operation %d: stub %+v, %v", k, stub, err)
			}
		default:
			t.Fatalf("operation %d: base %+v, last index %d", k, base, last)
		}
		if err := errors.Join(checkOffsets(again), again.Close()); err != nil {
			t.Fatalf("operation %d: %v", k, err)
		}
	}
}

// brokenFS changes what the log asks of its files.
type brokenFS struct {
	vfs.FS
	file func(vfs.File) vfs.File
}

func (b brokenFS) Create(name string) (vfs.File, error) { return b.wrap(b.FS.Create(name)) }
func (b brokenFS) Open(name string) (vfs.File, error)   { return b.wrap(b.FS.Open(name)) }

func (b brokenFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return b.file(f), nil
}

// unsyncedFile is a log that skips its syncs.
type unsyncedFile struct{ vfs.File }

func (unsyncedFile) SyncData() error { return nil }

// uncutFile is a log that does not void what lies behind a cut.
type uncutFile struct{ vfs.File }

func (f uncutFile) WriteAt(b []byte, off int64) (int, error) {
	if len(b) == cutSize && (off == cutPos || off == cutPos+sectorSize) {
		return len(b), nil
	}
	return f.File.WriteAt(b, off)
}

func TestCrashTestCatchesBrokenLogs(t *testing.T) {
	for name, file := range map[string]func(vfs.File) vfs.File{
		"no sync": func(f vfs.File) vfs.File { return unsyncedFile{f} },
		"no cut":  func(f vfs.File) vfs.File { return uncutFile{f} },
	} {
		t.Run(name, func(t *testing.T) {
			wrap := func(fsys vfs.FS) vfs.FS { return brokenFS{fsys, file} }
			for seed := range int64(10) {
				if err := crashEverywhere(FlushFsync, seed+1, 30, wrap); err != nil {
					t.Log("caught:", err)
					return
				}
			}
			t.Fatal("the crash test did not notice")
		})
	}
}

// TestLogOperationsFail fails each operation alone: the log must go on, or refuse all further entries,
// and must hold after a crash what it acknowledged.
func TestLogOperationsFail(t *testing.T) {
	failure := errors.New("input/output error")
	for k := uint64(1); ; k++ {
		mem := vfs.NewMem()
		script := newCrashScript(7)
		faulty := vfs.NewFaulty(mem, vfs.FailAt(k, failure))
		err := script.run(faulty, FlushFsync, 40)
		if err != nil && !errors.Is(err, failure) {
			t.Fatalf("operation %d: %v", k, err)
		}
		if faulty.Ops() < k {
			return
		}
		rng := rand.New(rand.NewSource(int64(k)))
		if err := script.check(mem.CrashClone(rng)); err != nil {
			t.Fatalf("operation %d failed: %v", k, err)
		}
	}
}

func TestLogFailsForGood(t *testing.T) {
	mem := vfs.NewMem()
	faulty := vfs.NewFaulty(mem, nil)
	var told []error
	l := openLog(t, faulty, Options{OnFailed: func(err error) { told = append(told, err) }})
	store(t, l, command(1, 1, recordtest.Opaque(1, 1, 100, 1)))
	failure := errors.New("input/output error")
	faulty.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpSyncData {
			return failure
		}
		return nil
	})
	if err := l.StoreLog(command(2, 1, recordtest.Opaque(1, 1, 100, 1))); !errors.Is(err, ErrFailed) || !errors.Is(err, failure) {
		t.Fatal(err)
	}
	faulty.SetHook(nil)
	if err := l.StoreLog(command(2, 1, recordtest.Opaque(1, 1, 100, 1))); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if _, err := l.Retain(Retention{MaxAge: time.Hour, Now: time.Now()}, 1); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if err := l.Reserve(10); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if len(told) != 1 {
		t.Fatalf("OnFailed was called %d times", len(told))
	}
	if last, _ := l.LastIndex(); last != 1 {
		t.Fatalf("last index %d", last)
	}
	if b, err := l.Read(nil, 0, 10, 1000); err != nil || len(b) == 0 {
		t.Fatalf("reads must go on: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
