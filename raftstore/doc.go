// Package raftstore is the parent of the packages that hashicorp/raft runs on in Wasmill:
//
//	vfs        the file system: real, in memory with power losses, faulty
//	log        raft.LogStore, and the record log of a partition
//	boltlog    raft.LogStore of a group whose entries are few and small
//	stable     raft.StableStore of all groups of a process
//	snapshot   raft.SnapshotStore of one group
//	transport  raft.Transport
//	group      one running Raft instance over such stores
//
// Imports go one way: log, boltlog, stable and snapshot import vfs and not each other; group and transport
// import none of them, since group takes its stores as Raft's interfaces. The package itself is empty.
package raftstore
