package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"math/rand"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/transport"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a partition on a file system of the test's choice. The stable store outlives reopening, as
// its file would.
type rig struct {
	t            testing.TB
	fs           vfs.FS
	dir          string
	stable       raft.StableStore
	config       Config
	appends      *admission.Budget // nil: the default
	onLeadership func(bool)
	id           raft.ServerID
	transport    func(string) group.Transport
	timing       group.Timing
}

func newRig(t testing.TB, fsys vfs.FS) *rig {
	return &rig{
		t: t, fs: fsys, dir: "data/0", stable: raft.NewInmemStore(), id: "1",
		transport: func(string) group.Transport { return transport.NewLocal("1") },
		config:    Config{SegmentBytes: 256 << 10, RetentionBytes: -1, RetentionAge: -1},
	}
}

func (r *rig) tryOpen() (*Partition, error) {
	return Open(Options{
		Name: "orders/0", Group: "partition/1/0", FS: r.fs, Dir: r.dir, ID: r.id, Stable: r.stable,
		Transport: r.transport, Timing: r.timing, Config: r.config, Logger: slog.New(slog.DiscardHandler), OnRoll: func() {}, Appends: r.appends,
		OnLeadership: r.onLeadership,
	})
}

func (r *rig) open() *Partition {
	r.t.Helper()
	p, err := r.tryOpen()
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		r.t.Fatal(errors.Join(err, p.Close()))
	}
	return p
}

func (r *rig) close(p *Partition) {
	r.t.Helper()
	if err := p.Close(); err != nil {
		r.t.Fatal(err)
	}
}

