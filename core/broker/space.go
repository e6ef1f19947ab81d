package broker

import (
	"errors"
	"syscall"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/raftstore/log"
)

// The databases of the metadata and of the votes grow by pages, and Raft does not survive a vote that
// finds no room: the metadata is left alone while there is less space than this. What takes something
// away needs little, and is what a full disk wants.
const (
	changeRoom = 1 << 20
	removeRoom = 64 << 10
)

// room is how much of the disk must be free before a command is proposed.
func (b *Broker) room(c metadata.Command) int64 {
	switch c := c.(type) {
	case metadata.CreateTopic:
		return changeRoom + max(int64(c.Partitions), 1)*log.FirstSegmentBytes
	case metadata.AlterTopic:
		grown := int64(c.Partitions)
		if t := b.table.Load().topics[c.Name]; t != nil {
			grown -= int64(len(t.partitions()))
		}
		return changeRoom + max(grown, 0)*log.FirstSegmentBytes
	case metadata.DeleteTopic, metadata.DeletePipeline, metadata.DeleteView, metadata.DeleteDerivation, metadata.DeleteModule:
		return removeRoom
	}
	return changeRoom
}

// needRoom refuses what a full disk could not take.
func (b *Broker) needRoom(bytes int64) error {
	free, err := b.fs.FreeBytes(b.opts.DataDir)
	if err != nil || free >= uint64(bytes) {
		return nil // where nobody knows, trying is the way to find out
	}
	return errcode.New(errcode.DiskFull, "the disk has %d KiB free and this takes %d; reads go on, free space and retry", free>>10, bytes>>10).
		With("retry_after_ms", 1000)
}

// storageError gives a failure of the disk its code, unless it has one.
func storageError(err error) error {
	var known *errcode.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return errcode.New(errcode.DiskFull, "the disk is full; free space and retry: %w", err).With("retry_after_ms", 1000)
	}
	return errcode.New(errcode.StorageFailed, "%w", err)
}
