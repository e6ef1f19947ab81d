package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"

	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/testdata/debian"
)

// address finds anything that looks like an e-mail address.
var address = regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z0-9.-]+`)

// stored is a record as it was read back.
type stored struct {
	topic     string
	partition int32
	offset    int64
	value     []byte
}

// readAll returns every record of a topic or view by key; a key that comes twice is an error.
func (d *demo) readAll(ctx context.Context, name string) (map[string]stored, error) {
	consumer, err := client.NewConsumer(ctx, d.broker.Client, client.ConsumerOptions{Topic: name, Wait: -1})
	if err != nil {
		return nil, err
	}
	all := map[string]stored{}
	for {
		_, err := consumer.Poll(ctx, func(r *client.ConsumedRecord) error {
			key := string(r.Key)
			if before, twice := all[key]; twice {
				return fmt.Errorf("%s is in %s twice: at %d/%d and %d/%d", key, name, before.partition, before.offset, r.Partition, r.Offset)
			}
			all[key] = stored{topic: name, partition: r.Partition, offset: r.Offset, value: bytes.Clone(r.Value)}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if atEnd(consumer) {
			return all, nil
		}
	}
}

func atEnd(consumer *client.Consumer) bool {
	for _, p := range consumer.Positions() {
		if p.Next < p.HighWatermark {
			return false
		}
	}
	return true
}

// verify compares what is stored with what was acknowledged: every record in the one topic where it
// belongs, at the place that its producer got as an answer, and once.
func (d *demo) verify(ctx context.Context) error {
	packages, err := debian.Packages()
	if err != nil {
		return err
	}
	own, err := d.readAll(ctx, topic)
	if err != nil {
		return err
	}
	away, err := d.readAll(ctx, routed)
	if err != nil {
		return err
	}
	for _, p := range packages {
		where, elsewhere := own, away
		if p.Section == section {
			where, elsewhere = away, own
		}
		at, ok := where[p.Name]
		if _, wrong := elsewhere[p.Name]; !ok || wrong {
			return fmt.Errorf("%s of section %s: where it belongs: %v, where it does not: %v", p.Name, p.Section, ok, wrong)
		}
		report, acknowledged := d.outcomes[p.Name]
		if !acknowledged {
			return fmt.Errorf("%s was never reported on", p.Name)
		}
		if report.Offset >= 0 && (at.offset != report.Offset || at.partition != report.Partition) {
			return fmt.Errorf("%s was acknowledged at %d/%d and lies at %d/%d", p.Name, report.Partition, report.Offset, at.partition, at.offset)
		}
	}
	if n := len(own) + len(away); n != len(packages) {
		return fmt.Errorf("%d records are stored, %d were produced", n, len(packages))
	}
	fmt.Printf("   %d packages in %s, %d of section %s in %s: each where it was acknowledged, none twice, none missing\n",
		len(own), topic, len(away), section, routed)
	return nil
}

// inspect looks into the records: no address anywhere, and the view shows what its filter says.
func (d *demo) inspect(ctx context.Context) error {
	own, err := d.readAll(ctx, topic)
	if err != nil {
		return err
	}
	away, err := d.readAll(ctx, routed)
	if err != nil {
		return err
	}
	packages, err := debian.Packages()
	if err != nil {
		return err
	}
	maps.Copy(away, own)
	before, small := 0, 0
	for _, p := range packages {
		before += len(address.FindAllString(p.Maintainer, -1))
		if p.Size <= smallBytes && p.Section != section {
			small++
		}
		if found := address.Find(away[p.Name].value); found != nil {
			return fmt.Errorf("%s holds the address %s", p.Name, found)
		}
	}
	fmt.Printf("   %d e-mail addresses of maintainers went in, none was written\n", before)
	return d.inspectView(ctx, packages[0], own[packages[0].Name], small)
}

func (d *demo) inspectView(ctx context.Context, sample debian.Package, at stored, want int) error {
	if at.value != nil {
		var after debian.Package
		if err := json.Unmarshal(at.value, &after); err != nil {
			return err
		}
		fmt.Printf("   %s: %q became %q\n", sample.Name, sample.Maintainer, after.Maintainer)
	}
	through, err := d.readAll(ctx, view)
	if err != nil {
		return err
	}
	for name, r := range through {
		var p debian.Package
		if err := json.Unmarshal(r.value, &p); err != nil {
			return err
		}
		if p.Size > smallBytes {
			return fmt.Errorf("the view shows %s of %d bytes", name, p.Size)
		}
	}
	if len(through) != want {
		return fmt.Errorf("the view shows %d records, %d packages are small", len(through), want)
	}
	fmt.Printf("   the view %s shows %d of them, exactly those of at most %d bytes\n", view, len(through), smallBytes)
	return nil
}
