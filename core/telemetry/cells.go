package telemetry

import (
	"iter"
	"maps"
	"slices"
	"sync"
)

// other is the label of everything beyond a bound. No topic, module or metric can bear this name.
const other = "(other)"

// cells are what is counted under one kind of label. There are at most `most` of them: names come
// from users, and a broker that runs for a year must not remember all of them. What comes later is
// counted together in one more cell.
type cells[K comparable, V any] struct {
	most int
	make func(K) *V

	rest *V

	mu  sync.RWMutex // covers all; what a cell counts is atomic
	all map[K]*V
}

// newCells takes the key under which what is beyond the bound is counted.
func newCells[K comparable, V any](most int, rest K, make func(K) *V) *cells[K, V] {
	return &cells[K, V]{most: most, make: make, all: map[K]*V{}, rest: make(rest)}
}

// of is the key's cell. It does not allocate when the cell is there.
func (c *cells[K, V]) of(key K) *V {
	if v := c.known(key); v != nil {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.all[key]; v != nil {
		return v
	}
	if len(c.all) >= c.most {
		return c.rest
	}
	v := c.make(key)
	c.all[key] = v
	return v
}

// known is the key's cell, nil if there is none.
func (c *cells[K, V]) known(key K) *V {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.all[key]
}

// forget removes cells; what is still added to them is lost.
func (c *cells[K, V]) forget(gone func(K, *V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.all, gone)
}

// each yields a snapshot of the cells, and the one for the rest if anything had to go there.
func (c *cells[K, V]) each() iter.Seq[*V] {
	c.mu.RLock()
	defer c.mu.RUnlock()
	snapshot := slices.AppendSeq(make([]*V, 0, len(c.all)+1), maps.Values(c.all))
	if len(c.all) >= c.most {
		snapshot = append(snapshot, c.rest)
	}
	return slices.Values(snapshot)
}
