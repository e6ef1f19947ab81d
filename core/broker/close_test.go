package broker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/record"
)

// TestCloseUnderLoad closes a broker under producers, readers, those who wait, those who change the
// metadata, and a derivation: each gets an answer that it can act upon, and what was acknowledged is there
// after a start, and in the derivation's output once.
func TestCloseUnderLoad(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	createTopic(t, b, "orders", 2)
	createTopic(t, b, "copies", 2)
	stage := commands(t, b)
	setPipeline(t, b, "orders", stage)
	if _, err := b.PutView(t.Context(), "seen", "orders", []metadata.Stage{stage}); err != nil {
		t.Fatal(err)
	}
	_, err := b.PutDerivation(t.Context(), metadata.Derivation{Name: "copy", Topic: "orders", Output: "copies", Stages: []metadata.Stage{stage}})
	if err != nil {
		t.Fatal(err)
	}
	var load sync.WaitGroup
	started := make(chan struct{}, 100)
	// run repeats call until it fails, which must be because of the shutdown.
	run := func(what string, call func(i int) error) {
		load.Go(func() {
			for i := 0; ; i++ {
				if err := call(i); err != nil {
					if !errcode.Is(err, errcode.ShuttingDown) {
						t.Errorf("%s: %v, want SHUTTING_DOWN", what, err)
					}
					return
				}
				if i == 10 {
					started <- struct{}{}
				}
			}
		})
	}
	acked := make([]int, 4)
	for w := range acked {
		run("produce", func(i int) error {
			value := fmt.Appendf(nil, "k%d-%d", w, i)
			_, err := b.ProduceRecords(context.Background(), "orders", []broker.ProducedRecord{
				{Record: record.Record{Key: value, Value: value}, Partition: broker.AnyPartition},
			})
			if err == nil {
				acked[w]++
			}
			return err
		})
	}
	fetch := func(req broker.FetchRequest) error {
		resp, err := b.Fetch(context.Background(), req)
		if err != nil {
			return err
		}
		defer resp.Release()
		if err := resp.Partitions[0].Err; err != nil {
			return err
		}
		return b.Ready() // a fetch that is cut short by the shutdown is answered
	}
	for number := range int32(2) {
		run("fetch", func(int) error { return fetch(fetchOf("orders", number, 0)) })
		run("fetch through a view", func(int) error { return fetch(fetchOf("seen", number, 0)) })
	}
	run("add and delete a topic", func(i int) error {
		name := fmt.Sprint("topic", i)
		if _, err := b.CreateTopic(context.Background(), broker.TopicSpec{Name: name}); err != nil {
			return err
		}
		return b.DeleteTopic(context.Background(), name)
	})
	waiting := fetchOf("orders", 0, 0)
	waiting.MinBytes, waiting.Wait = 1<<30, time.Hour
	load.Go(func() {
		if err := fetch(waiting); !errcode.Is(err, errcode.ShuttingDown) {
			t.Errorf("a fetch that waits: %v", err)
		}
	})
	for range len(acked) + 5 {
		<-started
	}
	closeBroker(t, b)
	load.Wait()

	b = open(t, dir)
	want := map[string]bool{}
	for w, n := range acked {
		for i := range n {
			want[fmt.Sprintf("k%d-%d", w, i)] = true
		}
	}
	var got []string
	for p := range int32(2) {
		values, next := read(t, b, "orders", p, 0)
		got = append(got, values...)
		wantValues(t, readN(t, b, "copies", p, int(next)), values...)
	}
	for _, v := range got {
		delete(want, v)
	}
	if len(want) > 0 {
		t.Errorf("acknowledged and not there: %v", want)
	}
}
