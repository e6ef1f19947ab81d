package broker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// untilShutdown repeats calls until they fail, which must be because of the shutdown.
type untilShutdown struct {
	t       *testing.T
	load    sync.WaitGroup
	started chan struct{} // one token for every call that is under way
}

func (l *untilShutdown) run(what string, call func(i int) error) {
	l.load.Go(func() {
		for i := 0; ; i++ {
			if err := call(i); err != nil {
				if !errcode.Is(err, errcode.ShuttingDown) {
					l.t.Errorf("%s: %v, want SHUTTING_DOWN", what, err)
				}
				return
			}
			if i == 10 {
				l.started <- struct{}{}
			}
		}
	})
}

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
	if _, _, err := b.PutView(t.Context(), "seen", api.ViewSpec{Topic: "orders", Stages: []api.Stage{stage}}, nil); err != nil {
		t.Fatal(err)
	}
	_, _, err := b.PutDerivation(t.Context(), "copy", api.DerivationSpec{Topic: "orders", Output: "copies", Stages: []api.Stage{stage}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &untilShutdown{t: t, started: make(chan struct{}, 100)}
	acked := make([]int, 4)
	for w := range acked {
		l.run("produce", func(i int) error {
			value := fmt.Appendf(nil, "k%d-%d", w, i)
			_, err := b.ProduceRecords(context.Background(), "orders", []broker.InputRecord{
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
		l.run("fetch", func(int) error { return fetch(fetchOf("orders", number, 0)) })
		l.run("fetch through a view", func(int) error { return fetch(fetchOf("seen", number, 0)) })
	}
	l.run("add and delete a topic", func(i int) error {
		name := fmt.Sprint("topic", i)
		if _, err := b.CreateTopic(context.Background(), api.TopicSpec{Name: name}); err != nil {
			return err
		}
		return b.DeleteTopic(context.Background(), name)
	})
	waiting := fetchOf("orders", 0, 0)
	waiting.MinBytes, waiting.Wait = 1<<30, time.Hour
	l.load.Go(func() {
		if err := fetch(waiting); !errcode.Is(err, errcode.ShuttingDown) {
			t.Errorf("a fetch that waits: %v", err)
		}
	})
	for range len(acked) + 5 {
		<-l.started
	}
	closeBroker(t, b)
	l.load.Wait()

	b = open(t, dir)
	wantAcknowledged(t, b, acked)
}

// wantAcknowledged looks for the values k0-0, k0-1, ... of every producer in orders, and compares copies.
func wantAcknowledged(t *testing.T, b *broker.Broker, acked []int) {
	t.Helper()
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
