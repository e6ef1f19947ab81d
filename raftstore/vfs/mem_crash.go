package vfs

import (
	"maps"
	"math/rand"
	"slices"
)

// CrashClone returns what a machine would find after losing power now: another Mem, of the same capacity,
// without locks and open files, in which everything is durable. This Mem stays as it is.
//
// The generator decides about each unsynced sector, file size and directory operation by itself: the
// operations of a directory survive either as a prefix or as any subset. Equal histories and
// generators give equal clones. With a nil rng nothing unsynced survives.
func (m *Mem) CrashClone(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := crash{rng: rng, fates: make(map[*memDirOp]bool), nodes: make(map[memNode]memNode)}
	out := NewMem(WithCapacity(m.capacity))
	out.root = c.dir(m.root)
	for _, n := range c.nodes {
		if in, ok := n.(*memInode); ok {
			out.used += in.charged() * pageSize
		}
	}
	return out
}

type crash struct {
	rng   *rand.Rand
	fates map[*memDirOp]bool
	nodes map[memNode]memNode // original to clone
}

// intn is in [0, n), and 0 (the oldest of the choices) without a generator.
func (c *crash) intn(n int) int {
	if c.rng == nil {
		return 0
	}
	return c.rng.Intn(n)
}

func (c *crash) dir(d *memDir) *memDir {
	if done, ok := c.nodes[d].(*memDir); ok {
		return done
	}
	out := newMemDir()
	c.nodes[d] = out
	entries := c.survivors(d)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		switch n := entries[name].(type) {
		case *memDir:
			out.live[name] = c.dir(n)
		case *memInode:
			in := c.file(n)
			in.links++
			out.live[name] = in
		}
	}
	out.durable = maps.Clone(out.live)
	return out
}

// survivors are the directory's entries after the crash.
func (c *crash) survivors(d *memDir) map[string]memNode {
	entries := maps.Clone(d.durable)
	asPrefix := c.intn(2) == 0
	keep := c.intn(len(d.pending) + 1)
	for i, op := range d.pending {
		fate, known := c.fates[op]
		if !known {
			fate = i < keep
			if !asPrefix {
				fate = c.intn(2) == 1
			}
			c.fates[op] = fate
		}
		if !fate && !op.committed {
			continue
		}
		for _, change := range op.changes {
			if change.dir != d {
				continue
			}
			if change.node == nil {
				delete(entries, change.name)
			} else {
				entries[change.name] = change.node
			}
		}
	}
	return entries
}

func (c *crash) file(in *memInode) *memInode {
	if done, ok := c.nodes[in].(*memInode); ok {
		return done
	}
	out := newMemInode()
	for i, p := range in.pages {
		page := *p
		out.pages[i] = &page
	}
	out.reserved = in.reserved
	for _, s := range slices.Sorted(maps.Keys(in.unsynced)) {
		versions := in.unsynced[s].versions
		if v := c.intn(len(versions) + 1); v < len(versions) {
			out.restore(s, versions[v])
		}
	}
	out.cut(c.size(in))
	c.nodes[in] = out
	return out
}

// size chooses among the durable size, the present one, and any between.
func (c *crash) size(in *memInode) int64 {
	lo, hi := min(in.size, in.durableSize), max(in.size, in.durableSize)
	switch c.intn(3) {
	case 0:
		return in.durableSize
	case 1:
		return in.size
	}
	return lo + c.rng.Int63n(hi-lo+1)
}

// restore gives sector s an older content (nil is zeros).
func (in *memInode) restore(s int64, content []byte) {
	i := s * sectorSize / pageSize
	if in.pages[i] == nil {
		if content == nil {
			return
		}
		in.pages[i] = new(memPage)
	}
	now := in.sector(s)
	clear(now)
	copy(now, content)
}

// cut sets the size, and makes it and all contents durable.
func (in *memInode) cut(size int64) {
	in.size = max(size, in.size)
	in.shrink(size)
	in.unsynced = make(map[int64]*memSector)
	in.durableSize = size
}
