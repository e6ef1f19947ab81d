package stable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
)

// Keys that raft uses; the last two it writes one after the other when it votes.
const (
	currentTermKey   = "CurrentTerm"
	voteTermKey      = "LastVoteTerm"
	voteCandidateKey = "LastVoteCand"
)

// groupStore is the raft.StableStore of one group.
//
// Raft persists a vote as two writes, term and candidate. A crash between them would leave the new term
// with the old candidate: a vote that was never cast, and one that might be granted twice. So the term
// is held back and written together with the candidate; until then reads see the previous vote.
type groupStore struct {
	store *Store
	name  string

	write    sync.Mutex // serializes writers; held during the commit
	heldTerm []byte     // a vote's term that waits for its candidate; under write

	mu     sync.RWMutex // only for the time of a map access; taken after write
	values map[string][]byte
}

func (g *groupStore) hasValues() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.values) > 0
}

func (g *groupStore) value(key string) ([]byte, bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	v, ok := g.values[key]
	return v, ok
}

// Set makes a value durable; it returns at once if the value is there already. It keeps neither slice.
func (g *groupStore) Set(key, val []byte) error {
	g.write.Lock()
	defer g.write.Unlock()
	changed := map[string][]byte{string(key): bytes.Clone(val)}
	if string(key) == voteCandidateKey && g.heldTerm != nil {
		changed[voteTermKey] = g.heldTerm
		g.heldTerm = nil
	}
	return g.commitChanged(changed)
}

// commitChanged writes those of the values that differ from what is durable. The caller holds write.
func (g *groupStore) commitChanged(values map[string][]byte) error {
	for key, val := range values {
		if old, ok := g.value(key); ok && bytes.Equal(old, val) {
			delete(values, key)
		}
	}
	if len(values) == 0 {
		return nil
	}
	if err := g.store.write(&change{group: g.name, values: values}); err != nil {
		return fmt.Errorf("set stable state of group %s: %w", g.name, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, val := range values {
		g.values[key] = val
	}
	return nil
}

// Get returns a copy, or an error that reads "not found".
func (g *groupStore) Get(key []byte) ([]byte, error) {
	v, ok := g.value(string(key))
	if !ok {
		return nil, errNotFound
	}
	return bytes.Clone(v), nil
}

// SetUint64 is Set of eight bytes; the term of a vote becomes durable with its candidate.
func (g *groupStore) SetUint64(key []byte, val uint64) error {
	encoded := binary.BigEndian.AppendUint64(nil, val)
	if string(key) != voteTermKey {
		return g.Set(key, encoded)
	}
	g.write.Lock()
	defer g.write.Unlock()
	g.heldTerm = encoded
	return nil
}

// GetUint64 is Get of eight bytes.
func (g *groupStore) GetUint64(key []byte) (uint64, error) {
	v, ok := g.value(string(key))
	if !ok {
		return 0, errNotFound
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("stable state of group %s: %s has %d bytes, want 8", g.name, key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}
