package broker

import (
	"context"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/transform"
	"github.com/wasmill/wasmill/wasm/abi"
)

// source is one partition of a fetch, with what its records pass through.
type source struct {
	name    string // the topic or view that was asked for
	number  int32
	replica *partition.Partition
	through *transform.Pipeline // a view's, or the request's own; nil for none
	at      int64               // scanned to: moves past records that a pipeline leaves out
	err     error               // why there is nothing to read; then the fields above may be unset
}

func (r *reader) openSources(ctx context.Context, parts []FetchPartition) []source {
	sources := make([]source, len(parts))
	for i, fp := range parts {
		sources[i] = r.openSource(ctx, fp)
	}
	return sources
}

// openSource finds a partition and holds its pipeline until closeSources.
func (r *reader) openSource(ctx context.Context, fp FetchPartition) source {
	s := source{name: fp.Topic, number: fp.Partition, at: fp.Offset}
	for {
		t, v, err := r.source(fp.Topic)
		if err == nil {
			s.replica, err = replicaToRead(t, fp.Partition)
		}
		switch {
		case err != nil:
		case len(fp.Stages) > 0 && v != nil:
			err = errcode.New(errcode.InvalidRequest, "fetch %q: a view has its own pipeline; name its topic to run another", fp.Topic)
		case len(fp.Stages) > 0:
			s.through, err = r.adHoc(ctx, t.name, fp)
		case v != nil && v.read.Err() != nil:
			err = v.read.Err()
		case v != nil && v.read.Acquire():
			s.through = v.read
		case v != nil && r.lifetime.Err() == nil:
			// The view's pipeline was closed between the look at the table and Acquire, because the view was
			// replaced or deleted: the table says so already, as pipelines are closed after it is published.
			continue
		case v != nil:
			err = errcode.New(errcode.ShuttingDown, "fetch %q: the broker is shutting down; retry in a moment", fp.Topic)
		}
		s.err = err
		return s
	}
}

// adHoc compiles a pipeline for one request. The engine keeps compiled modules, so that this costs instances
// and not compilations.
func (r *reader) adHoc(ctx context.Context, topicName string, fp FetchPartition) (*transform.Pipeline, error) {
	spec := transform.Spec{Name: "fetch from " + topicName, Place: abi.PlaceView, Stages: storedStages(fp.Stages)}
	return r.loader.Try(ctx, spec, topicName)
}

// replicaToRead finds the replica of a partition.
func replicaToRead(t *topicState, number int32) (*partition.Partition, error) {
	at, err := t.place(number)
	if err != nil {
		return nil, err
	}
	return at.toRead()
}

func closeSources(sources []source) {
	for i := range sources {
		sources[i].through.Release()
	}
}

// ResolveOffset turns earliest, latest or a time into an offset of a topic's or view's partition.
func (b *Broker) ResolveOffset(ctx context.Context, name string, number int32, spec OffsetSpec) (int64, error) {
	t, _, err := b.catalog.source(name)
	if err != nil {
		return 0, err
	}
	p, err := replicaToRead(t, number)
	if err != nil {
		return 0, err
	}
	switch spec.At {
	case OffsetEarliest:
		return p.Bounds().LogStart, nil
	case OffsetLatest:
		return p.Bounds().HighWatermark, nil
	default:
		return p.OffsetForTime(ctx, spec.Time)
	}
}
