package broker_test

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/replica/replicatest"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/vfs"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// lowDisk tells of as much free space as the test wants.
type lowDisk struct {
	vfs.FS
	free atomic.Uint64
}

func (d *lowDisk) FreeBytes(string) (uint64, error) { return d.free.Load(), nil }

// TestMetadataOnAFullDisk: what takes space is refused before anything has changed, what gives space is
// let through, and records go on where there is room for them.
func TestMetadataOnAFullDisk(t *testing.T) {
	disk := &lowDisk{FS: vfs.OS()}
	disk.free.Store(1 << 40)
	b := openWith(t, broker.Options{DataDir: t.TempDir(), FS: disk})
	createTopic(t, b, "orders", 1)
	createTopic(t, b, "unwanted", 1)
	stage := commands(t, b)
	before, err := b.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	disk.free.Store(100 << 10)
	for name, change := range map[string]func() error{
		"create a topic": func() error {
			_, err := b.CreateTopic(t.Context(), api.TopicSpec{Name: "more"})
			return err
		},
		"add partitions": func() error {
			_, err := b.AlterTopic(t.Context(), "orders", api.TopicChange{Partitions: 2})
			return err
		},
		"push a module": func() error {
			_, _, err := b.PutModule(t.Context(), "identity", wasmtest.Identity())
			return err
		},
		"set a pipeline": func() error {
			_, _, err := b.SetPipeline(t.Context(), "orders", api.PipelineSpec{Stages: []api.Stage{stage}}, nil)
			return err
		},
		"allocate a producer id": func() error {
			_, err := b.AllocateProducerID(t.Context())
			return err
		},
	} {
		if err := change(); !errcode.Is(err, errcode.DiskFull) {
			t.Errorf("%s: %v, want DISK_FULL", name, err)
		}
	}
	after, err := b.Cluster(t.Context())
	if err != nil || after.Topics != before.Topics || after.Modules != before.Modules {
		t.Errorf("the cluster went from %+v to %+v (%v)", before, after, err)
	}
	_, err = b.Pipeline(t.Context(), "orders")
	wantCode(t, err, errcode.NotFound)
	produce(t, b, "orders", 0, "a")
	if err := b.DeleteTopic(t.Context(), "unwanted"); err != nil {
		t.Errorf("deleting a topic: %v", err)
	}
	disk.free.Store(0)
	wantCode(t, b.DeleteTopic(t.Context(), "orders"), errcode.DiskFull)

	// Every partition's first segment is allocated at once.
	disk.free.Store(10 * log.FirstSegmentBytes)
	_, err = b.CreateTopic(t.Context(), api.TopicSpec{Name: "wide", Partitions: 10})
	wantCode(t, err, errcode.DiskFull)
	createTopic(t, b, "wide", 5)
	produce(t, b, "orders", 0, "b")
	got, _ := read(t, b, "orders", 0, 0)
	wantValues(t, got, "a", "b")
}

// TestTopicThatCannotBeOpened: the space that there was is gone when the partitions are made. The topic
// is there, takes nothing, says so, and is served as soon as there is space.
func TestTopicThatCannotBeOpened(t *testing.T) {
	var full atomic.Bool
	fsys := vfs.NewFaulty(vfs.OS(), func(op vfs.Op) error {
		if full.Load() && op.Kind == vfs.OpAllocate && strings.Contains(op.Name, "/late.") {
			return syscall.ENOSPC
		}
		return nil
	})
	b := openWith(t, broker.Options{DataDir: t.TempDir(), FS: fsys, MaintainEvery: time.Millisecond})
	createTopic(t, b, "orders", 1)
	full.Store(true)
	_, err := b.CreateTopic(t.Context(), api.TopicSpec{Name: "late", Partitions: 3})
	wantCode(t, err, errcode.DiskFull)
	_, err = b.ProduceBatches(t.Context(), "late", broker.AnyPartition, batch(t, "a", "b"))
	wantCode(t, err, errcode.NotLeaderOrFollower)
	_, err = b.ProduceRecords(t.Context(), "late", []broker.InputRecord{{Partition: broker.AnyPartition}})
	wantCode(t, err, errcode.NotLeaderOrFollower)
	resp, err := b.Fetch(t.Context(), fetchOf("late", 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, resp.Partitions[0].Err, errcode.NotLeaderOrFollower)
	produce(t, b, "orders", 0, "others go on")
	if info, err := b.Topic(t.Context(), "late"); err != nil || info.Partitions != 3 {
		t.Errorf("the topic is described as %+v, %v", info, err)
	}

	full.Store(false)
	replicatest.Await(t, "the topic is served", func() bool { // nobody changes anything: the broker tries by itself
		_, err := b.ProduceBatches(t.Context(), "late", 2, batch(t, "a"))
		if err != nil {
			wantCode(t, err, errcode.NotLeaderOrFollower)
		}
		return err == nil
	})
	got, _ := read(t, b, "late", 2, 0)
	wantValues(t, got, "a")
}
