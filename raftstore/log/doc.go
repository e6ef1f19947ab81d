// Package log implements raft.LogStore over preallocated segment files. A Log is at the same time the
// log of the partition: records are written once. An entry of type raft.LogCommand carries record batches
// back to back; StoreLogs patches their base offsets and leader epochs in place before it computes
// the frame's checksum, so that every replica computes the same offsets. Entries of other types use
// no offset. Consumers read whole batches by offset (Log.Read), raft reads entries by index
// (Log.GetLog). docs/formats/log.md describes every byte on disk.
//
// One goroutine writes at a time (Log.mu); readers load an immutable state atomically and never wait
// for the writer. Files that a reader has open are not recycled under it.
//
// What the log promises under FlushFsync: when StoreLogs returns nil, its entries survive a power
// loss. What was not acknowledged may survive or not, but always as a prefix. At open only the last
// segment is scanned; the first frame that does not check is a torn tail and cut, unless a later
// frame proves that the bytes at that place were durable once: that is corruption, and Open
// refuses with a CorruptionError that names file and position. A failed write or sync stops the log
// for good: nothing is retried, reads go on.
package log
