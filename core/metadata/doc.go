// Package metadata is the cluster's state machine: topics, modules, pipelines, views, derivations and
// the numbers that are never given out twice.
//
// The package is pure. An Image is one immutable state; Apply makes the next one out of an Image and a
// Command, without a clock, without I/O and without depending on the order of a map, so that every
// replica computes the same bytes. A command that cannot be carried out is refused with an
// *errcode.Error as its answer; the state stays as it was. Package controller runs it as a Raft group.
//
// The structs of this package are the contents of logs and snapshots, and nothing else: answers to
// clients have their own in core/api, so that a change of the API cannot change the disk format. Golden
// files pin the bytes.
//
// What a command of one version does must never change, because logs are replayed: a new rule is a
// new version of the command, and it may be proposed only once every replica knows it.
package metadata
