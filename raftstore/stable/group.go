package stable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
)

// Keys that raft writes: of the term, and for a vote, in this order.
const (
	currentTermKey   = "CurrentTerm"
	voteTermKey      = "LastVoteTerm"
	voteCandidateKey = "LastVoteCand"
)

// groupStore is the raft.StableStore of one group.
//
// Raft persists a vote as two writes, term and candidate. After a crash between them the new term would
// stand beside the old candidate: a vote that was never cast, and that could be granted again to another
// candidate. So the term is held back and written in one transaction with the candidate. Until then reads
// return the previous vote.
type groupStore struct {
	store *Store
	name  string

	// write serializes the writers of this group and is held during the commit, so that a writer compares
	// its values with those that the writer before it made durable. It covers heldTerm.
	write    sync.Mutex
	heldTerm []byte // term of a vote whose candidate has not come yet; nil if none

	// mu covers values, for the time of a map access. It is taken after write.
	mu     sync.RWMutex
	values map[string][]byte // durable
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

// Set makes a value durable. It returns at once if the value is stored already. It keeps neither slice.
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

// commitChanged makes those of the values durable that differ from what is stored, and only then shows
// them to readers. The caller holds write.
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

// Get returns a copy of the value, or an error whose text is "not found".
func (g *groupStore) Get(key []byte) ([]byte, error) {
	v, ok := g.value(string(key))
	if !ok {
		return nil, errNotFound
	}
	return bytes.Clone(v), nil
}

// SetUint64 is Set of eight bytes. The term of a vote becomes durable together with its candidate.
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
