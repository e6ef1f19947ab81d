// Package log implements raft.LogStore over preallocated segment files. A Log is at the same time the log of
// a partition: records are written once. An entry of type raft.LogCommand holds record batches back to back.
// StoreLogs patches their base offsets and leader epochs in place before it computes the frame's checksum, so
// that every replica computes the same offsets. Entries of other types use no offset. Consumers read whole
// batches by offset (Log.Read), raft reads entries by index (Log.GetLog). docs/formats/log.md describes every
// byte on disk.
//
// One goroutine writes at a time, under Log.mu. Readers load an immutable state atomically and never wait for
// the writer. They hold references to segments: a file is not recycled while a reader has it open.
//
// Under FlushFsync, entries survive a power loss when StoreLogs has returned nil. Entries that were not
// acknowledged may survive or not, but always as a prefix. Open scans the last segment only. The first frame
// there that fails a check is a torn tail, and the log is cut before it; but if a later frame proves that the
// place was durable once, it is damage, and Open returns a CorruptionError with file and position. A failed
// write or sync stops the log for good: nothing is retried, reads go on.
package log
