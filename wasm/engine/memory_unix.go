//go:build unix

package engine

import "golang.org/x/sys/unix"

// reserve takes address space for size bytes; nothing of it can be touched yet.
func reserve(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

// commit makes b, the first part of a reservation, usable. The kernel gives zeroed pages at first touch.
func commit(b []byte) error { return unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE) }

func unreserve(b []byte) error { return unix.Munmap(b) }
