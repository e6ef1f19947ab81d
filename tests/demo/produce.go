package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/testdata/debian"
)

// produce writes all packages through a producer that goes on by itself when the broker dies, kills
// the broker halfway, starts it again, and meanwhile follows the topic like any consumer would.
func (d *demo) produce(ctx context.Context) error {
	packages, err := debian.Packages()
	if err != nil {
		return err
	}
	lines, err := debian.Lines()
	if err != nil {
		return err
	}
	follow, stopFollowing := context.WithCancel(ctx)
	defer stopFollowing()
	followed := make(chan error, 1)
	go func() { followed <- d.follow(follow) }()

	c, err := client.New(client.Options{Server: d.broker.URL})
	if err != nil {
		return err
	}
	producer, err := client.NewProducer(ctx, c, client.ProducerOptions{Topic: topic, BatchBytes: 16 << 10, Linger: -1})
	if err != nil {
		return err
	}
	d.outcomes = make(map[string]client.Report, len(packages))
	var latencies []time.Duration
	for i, p := range packages {
		switch i {
		case len(packages) / 4:
			err = producer.Flush(ctx) // a part is acknowledged before the crash
		case len(packages) / 2:
			err = d.crash(ctx) // and a part is on its way
		}
		if err != nil {
			return err
		}
		sent := time.Now()
		err = producer.Send(ctx, record.Record{Key: []byte(p.Name), Value: lines[i]}, func(r client.Report) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.outcomes[p.Name] = r
			latencies = append(latencies, time.Since(sent))
		})
		if err != nil {
			return err
		}
	}
	if err := errors.Join(producer.Close(ctx), c.Close()); err != nil {
		return err
	}
	t := producer.Totals()
	slices.Sort(latencies)
	fmt.Printf("   %d records sent in %d requests, %d of them repeated after the crash: %d kept, %d routed, %d failed\n",
		t.Records, t.Requests, t.Retries, t.Kept, t.Routed, t.Failed)
	fmt.Printf("   from Send to acknowledged and on disk: median %v, 99th percentile %v (the restart included)\n",
		latencies[len(latencies)/2].Round(10*time.Microsecond), latencies[len(latencies)*99/100].Round(time.Millisecond))
	if t.Failed > 0 || t.Rejected > 0 || t.Dropped > 0 || int(t.Records) != len(packages) {
		return fmt.Errorf("of %d records %d failed, %d were rejected and %d dropped", t.Records, t.Failed, t.Rejected, t.Dropped)
	}
	return d.awaitFollower(ctx, stopFollowing, followed)
}

// crash kills the broker while requests are on their way and starts it again at the same address.
func (d *demo) crash(ctx context.Context) error {
	d.mu.Lock()
	acknowledged := len(d.outcomes)
	d.mu.Unlock()
	address := d.broker.Address()
	if err := d.broker.Kill(); err != nil {
		return err
	}
	fmt.Printf("   SIGKILL with %d records acknowledged and more on their way\n", acknowledged)
	began := time.Now()
	if err := d.launch(ctx, address); err != nil {
		return err
	}
	fmt.Printf("   it served again %v after its start\n", time.Since(began).Round(time.Millisecond))
	return nil
}

// follow counts the records of the topic as they come, from its beginning, across the crash.
func (d *demo) follow(ctx context.Context) error {
	c, err := client.New(client.Options{Server: d.broker.URL})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // only its idle connections are left
	consumer, err := client.NewConsumer(ctx, c, client.ConsumerOptions{Topic: topic})
	if err != nil {
		return err
	}
	var sample sync.Once
	for ctx.Err() == nil {
		n, err := consumer.Poll(ctx, func(r *client.ConsumedRecord) error {
			sample.Do(func() { fmt.Printf("   live: %s/%d@%d %.140s...\n", r.Topic, r.Partition, r.Offset, r.Value) })
			return nil
		})
		d.mu.Lock()
		d.followed += n
		d.mu.Unlock()
		var gone *client.ConnError
		if err != nil && !errors.As(err, &gone) && ctx.Err() == nil {
			return err // a broker that is not there just now comes back
		}
	}
	return nil
}

// awaitFollower waits until the follower has seen every record that stayed in the topic.
func (d *demo) awaitFollower(ctx context.Context, stop context.CancelFunc, followed <-chan error) error {
	d.mu.Lock()
	want := 0
	for _, r := range d.outcomes {
		if len(r.Routed) == 0 {
			want++
		}
	}
	d.mu.Unlock()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		d.mu.Lock()
		seen := d.followed
		d.mu.Unlock()
		if seen >= want {
			fmt.Printf("   the live follower saw %d records, before, during and after the crash\n", seen)
			stop()
			return <-followed
		}
		select {
		case err := <-followed:
			return fmt.Errorf("the follower ended with %d of %d records: %w", seen, want, err)
		case <-ctx.Done():
			return fmt.Errorf("the follower saw %d of %d records: %w", seen, want, ctx.Err())
		case <-tick.C:
		}
	}
}
