// Package derive keeps derivations going: each takes what is written to a topic through a pipeline into
// other topics, exactly once, with one task per partition of the source.
//
// Exactly once: what a stretch of the source becomes is written to each partition of the outputs in one
// entry, together with the position of the task: the source offset up to which that partition has
// everything. A stretch that is run again, after a crash or an error, leaves out for each partition the
// records below the position that the partition has. The source partition keeps a position too, from which
// a restart goes on: the saved position of the task.
//
// Flush modes may differ, and change. So records are derived only when no power loss takes them from the source any
// more, and a position is saved only when none takes what was derived before it: see durable.go.
package derive

import (
	"context"
	"log/slog"

	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/transform"
)

// Destination is a partition that records are derived into. It may be on another broker.
type Destination interface {
	// Position is how far an origin's records have been written there; false if none ever was.
	Position(ctx context.Context, origin string) (partition.Position, bool, error)
	// Append writes batches and positions in one entry, unless all positions are reached already.
	Append(ctx context.Context, a partition.Append) (partition.Appended, error)
	// Sync makes durable everything that was written before, whatever the topic's flush mode is.
	Sync(ctx context.Context) error
}

// Source is a partition that is followed. It is on this broker, which leads it; that is where its tasks run.
type Source interface {
	Destination // for the saved position
	// Name is topic/partition.
	Name() string
	// Bounds is where its readable records begin and end.
	Bounds() partition.Bounds
	// DurableEnd is the offset below which no power loss takes a record.
	DurableEnd() int64
	// FetchDurable appends batches below DurableEnd to dst, as partition.FetchDurable does.
	FetchDurable(dst []byte, offset int64, maxBytes int) (partition.Fetched, error)
	// Advanced is closed when there is something past offset, durable or not, or never will be.
	Advanced(offset int64) <-chan struct{}
}

// Topics finds the topics and partitions that records are derived into.
type Topics interface {
	transform.Topics
	// Destination finds a partition of a topic that Topic has returned. Errors are those of the partition's
	// place, and UNKNOWN_TOPIC_OR_PARTITION when the topic was deleted meanwhile.
	Destination(t transform.Topic, number int32) (Destination, error)
}

// Options make a Manager. All are required.
type Options struct {
	Topics Topics
	Loader *transform.Loader
	Budget *record.Budget // for batches that are unpacked
	Logger *slog.Logger
	// Route begins the phase in which records are written to other topics, and returns how to end it.
	Route func(ctx context.Context) (context.Context, func(error))
}

// Spec is a derivation as the metadata has it, with what there is of its source on this broker.
type Spec struct {
	*metadata.Derivation
	Partitions int32 // of the source topic, wherever they are
	Sources    []SourceAt
}

// SourceAt is a partition of the source that this broker is to follow.
type SourceAt struct {
	Number int32
	Source Source
	Err    error // why it cannot be followed now; then Source is nil
}

// Progress is how far a derivation has come in one partition of its source.
type Progress struct {
	Partition  int32
	NextOffset int64 // source offset that comes next
	Lag        int64 // records behind the source's high watermark
	Err        string
}
