package log

import (
	"slices"
	"sync"
)

// maxCached is how many sealed segments of a log stay open, with their indexes in memory, while nobody reads
// them.
const maxCached = 4

// segmentCache holds the sealed segments that are open. mu covers list, and is held while segments are
// unloaded, for which their own mutex is taken after it.
type segmentCache struct {
	mu   sync.Mutex
	list []*segment // the most recently used one last
}

// touch makes s the most recently used one, and unloads others beyond the limit that nobody uses, those
// first that were not used for the longest time.
func (c *segmentCache) touch(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.list); n > 0 && c.list[n-1] == s {
		return
	}
	c.forgetLocked(s)
	c.list = append(c.list, s)
	for i := 0; len(c.list) > maxCached && i < len(c.list)-1; {
		if c.list[i].unload() {
			c.list = slices.Delete(c.list, i, i+1)
			continue
		}
		i++
	}
}

// forget removes a segment that has left the log.
func (c *segmentCache) forget(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetLocked(s)
}

func (c *segmentCache) forgetLocked(s *segment) {
	if i := slices.Index(c.list, s); i >= 0 {
		c.list = slices.Delete(c.list, i, i+1)
	}
}
