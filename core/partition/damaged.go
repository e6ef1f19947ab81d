package partition

import (
	"errors"

	"github.com/wasmill/wasmill/core/errcode"
	raftgroup "github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/snapshot"
)

// IsDamage tells whether Open failed because of what lies in the partition's own directory, which
// concerns this partition alone, and not for want of space, permissions or the like.
func IsDamage(err error) bool {
	var corruption *log.CorruptionError
	return errors.As(err, &corruption) || errors.Is(err, ErrLogShort) || errors.Is(err, raftgroup.ErrLogLost) ||
		errors.Is(err, raftgroup.ErrHistoryGap) || errors.Is(err, snapshot.ErrCorrupt)
}

// DamageError is the answer to reads of a partition that could not be opened because of cause, which is damage.
func DamageError(name string, cause error) *errcode.Error {
	return errcode.New(errcode.CorruptMessage, "partition %s is damaged and not served: %w; "+
		"run `wasmill log verify`, restore its files from a backup, then restart the broker", name, cause)
}

// Damaged stands in for a partition that cannot be opened, so that the others of the broker serve: it
// touches no file, and answers everything with why. Errors: CORRUPT_MESSAGE for reads, STORAGE_FAILED
// for writes.
func Damaged(o Options, cause error) *Partition {
	p := newPartition(o)
	close(p.opened)
	p.damage = DamageError(o.Name, cause)
	p.failure, p.gone = errcode.New(errcode.StorageFailed, "%w", p.damage), p.damage
	p.logger.Error("a partition is damaged and not served; the others are", "error", cause)
	return p
}
