// Package replica runs one Raft group around a state machine: it starts the group on the stores that it
// is given, observes leadership, proposes entries, takes snapshots on demand, translates Raft's errors to
// errcode once, and ends everything in order. Partitions and the metadata are state machines on it.
//
// # Leadership
//
// Opening never waits for a leader. A leader admits nothing before its state machine has applied every
// entry of earlier terms: it proposes a barrier when it is elected and is Ready once that is applied.
// Lead returns a Leadership, which stands for one time of being Ready; a proposal carries the Leadership
// under which its preconditions were checked and is refused under another. What was checked against the
// state machine therefore still holds when the entry enters the log:
//
//	this replica                                    another replica
//	is Ready; Lead returns 1; the state is checked
//	ceases to lead                                  leads, writes the same batch
//	is elected: catching up, then Ready (3)         follows
//	Propose(1, entry) is refused
//
// A proposal that was accepted may still wait in Raft's queue when leadership ends, and Raft may take it
// from there once this replica is elected anew. Raft's queue is first in, first out, and the new barrier
// comes after it, so Raft stores it before the replica is Ready again: storeGate refuses it there.
//
// # The end
//
// A replica that failed (its log takes no entries any more, or an entry could not be applied) ends its
// Raft instance: on a log that takes nothing it would stand for election again and again. Raft forgets,
// rather than answers, proposals that it has not looked at when it ends. So both Fail and Close first
// refuse new proposals, then wait until those under way are answered, and then end Raft.
package replica
