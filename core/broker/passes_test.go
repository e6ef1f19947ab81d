package broker

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/vfs"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// TestPassesDoWhatChanged: a change of the metadata touches what it names and nothing else.
func TestPassesDoWhatChanged(t *testing.T) {
	b := start(t, Options{})
	stages := pushCommands(t, b)
	makeTopic(t, b, "stays", 2)
	makeTopic(t, b, "changes", 1)
	makeTopic(t, b, "derived", 1)
	if _, _, err := b.SetPipeline(t.Context(), "stays", api.PipelineSpec{Stages: stages}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.PutView(t.Context(), "seen", api.ViewSpec{Topic: "stays", Stages: stages}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.PutDerivation(t.Context(), "d", api.DerivationSpec{Topic: "stays", Output: "derived", Stages: stages}, nil); err != nil {
		t.Fatal(err)
	}
	stays := b.catalog.table().topics["stays"]
	state, pipeline, seen := stays.now(), stays.write.Current(), b.catalog.table().views["seen"]

	unchanged := func(what string) {
		t.Helper()
		now := b.catalog.table()
		if now.topics["stays"] != stays || stays.now() != state || stays.write.Current() != pipeline || now.views["seen"] != seen {
			t.Errorf("%s touches another topic", what)
		}
	}
	for what, change := range map[string]func() error{
		"creating and deleting a topic": func() error {
			if _, err := b.CreateTopic(t.Context(), api.TopicSpec{Name: "short-lived"}); err != nil {
				return err
			}
			return b.DeleteTopic(t.Context(), "short-lived")
		},
		"altering a topic": func() error {
			retention := "1000000"
			_, err := b.AlterTopic(t.Context(), "changes", api.TopicChange{Config: map[string]*string{"retention.bytes": &retention}})
			return err
		},
		"setting a pipeline": func() error {
			_, _, err := b.SetPipeline(t.Context(), "changes", api.PipelineSpec{Stages: stages}, nil)
			return err
		},
		"making a view": func() error {
			_, _, err := b.PutView(t.Context(), "another", api.ViewSpec{Topic: "changes", Stages: stages}, nil)
			return err
		},
		"pushing a module": func() error {
			_, _, err := b.PutModule(t.Context(), "identity", wasmtest.Identity())
			return err
		},
	} {
		if err := change(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		unchanged(what)
	}
	// What changes nothing does not even make a new table.
	b.reconciler.retry() // the pass that the newest module has asked for
	tab := b.catalog.table()
	for range 3000 { // several blocks
		if _, err := b.AllocateProducerID(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.reconciler.retry()
	if b.catalog.table() != tab {
		t.Error("producer ids make the broker look at its topics")
	}
	if _, err := b.AlterTopic(t.Context(), "stays", api.TopicChange{Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	if grown := stays.now(); grown == state || grown.places[1].replica != state.places[1].replica || len(grown.places) != 3 {
		t.Error("a topic that grew has other partitions, or not those that were added")
	}
}

// TestNothingWaitsForAPass holds a pass up while it opens a partition: requests, descriptions and producer ids
// do not wait for it, and who waits for a change of the metadata may give up.
func TestNothingWaitsForAPass(t *testing.T) {
	held := holdingObserver{entered: make(chan struct{}), leave: make(chan struct{})}
	b := start(t, Options{Observer: held})
	stages := pushCommands(t, b)
	makeTopic(t, b, "orders", 1)
	makeTopic(t, b, "derived", 1)
	if _, _, err := b.PutDerivation(t.Context(), "d", api.DerivationSpec{Topic: "orders", Output: "derived", Stages: stages}, nil); err != nil {
		t.Fatal(err)
	}
	created := make(chan error, 1)
	go func() {
		_, err := b.CreateTopic(context.Background(), api.TopicSpec{Name: "slow"})
		created <- err
	}()
	<-held.entered
	put(t, b, "orders", 0, "k1")
	await(t, b, "derived", 0, "k1")
	if _, err := b.AllocateProducerID(t.Context()); err != nil {
		t.Error(err)
	}
	if info, err := b.Derivation(t.Context(), "d"); err != nil || len(info.Progress) != 1 {
		t.Errorf("%+v, %v", info, err)
	}
	if infos, err := b.Topics(t.Context()); err != nil || len(infos) != 2 {
		t.Errorf("%+v, %v", infos, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := b.CreateTopic(ctx, api.TopicSpec{Name: "later"})
		gaveUp <- err
	}()
	for b.meta.Image().Topic("later") == nil { // the change is made, and waits to be served
	}
	cancel()
	wantCode(t, "who gives up", <-gaveUp, errcode.RequestTimedOut)
	close(held.leave)
	if err := <-created; err != nil {
		t.Error(err)
	}
	b.reconciler.retry()
	put(t, b, "slow", 0, "a")
	put(t, b, "later", 0, "a")
}

// holdingObserver holds up the opening of partitions of the topic "slow" until leave is closed.
type holdingObserver struct {
	noopObserver
	entered chan struct{} // closed when the first is held up
	leave   chan struct{}
}

func (o holdingObserver) Log(topicName string, _ int32) log.Observer {
	if topicName == "slow" {
		close(o.entered)
		<-o.leave
	}
	return nil
}

// TestDeletionThatFails: a topic whose files cannot be removed is gone for its users at once, the failure is
// told to who deleted it and to nobody else, and the removal is tried again.
func TestDeletionThatFails(t *testing.T) {
	var stuck atomic.Bool
	fsys := vfs.NewFaulty(vfs.OS(), func(op vfs.Op) error {
		if stuck.Load() && op.Kind == vfs.OpRemoveAll && strings.Contains(op.Name, "/gone.1") {
			return syscall.EIO
		}
		return nil
	})
	dir := t.TempDir()
	b := start(t, Options{DataDir: dir, FS: fsys})
	makeTopic(t, b, "gone", 2)
	stuck.Store(true)
	wantCode(t, "delete", b.DeleteTopic(t.Context(), "gone"), errcode.StorageFailed)
	_, err := b.ProduceBatches(t.Context(), "gone", 0, []byte("x"))
	wantCode(t, "produce", err, errcode.UnknownTopicOrPartition)
	makeTopic(t, b, "another", 1)
	if err := b.DeleteTopic(t.Context(), "another"); err != nil {
		t.Errorf("another topic's deletion: %v", err)
	}
	stuck.Store(false)
	b.reconciler.retry()
	if _, err := fsys.Stat(dir + "/partitions/gone.1"); err == nil {
		t.Error("the removal was not tried again")
	}
	for _, group := range b.stable.Groups() {
		if strings.HasPrefix(group, "partition/") {
			t.Errorf("the state of Raft group %s is left", group)
		}
	}
}

// TestOneFaultOfADeletion: a single disk error while a topic is deleted is over with the next try, and a new
// topic of that name is not concerned.
func TestOneFaultOfADeletion(t *testing.T) {
	for name, hits := range map[string]func(vfs.Op) bool{
		"files of a partition":   func(op vfs.Op) bool { return op.Kind == vfs.OpRemoveAll && strings.HasSuffix(op.Name, "/gone.1/0") },
		"directory of the topic": func(op vfs.Op) bool { return op.Kind == vfs.OpSyncDir && strings.HasSuffix(op.Name, "/gone.1") },
		"files of the topic":     func(op vfs.Op) bool { return op.Kind == vfs.OpRemoveAll && strings.HasSuffix(op.Name, "/gone.1") },
	} {
		t.Run(name, func(t *testing.T) {
			var faults atomic.Int32
			fsys := vfs.NewFaulty(vfs.OS(), func(op vfs.Op) error {
				if hits(op) && faults.Add(-1) >= 0 {
					return syscall.EIO
				}
				return nil
			})
			b := start(t, Options{DataDir: t.TempDir(), FS: fsys})
			makeTopic(t, b, "gone", 1)
			faults.Store(1)
			if err := b.DeleteTopic(t.Context(), "gone"); err != nil { // nil if another pass met the fault before its own
				wantCode(t, "delete", err, errcode.StorageFailed)
			}
			if faults.Load() >= 1 {
				t.Fatal("the fault was not met")
			}
			makeTopic(t, b, "gone", 1)
			if outcome, err := b.reconciler.reconcile(t.Context()); err != nil || len(outcome) > 0 || len(b.reconciler.leaving) > 0 {
				t.Errorf("without a fault: %v, %v, %d topics are left", outcome, err, len(b.reconciler.leaving))
			}
		})
	}
}

// BenchmarkAllocateProducerID is one id of an idempotent producer, on a broker with few or many topics.
func BenchmarkAllocateProducerID(b *testing.B) {
	for _, topics := range []int{0, 300} {
		b.Run(fmt.Sprint("topics=", topics), func(b *testing.B) {
			broker := start(b, Options{})
			for i := range topics {
				makeTopic(b, broker, fmt.Sprint("topic", i), 1)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := broker.AllocateProducerID(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAlterTopic is one change of one topic's configuration, with few or many topics beside it.
func BenchmarkAlterTopic(b *testing.B) {
	for _, topics := range []int{0, 300} {
		b.Run(fmt.Sprint("topics=", topics), func(b *testing.B) {
			broker := start(b, Options{})
			makeTopic(b, broker, "changes", 1)
			for i := range topics {
				makeTopic(b, broker, fmt.Sprint("topic", i), 1)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				retention := fmt.Sprint(1<<30 + n)
				if _, err := broker.AlterTopic(b.Context(), "changes", api.TopicChange{Config: map[string]*string{"retention.bytes": &retention}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
