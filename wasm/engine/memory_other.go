//go:build !unix

package engine

// Without mmap the whole limit is allocated at once; the system may still hand out pages lazily.
func reserve(size int) ([]byte, error) { return make([]byte, size), nil }

func commit([]byte) error { return nil }

func unreserve([]byte) error { return nil }
