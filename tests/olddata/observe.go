package olddata

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// Row is one record of a partition.
type Row struct {
	Offset int64
	Value  []byte
}

// Observe reads everything that a broker at rest shows. It first waits until every derivation has
// caught up, so it must not run beside producers.
func Observe(ctx context.Context, c *client.Client) (State, error) {
	var s State
	var err error
	if s.Derivations, err = CaughtUp(ctx, c); err != nil {
		return s, err
	}
	cluster, err := c.Cluster(ctx)
	if err != nil {
		return s, err
	}
	s.ClusterID = cluster.ClusterID
	if err := s.observeModules(ctx, c); err != nil {
		return s, err
	}
	topics, err := c.Topics(ctx)
	if err != nil {
		return s, err
	}
	for _, t := range topics {
		if err := s.observeTopic(ctx, c, t.Name); err != nil {
			return s, err
		}
	}
	views, err := c.Views(ctx)
	if err != nil {
		return s, err
	}
	for _, v := range views {
		s.Views = append(s.Views, View{View: v})
		if s.Views[len(s.Views)-1].Partitions, err = s.observeLogs(ctx, c, v.Name); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *State) observeModules(ctx context.Context, c *client.Client) error {
	modules, err := c.Modules(ctx)
	if err != nil {
		return err
	}
	for _, m := range modules {
		versions, err := c.ModuleVersions(ctx, m.Name)
		if err != nil {
			return err
		}
		s.Modules = append(s.Modules, versions...)
		for _, v := range versions {
			wasm, err := c.ModuleBytes(ctx, v.Name, v.Version)
			if err != nil {
				return err
			}
			if sum := sha256.Sum256(wasm); hex.EncodeToString(sum[:]) != v.SHA256 {
				return fmt.Errorf("module %s@%d: its bytes have another checksum than %s", v.Name, v.Version, v.SHA256)
			}
		}
	}
	return nil
}

func (s *State) observeTopic(ctx context.Context, c *client.Client, name string) error {
	t, err := c.Topic(ctx, name)
	if err != nil {
		return err
	}
	logs, err := s.observeLogs(ctx, c, name)
	if err != nil {
		return err
	}
	s.Topics = append(s.Topics, Topic{
		ID: t.ID, Name: t.Name, Replication: t.Replication, Config: t.Config, CreatedAt: t.CreatedAt.Format(time.RFC3339Nano),
		PipelineVersion: t.PipelineVersion, Partitions: logs,
	})
	if t.PipelineVersion == 0 {
		return nil
	}
	p, err := c.Pipeline(ctx, name)
	if err != nil {
		return err
	}
	s.Pipelines = append(s.Pipelines, *p)
	return nil
}

// observeLogs reads every partition of a topic or view. How a derivation's results are grouped into
// batches depends on how much of its source it takes at a time, and a view's batches are compressed when
// they are read: of both only the records count.
func (s *State) observeLogs(ctx context.Context, c *client.Client, name string) ([]Log, error) {
	n, err := c.PartitionCount(ctx, name)
	if err != nil {
		return nil, err
	}
	view := slices.ContainsFunc(s.Views, func(v View) bool { return v.Name == name })
	derived := slices.ContainsFunc(s.Derivations, func(d client.Derivation) bool { return d.Output == name })
	logs := make([]Log, n)
	for p := range n {
		if logs[p], _, err = ReadLog(ctx, c, name, p); err != nil {
			return nil, err
		}
		if derived || view {
			logs[p].BatchesSHA256 = ""
		}
	}
	return logs, nil
}

// ReadLog reads a whole partition.
func ReadLog(ctx context.Context, c *client.Client, name string, partition int32) (Log, []Row, error) {
	var l Log
	var rows []Row
	records, batches := sha256.New(), sha256.New()
	decoder := record.NewDecoder(record.DefaultLimits())
	for at := client.Earliest; ; {
		res, err := c.FetchPartition(ctx, client.PartitionFetch{Topic: name, Partition: partition, Offset: at, MaxBytes: 1 << 20})
		if err != nil {
			return l, nil, fmt.Errorf("read %s/%d from %s: %w", name, partition, at, err)
		}
		p := res.Partitions[0]
		l.LogStartOffset, l.HighWatermark = p.LogStartOffset, p.HighWatermark
		batches.Write(p.Batches)
		for b, err := range record.All(p.Batches) {
			if err == nil {
				err = b.Validate(record.DefaultLimits())
			}
			var decoded []record.Record
			if err == nil {
				decoded, err = decoder.Decode(b, nil)
			}
			if err != nil {
				return l, nil, fmt.Errorf("read %s/%d from %s: %w", name, partition, at, err)
			}
			for _, r := range decoded {
				offset := b.BaseOffset() + int64(r.OffsetDelta)
				hashRecord(records, offset, r)
				rows = append(rows, Row{offset, bytes.Clone(r.Value)})
			}
		}
		res.Release()
		if p.NextOffset >= p.HighWatermark {
			break
		}
		at = fmt.Sprint(p.NextOffset)
	}
	l.Records = len(rows)
	l.SHA256, l.BatchesSHA256 = hex.EncodeToString(records.Sum(nil)), hex.EncodeToString(batches.Sum(nil))
	return l, rows, nil
}

// hashRecord adds a record to a hash; every field has its length before it, so that no two records
// hash alike.
func hashRecord(h hash.Hash, offset int64, r record.Record) {
	fixed := binary.LittleEndian.AppendUint64(nil, uint64(offset))
	h.Write(binary.LittleEndian.AppendUint64(fixed, uint64(r.Timestamp)))
	field := func(b []byte) {
		length := int64(len(b))
		if b == nil {
			length = -1
		}
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(length)))
		h.Write(b)
	}
	field(r.Key)
	field(r.Value)
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(r.Headers))))
	for _, header := range r.Headers {
		field(header.Key)
		field(header.Value)
	}
}

// CaughtUp waits until no derivation is behind its source, and returns all of them.
func CaughtUp(ctx context.Context, c *client.Client) ([]client.Derivation, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := c.Derivations(ctx)
		if err != nil {
			return nil, err
		}
		behind := slices.ContainsFunc(all, func(d client.Derivation) bool {
			return len(d.Progress) == 0 || slices.ContainsFunc(d.Progress, func(p client.DerivationProgress) bool { return p.Lag != 0 || p.Error != "" })
		})
		if !behind {
			return all, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("derivations did not catch up: %+v: %w", all, ctx.Err())
		}
	}
}

// Kept reports whether a filter writes a record of this value into its output.
func Kept(value []byte) bool { return len(value) == 0 || value[0] != 'd' }

// Check compares the filter's output with its source: every record once, in order.
func (f Filter) Check(ctx context.Context, c *client.Client) error {
	for p, from := range f.From {
		_, source, err := ReadLog(ctx, c, f.Source, int32(p))
		if err != nil {
			return err
		}
		_, output, err := ReadLog(ctx, c, f.Output, int32(p))
		if err != nil {
			return err
		}
		source = slices.DeleteFunc(source, func(r Row) bool { return r.Offset < from || !Kept(r.Value) })
		for i := range max(len(source), len(output)) {
			switch {
			case i >= len(output):
				return fmt.Errorf("derivation %s: record %d of %s/%d is missing in %s", f.Derivation, source[i].Offset, f.Source, p, f.Output)
			case i >= len(source), !bytes.Equal(source[i].Value, output[i].Value):
				return fmt.Errorf("derivation %s: record %d of %s/%d is not what comes next in %s", f.Derivation, output[i].Offset, f.Output, p, f.Source)
			}
		}
	}
	return nil
}
