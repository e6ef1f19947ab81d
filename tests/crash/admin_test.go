package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/record/recordtest"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// admin is what an administrator was answered.
type admin struct {
	mu       sync.Mutex
	topics   map[string]int32 // name -> partitions
	deleted  map[string]bool
	modules  map[string]string // name -> SHA-256
	pipeline map[string]uint64 // topic -> version
	next     int
}

// work creates, changes and deletes until the broker is gone.
func (a *admin) work(ctx context.Context, t *testing.T, c *client.Client, rng *rand.Rand) {
	for ctx.Err() == nil {
		a.mu.Lock()
		n := a.next
		a.next++
		a.mu.Unlock()
		err := a.step(ctx, c, fmt.Sprintf("thing-%05d", n), rng.IntN(3) == 0)
		var conn *client.ConnError
		if err == nil || errors.As(err, &conn) && conn.Sent {
			continue
		}
		if !errors.As(err, &conn) && ctx.Err() == nil {
			t.Errorf("administration: %v", err)
		}
		return
	}
}

func (a *admin) step(ctx context.Context, c *client.Client, name string, remove bool) error {
	partitions := int32(1 + len(name)%2)
	if _, err := c.CreateTopic(ctx, client.TopicSpec{Name: name, Partitions: partitions}); err != nil {
		return err
	}
	a.note(func() { a.topics[name] = partitions })
	m, err := c.PutModule(ctx, name, wasmtest.With(wasmtest.Parts{Data: name}))
	if err != nil {
		return err
	}
	a.note(func() { a.modules[name] = m.SHA256 })
	p, err := c.SetPipeline(ctx, name, []client.Stage{{Module: name}})
	if err != nil {
		return err
	}
	a.note(func() { a.pipeline[name] = p.Version })
	if !remove {
		return nil
	}
	a.note(func() { delete(a.topics, name); delete(a.pipeline, name) }) // from now on it may be gone
	if err := c.DeleteTopic(ctx, name); err != nil {
		return err
	}
	a.note(func() { a.deleted[name] = true })
	return nil
}

func (a *admin) note(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// check compares the broker with what was acknowledged.
func (a *admin) check(ctx context.Context, t *testing.T, c *client.Client) {
	t.Helper()
	listed, err := c.Topics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]client.Topic{}
	for _, topic := range listed {
		there[topic.Name] = topic
	}
	for name, partitions := range a.topics {
		if got, ok := there[name]; !ok || got.Partitions != partitions || got.PipelineVersion < a.pipeline[name] {
			t.Errorf("topic %s is %+v, it was made with %d partitions and pipeline %d", name, got, partitions, a.pipeline[name])
		}
	}
	for name := range a.deleted {
		if _, ok := there[name]; ok {
			t.Errorf("topic %s was deleted and is back", name)
		}
	}
	for name, sha := range a.modules {
		if m, err := c.Module(ctx, name, 1); err != nil || m.SHA256 != sha {
			t.Errorf("module %s: %+v, %v", name, m, err)
		}
		if _, err := c.ModuleBytes(ctx, name, 1); err != nil {
			t.Errorf("module %s: %v", name, err)
		}
	}
	// Whatever is listed also works, acknowledged or not. These modules drop every record.
	for name, topic := range there {
		res, err := c.ProduceBatches(ctx, name, topic.Partitions-1, recordtest.Batch(t, "x"))
		if err != nil || topic.PipelineVersion > 0 && len(res.Dropped) != 1 || topic.PipelineVersion == 0 && res.Count() != 1 {
			t.Errorf("produce to %s, pipeline %d: %+v, %v", name, topic.PipelineVersion, res, err)
		}
	}
}

// Kills that fall on the creation and deletion of topics, uploads of modules and changes of pipelines leave
// each either done or undone, and done if it was acknowledged.
func TestKillDuringAdministration(t *testing.T) {
	t.Parallel()
	seed := setting(t, seedVariable, rand.Uint64())
	rounds := setting(t, roundsVariable, 4)
	t.Logf("seed: %s=%d", seedVariable, seed)
	rng := rand.New(rand.NewPCG(seed, 99))
	b := harness.Start(t, harness.Options{})
	a := &admin{topics: map[string]int32{}, deleted: map[string]bool{}, modules: map[string]string{}, pipeline: map[string]uint64{}}
	for round := range rounds {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		var group sync.WaitGroup
		for range 3 {
			c, own := b.ClientWith(t, client.Options{Retries: -1}), rand.New(rand.NewPCG(rng.Uint64(), 0))
			group.Go(func() { a.work(ctx, t, c, own) })
		}
		<-time.After(time.Duration(rng.Int64N(int64(200 * time.Millisecond))))
		b.Kill(t)
		group.Wait()
		b = b.Restart(t)
		a.check(ctx, t, b.Client(t))
		cancel()
		if t.Failed() {
			t.Fatalf("in round %s", strconv.FormatUint(round, 10))
		}
	}
	t.Logf("%d topics, %d deleted, %d modules", len(a.topics), len(a.deleted), len(a.modules))
}
