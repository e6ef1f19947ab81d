// Package replica runs one Raft group around a state machine. It starts the group on given stores, observes
// leadership, proposes entries, takes snapshots on demand, translates errors of Raft to errcode, and ends
// everything in order. Partitions and the metadata are state machines on it.
//
// # Leadership
//
// Starting never waits for a leader. A leader admits nothing before its state machine has applied every
// entry of earlier terms: it proposes a barrier when it is elected, and is Ready when that is applied.
// Lead returns a Leadership, which identifies the election. A proposal carries the Leadership under which
// its preconditions were checked, and is refused under another:
//
//	this replica                                    another replica
//	is Ready; Lead returns 1; the state is checked
//	loses its leadership                            leads, writes the same batch
//	is elected, catches up, is Ready (2)            follows
//	Propose(1, entry) is refused
//
// An accepted proposal may still wait in Raft's queue when the leadership ends, and Raft may take it from
// there after this replica is elected again. The queue is first in, first out, and the barrier of the new
// leadership comes later. So Raft stores such a proposal before the replica is Ready again, and storeGate
// refuses it there.
//
// # The end
//
// A replica that failed (its log takes no more entries, or an entry could not be applied) ends its Raft
// instance, which would otherwise start elections again and again. Raft does not answer proposals that are
// still in its queue when it ends. So both Fail and Close first refuse new proposals, then wait until the
// earlier ones are answered, and then end Raft.
package replica