func appendValues(t testing.TB, p *Partition, producer *record.Producer, values ...string) Appended {
	t.Helper()
	done, err := p.Append(t.Context(), Append{Data: batchOf(t, 0, producer, values...)})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// values reads everything from offset on.
func values(t testing.TB, p *Partition, offset int64) []string {
	t.Helper()
	var out []string
	for {
		f, err := p.Fetch(nil, offset, 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Batches) == 0 {
			return out
		}
		out = append(out, recordtest.ValuesFrom(t, f.Batches, offset)...)
		offset = f.Next
	}
}

func wantCode(t testing.TB, err error, code errcode.Code) *errcode.Error {
	t.Helper()
	if !errcode.Is(err, code) {
		t.Fatalf("error %v; want %v", err, code)
	}
	return errcode.From(err)
}

func TestAppendFetchReopen(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	if at := appendValues(t, p, nil, "a", "b").BaseOffset; at != 0 {
		t.Fatalf("first offset %d, want 0", at)
	}
	if at := appendValues(t, p, nil, "c").BaseOffset; at != 2 {
		t.Fatalf("second offset %d, want 2", at)
	}
	r.close(p)
	p = r.open()
	defer r.close(p)
	if at := appendValues(t, p, nil, "d").BaseOffset; at != 3 {
		t.Fatalf("offset after reopening %d, want 3: no-ops and configurations take none", at)
	}
	if got := strings.Join(values(t, p, 1), ""); got != "bcd" {
		t.Errorf("read from 1: %q, want bcd", got)
	}
	if b := p.Bounds(); b != (Bounds{LogStart: 0, HighWatermark: 4}) {
		t.Errorf("bounds %+v", b)
	}
}

func TestFetchOutOfRangeTellsBothBounds(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	appendValues(t, p, nil, "a")
	for _, offset := range []int64{-1, 2, 99} {
		_, err := p.Fetch(nil, offset, 1)
		e := wantCode(t, err, errcode.OffsetOutOfRange)
		if e.Fields["log_start_offset"] != int64(0) || e.Fields["high_watermark"] != int64(1) {
			t.Errorf("fields %v", e.Fields)
		}
	}
	if f, err := p.Fetch(nil, 1, 1); err != nil || len(f.Batches) != 0 {
		t.Errorf("at the high watermark: %d bytes, %v; want none", len(f.Batches), err)
	}
}

// TestConcurrentAppends has many producers, small and large requests mixed, and checks that every
// acknowledged batch lies exactly at the offset that its producer was told.
func TestConcurrentAppends(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	const writers, each = 8, 40
	var mu sync.Mutex
	at := map[int64]string{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				value := fmt.Sprintf("%d/%d", w, i)
				if i%10 == 9 {
					value += strings.Repeat("x", 2*coalesceBelow)
				}
				done, err := p.Append(t.Context(), Append{Data: batchOf(t, 0, nil, value)})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				at[done.BaseOffset] = value
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	all := values(t, p, 0)
	if len(all) != writers*each || len(at) != writers*each {
		t.Fatalf("%d records, %d distinct offsets; want %d of both", len(all), len(at), writers*each)
	}
	for offset, value := range at {
		if all[offset] != value {
			t.Fatalf("offset %d holds %.20q, its producer wrote %.20q", offset, all[offset], value)
		}
	}
}

// TestIdempotentPipelining sends an idempotent producer's batches with several in flight, each of them
// twice, in the manner of a client that retries after losing answers. A batch that comes too early is sent
// again; one that is too old to be remembered is recognised by the sequence that the refusal expects.
func TestIdempotentPipelining(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	const batches = 60
	var wg sync.WaitGroup
	started := make(chan struct{}, 4)
	for i := range batches {
		data := batchOf(t, 0, &record.Producer{ID: 1, BaseSequence: int32(i)}, fmt.Sprint(i))
		started <- struct{}{}
		sent := make(chan struct{})
		wg.Go(func() {
			defer func() { <-started }()
			for attempt := range 2 {
				copied := bytes.Clone(data)
				if attempt == 0 {
					close(sent)
				}
				done, err := p.Append(t.Context(), Append{Data: copied})
				for expectedSequence(err) <= int32(i) { // overtaken on the way: a client sends again
					done, err = p.Append(t.Context(), Append{Data: copied})
				}
				if attempt == 1 && expectedSequence(err) < math.MaxInt32 {
					continue // more than five batches late
				}
				if err != nil || done.BaseOffset != int64(i) {
					t.Errorf("batch %d, attempt %d: offset %d, %v", i, attempt, done.BaseOffset, err)
				}
			}
		})
		<-sent
	}
	wg.Wait()
	if got := values(t, p, 0); len(got) != batches {
		t.Errorf("%d records, want %d: repetitions must write nothing", len(got), batches)
	}
}

// expectedSequence is what an OUT_OF_ORDER_SEQUENCE expects, and of anything else the largest.
func expectedSequence(err error) int32 {
	if !errcode.Is(err, errcode.OutOfOrderSequence) {
		return math.MaxInt32
	}
	return errcode.From(err).Fields["expected_sequence"].(int32)
}

// TestUnknownProducerBeginsWithZero: a batch that overtakes a producer's first one is refused. If it were written, the
// first one would be taken for a repetition and never be.
func TestUnknownProducerBeginsWithZero(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	first, second := &record.Producer{ID: 7}, &record.Producer{ID: 7, BaseSequence: 1}
	for range 2 {
		if _, err := p.Peek(batchOf(t, 0, second, "second")); expectedSequence(err) != 0 {
			t.Errorf("peeking at the second batch: %v", err)
		}
		if _, err := p.Append(t.Context(), Append{Data: batchOf(t, 0, second, "second")}); expectedSequence(err) != 0 {
			t.Errorf("the second batch: %v", err)
		}
	}
	if done := appendValues(t, p, first, "first"); done.Duplicate || done.BaseOffset != 0 {
		t.Errorf("the first batch: %+v", done)
	}
	appendValues(t, p, second, "second")
	if got := strings.Join(values(t, p, 0), ","); got != "first,second" {
		t.Errorf("the records are %q", got)
	}
}

// TestOverlapIsRefused: a batch of which a part is written is neither written nor answered as a repetition.
func TestOverlapIsRefused(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	appendValues(t, p, &record.Producer{ID: 7}, "a", "b")
	_, err := p.Append(t.Context(), Append{Data: batchOf(t, 0, &record.Producer{ID: 7}, "a", "b", "c")})
	if e := wantCode(t, err, errcode.OverlappingSequence); e.Fields["expected_sequence"] != int32(2) {
		t.Errorf("fields %v", e.Fields)
	}
	if done := appendValues(t, p, &record.Producer{ID: 7, BaseSequence: 1}, "b"); !done.Duplicate || done.BaseOffset != -1 {
		t.Errorf("a part of what is written: %+v", done)
	}
	for i := range int32(keptBatches) {
		appendValues(t, p, &record.Producer{ID: 7, BaseSequence: 2 + i}, "c")
	}
	_, err = p.Append(t.Context(), Append{Data: batchOf(t, 0, &record.Producer{ID: 7}, "a", "b")})
	if expectedSequence(err) != 2+keptBatches {
		t.Errorf("what is not remembered any more: %v", err)
	}
	if got := strings.Join(values(t, p, 0), ""); got != "abccccc" {
		t.Errorf("the records are %q", got)
	}
}

func TestSequencesSurviveReopening(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	appendValues(t, p, &record.Producer{ID: 1, Epoch: 2}, "a")
	r.close(p)
	p = r.open()
	defer r.close(p)
	if done := appendValues(t, p, &record.Producer{ID: 1, Epoch: 2}, "a"); !done.Duplicate || done.BaseOffset != 0 {
		t.Errorf("repetition after reopening: %+v", done)
	}
	_, err := p.Append(t.Context(), Append{Data: batchOf(t, 0, &record.Producer{ID: 1, Epoch: 2, BaseSequence: 5}, "f")})
	if e := wantCode(t, err, errcode.OutOfOrderSequence); e.Fields["expected_sequence"] != int32(1) {
		t.Errorf("fields %v", e.Fields)
	}
	_, err = p.Append(t.Context(), Append{Data: batchOf(t, 0, &record.Producer{ID: 1, Epoch: 1, BaseSequence: 1}, "b")})
	wantCode(t, err, errcode.InvalidProducerEpoch)
}

func TestPositionsMakeAppendsExactlyOnce(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	position := Position{Origin: "derivation/1/0", Kind: PositionOffset, Next: 10}
	for range 2 {
		if _, err := p.Append(t.Context(), Append{Data: batchOf(t, 0, nil, "a"), Positions: []Position{position}}); err != nil {
			t.Fatal(err)
		}
	}
	r.close(p)
	p = r.open()
	defer r.close(p)
	done, err := p.Append(t.Context(), Append{Data: batchOf(t, 0, nil, "a"), Positions: []Position{position}})
	if err != nil || !done.Duplicate {
		t.Errorf("third time: %+v, %v; want a duplicate", done, err)
	}
	if got := values(t, p, 0); len(got) != 1 {
		t.Errorf("%d records, want 1", len(got))
	}
	if saved, ok, err := p.Position(t.Context(), position.Origin); err != nil || !ok || saved != position {
		t.Errorf("position %+v, %v, %v", saved, ok, err)
	}
}

func TestRetention(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	r.config.SegmentBytes, r.config.RetentionBytes = 64<<10, 256<<10
	p := r.open()
	big := strings.Repeat("x", 16<<10)
	for range 100 {
		appendValues(t, p, nil, big)
		if p.Rolled() {
			if err := p.Maintain(time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := p.Bounds()
	if b.LogStart == 0 || p.SizeBytes() > 512<<10 {
		t.Fatalf("nothing was dropped: log start %d, %d bytes", b.LogStart, p.SizeBytes())
	}
	_, err := p.Fetch(nil, b.LogStart-1, 1)
	wantCode(t, err, errcode.OffsetOutOfRange)
	r.close(p)
	p = r.open()
	defer r.close(p)
	if again := p.Bounds(); again != b {
		t.Errorf("bounds after reopening %+v, before %+v", again, b)
	}
	if got := values(t, p, b.LogStart); len(got) != int(b.HighWatermark-b.LogStart) {
		t.Errorf("%d records of %d", len(got), b.HighWatermark-b.LogStart)
	}
}

func TestOffsetForTime(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	defer r.close(p)
	for i := range 50 {
		data := recordtest.Build(t, record.BuilderOptions{},
			record.Record{Timestamp: int64(1000 + 20*i)}, record.Record{Timestamp: int64(1010 + 20*i)})
		if _, err := p.Append(t.Context(), Append{Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ ms, want int64 }{{0, 0}, {1000, 0}, {1001, 1}, {1010, 1}, {1011, 2}, {1490, 49}, {1990, 99}, {1991, 100}} {
		if got, err := p.OffsetForTime(t.Context(), time.UnixMilli(tt.ms)); err != nil || got != tt.want {
			t.Errorf("time %d: offset %d, %v; want %d", tt.ms, got, err, tt.want)
		}
	}
}

func TestAdvancedWakesReaders(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	woken := make(chan struct{})
	wait := p.Advanced(0)
	go func() { <-wait; close(woken) }()
	appendValues(t, p, nil, "a")
	<-woken
	<-p.Advanced(0) // past it already
	end := p.Advanced(1)
	r.close(p)
	<-end // closing ends every wait
}

// TestDeletedPartitionTurnsReadersAway: those who waited and those who come later learn that there is
// nothing to wait for.
func TestDeletedPartitionTurnsReadersAway(t *testing.T) {
	r := newRig(t, vfs.NewMem())
	p := r.open()
	appendValues(t, p, nil, "a")
	end := p.Advanced(1)
	var readers sync.WaitGroup
	started := make(chan struct{})
	for i := range 4 {
		readers.Go(func() {
			for n := 0; ; n++ {
				f, err := p.Fetch(nil, int64(i%2), 1<<10)
				if err != nil {
					if !errcode.Is(err, errcode.UnknownTopicOrPartition) {
						t.Error(err)
					}
					return
				}
				if i == 0 && len(f.Batches) == 0 {
					t.Error("a read of an open partition found nothing")
				}
				if n == 100 {
					started <- struct{}{}
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	if err := p.Delete(); err != nil {
		t.Fatal(err)
	}
	<-end
	readers.Wait()
	_, err := p.Fetch(nil, 1, 1)
	wantCode(t, err, errcode.UnknownTopicOrPartition)
	_, err = p.OffsetForTime(t.Context(), time.Now())
	wantCode(t, err, errcode.UnknownTopicOrPartition)
	_, err = p.Append(t.Context(), Append{Data: batchOf(t, 0, nil, "late")})
	wantCode(t, err, errcode.UnknownTopicOrPartition)
	if err := p.Maintain(time.Now()); err != nil {
		t.Errorf("maintenance of what is gone: %v", err)
	}
	if _, err := r.fs.Stat("data/0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the partition's directory: %v", err)
	}
}

// TestDiskFull fills the file system: writes are refused with DISK_FULL, reads go on, and writes
// succeed again when there is space.
func TestDiskFull(t *testing.T) {
	fsys := vfs.NewMem(vfs.WithCapacity(6 << 20))
	ballast(t, fsys, 3<<20)
	r := newRig(t, fsys)
	p := r.open()
	defer r.close(p)
	big, written := strings.Repeat("x", 32<<10), 0
	var err error
	for err == nil {
		if _, err = p.Append(t.Context(), Append{Data: batchOf(t, 0, nil, big)}); err == nil {
			written++
		}
	}
	wantCode(t, err, errcode.DiskFull)
	if p.Failure() != nil {
		t.Fatalf("a full disk must pass: %v", p.Failure())
	}
	if got := values(t, p, 0); len(got) != written {
		t.Fatalf("%d records are readable, %d were acknowledged", len(got), written)
	}
	if err := fsys.Remove("ballast"); err != nil {
		t.Fatal(err)
	}
	appendValues(t, p, nil, "again")
	if got := values(t, p, 0); len(got) != written+1 {
		t.Errorf("%d records, want %d", len(got), written+1)
	}
}

// TestFailedSyncStopsThePartition: after a failed fsync nobody knows what is on disk, so the partition
// takes nothing more, says so, and still serves what was acknowledged before.
func TestFailedSyncStopsThePartition(t *testing.T) {
	var mu sync.Mutex
	broken := false
	fsys := vfs.NewFaulty(vfs.NewMem(), func(op vfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if broken && (op.Kind == vfs.OpSync || op.Kind == vfs.OpSyncData) {
			return syscall.EIO
		}
		return nil
	})
	r := newRig(t, fsys)
	p := r.open()
	appendValues(t, p, nil, "kept")
	mu.Lock()
	broken = true
	mu.Unlock()
	_, err := p.Append(t.Context(), Append{Data: batchOf(t, 0, nil, "lost")})
	wantCode(t, err, errcode.StorageFailed)
	mu.Lock()
	broken = false
	mu.Unlock()
	_, err = p.Append(t.Context(), Append{Data: batchOf(t, 0, nil, "after")})
	wantCode(t, err, errcode.StorageFailed)
	if p.Failure() == nil {
		t.Error("the partition does not say that it failed")
	}
	if got := values(t, p, 0); len(got) != 1 || got[0] != "kept" {
		t.Errorf("read %q, want what was acknowledged", got)
	}
	_ = p.Close() // it may well complain
	p = r.open()
	defer r.close(p)
	appendValues(t, p, nil, "new")
	if got := values(t, p, 0); got[0] != "kept" || got[len(got)-1] != "new" {
		t.Errorf("after reopening: %q", got)
	}
}

// TestCrash loses power at random moments, with and without the sync that an acknowledgement stands
// for. The second is the deliberately broken variant: the check must notice it.
func TestCrash(t *testing.T) {
	if lost := crashOften(t, log.FlushFsync); lost != 0 {
		t.Errorf("%d acknowledged records were lost", lost)
	}
	if lost := crashOften(t, log.FlushRelaxed); lost == 0 {
		t.Error("without fsync nothing was ever lost: this test proves nothing")
	}
}

func crashOften(t *testing.T, flush log.FlushMode) (lost int) {
	const seed = 7
	rng := rand.New(rand.NewSource(seed))
	t.Logf("seed %d", seed)
	for range 25 {
		fsys := vfs.NewMem()
		r := newRig(t, fsys)
		r.config.Flush = flush
		p := r.open()
		acknowledged := 1 + rng.Intn(40)
		for i := range acknowledged {
			appendValues(t, p, nil, fmt.Sprint(i)+strings.Repeat("x", rng.Intn(4000)))
		}
		crashed := fsys.CrashClone(rng)
		r.close(p)
		r.fs = crashed
		p = r.open()
		got := values(t, p, 0)
		for i, v := range got {
			if i < acknowledged && !strings.HasPrefix(v, fmt.Sprint(i)) {
				t.Fatalf("offset %d holds %.10q", i, v)
			}
		}
		lost += max(acknowledged-len(got), 0)
		r.close(p)
	}
	return lost
}
