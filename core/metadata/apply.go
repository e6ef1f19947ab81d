package metadata

import (
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

// Result is the outcome of a command that was applied. What it points to belongs to the image.
type Result struct {
	Version uint64 // of the image afterwards
	Changed bool   // false: everything was as the command wants it already
	Created bool   // a topic, a module version, a view or a derivation is new

	// What the command made or found, by its kind.
	Topic      *Topic
	Module     *Module
	Pipeline   *Pipeline
	View       *View
	Derivation *Derivation

	FirstProducerID int64 // AllocateProducerIDs: the block begins here
	ProducerIDs     int32 // and is this long
}

// Apply applies a command. It leaves the image given as it is, and returns that same image when the
// command was refused or changed nothing. The error is an *errcode.Error. The result depends on the
// arguments alone.
func Apply(image *Image, e Entry) (*Image, Result, error) {
	if e.Command == nil {
		return image, Result{}, errcode.New(errcode.InvalidRequest, "there is no command")
	}
	at, err := canonicalTime(e.At)
	if err != nil {
		return image, Result{}, err
	}
	next := *image
	result, err := e.Command.apply(&next, at)
	if err != nil {
		return image, Result{}, err
	}
	if !result.Changed {
		result.Version = image.version
		return image, result, nil
	}
	next.version++
	result.Version = next.version
	return &next, result, nil
}

// canonicalTime is t in UTC to the millisecond, as it is stored. Years outside of RFC 3339 are refused:
// such a time could not be written into a snapshot.
func canonicalTime(t time.Time) (time.Time, error) {
	c := time.UnixMilli(t.UnixMilli()).UTC()
	if year := c.Year(); year < 1 || year > 9999 {
		return time.Time{}, errcode.New(errcode.InvalidRequest, "a metadata command of the year %d cannot be kept: set the broker's clock", year)
	}
	return c, nil
}

// expectVersion returns VERSION_CONFLICT if a version is expected and is not the current one.
func expectVersion(what string, expected *uint64, current uint64) error {
	if expected == nil || *expected == current {
		return nil
	}
	return errcode.New(errcode.VersionConflict, "%s has version %d, not %d: read it again and decide anew", what, current, *expected).
		With("version", current)
}

// MaxProducerIDBlock bounds what one AllocateProducerIDs takes.
const MaxProducerIDBlock = 100_000

func (c AllocateProducerIDs) apply(next *Image, _ time.Time) (Result, error) {
	if c.Count < 1 || c.Count > MaxProducerIDBlock {
		return Result{}, errcode.New(errcode.InvalidRequest, "a block of producer ids must have from 1 to %d, not %d", MaxProducerIDBlock, c.Count)
	}
	first := next.nextPID
	if first > maxProducerID-int64(c.Count) {
		return Result{}, errcode.New(errcode.Unknown, "every producer id has been given out")
	}
	next.nextPID += int64(c.Count)
	return Result{Changed: true, FirstProducerID: first, ProducerIDs: c.Count}, nil
}

// maxProducerID is far enough from the largest int64 that sums cannot overflow.
const maxProducerID = 1 << 62

func (c SetClusterInfo) apply(next *Image, _ time.Time) (Result, error) {
	if err := CheckName(errcode.InvalidRequest, "cluster", c.ClusterID); err != nil {
		return Result{}, err
	}
	switch next.clusterID {
	case c.ClusterID:
		return Result{}, nil
	case "":
		next.clusterID = c.ClusterID
		return Result{Changed: true}, nil
	}
	return Result{}, errcode.New(errcode.AlreadyExists, "the cluster's id is %q and stays so", next.clusterID)
}
