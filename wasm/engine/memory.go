package engine

import (
	"fmt"

	"github.com/tetratelabs/wazero/experimental"
)

// memory is the linear memory of one instance: address space for the limit is reserved at once, pages
// become usable as the module grows. Growing therefore neither copies nor moves, and pages that are never
// touched take no memory.
type memory struct {
	limit   uint64
	grown   func(delta int64)
	mapping []byte
	size    uint64
	err     error // why the reservation failed
}

var _ experimental.MemoryAllocator = (*memory)(nil)

// Allocate implements experimental.MemoryAllocator. wazero calls it once per instance.
func (m *memory) Allocate(_, max uint64) experimental.LinearMemory {
	m.limit = min(m.limit, max)
	if m.limit > 0 {
		m.mapping, m.err = reserve(int(m.limit))
	}
	return m
}

// Reallocate implements experimental.LinearMemory; nil refuses to grow.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.mapping)) {
		return nil
	}
	if size > m.size {
		if err := commit(m.mapping[:size]); err != nil {
			m.err = fmt.Errorf("commit %d bytes: %w", size, err)
			return nil
		}
		m.grown(int64(size - m.size))
		m.size = size
	}
	return m.mapping[:size:size]
}

// Free implements experimental.LinearMemory.
func (m *memory) Free() {
	if m.mapping == nil {
		return
	}
	m.grown(-int64(m.size))
	m.err = unreserve(m.mapping)
	m.mapping, m.size = nil, 0
}
