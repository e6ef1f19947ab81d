package partition

import (
	"errors"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/snapshot"
)

// ErrLogShort says that a partition's log ends before its newest snapshot, which was written only after
// everything it speaks of was durable: what looks like a torn tail is damage, and records that were
// acknowledged are missing.
var ErrLogShort = errors.New("the end of the log is damaged")

// IsDamage reports whether Open failed because of what lies in the partition's own directory, which
// concerns this partition alone, and not for want of space, permissions or the like.
func IsDamage(err error) bool {
	var corruption *log.CorruptionError
	if errors.As(err, &corruption) {
		return true
	}
	for _, damage := range []error{ErrLogShort, ErrState, snapshot.ErrCorrupt} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return group.IsDamage(err)
}

// DamageError is the answer to reads of a partition that could not be opened because of cause, which is
// damage.
func DamageError(name string, cause error) *errcode.Error {
	return errcode.New(errcode.CorruptMessage, "partition %s is damaged and not served: %w; "+
		"verify its log, restore its files from a backup, then restart the broker", name, cause)
}
