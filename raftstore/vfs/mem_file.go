package vfs

import (
	"io"
	"io/fs"
	"maps"
	"syscall"
)

const (
	sectorSize = 512  // what a disk writes all or nothing
	pageSize   = 4096 // what a file system allocates
	// maxVersions bounds how many contents of a sector between two syncs a crash can choose from.
	maxVersions = 8
)

type memPage [pageSize]byte

// memInode is a file. Pages that were never written are absent and read as zeros.
type memInode struct {
	size     int64
	pages    map[int64]*memPage
	reserved int64 // pages [0, reserved) are allocated, present or not

	durableSize int64
	unsynced    map[int64]*memSector

	links, handles int
}

// memSector is a sector that differs, or may differ, from what the disk holds.
type memSector struct {
	versions [][]byte // contents before each write since the last sync, oldest first; nil is zeros
	lost     bool     // a sync failed since: no later one writes it
}

func newMemInode() *memInode {
	return &memInode{pages: make(map[int64]*memPage), unsynced: make(map[int64]*memSector)}
}

// charged is the number of pages that count against the capacity.
func (in *memInode) charged() int64 {
	n := in.reserved
	for i := range in.pages {
		if i >= in.reserved {
			n++
		}
	}
	return n
}

func (in *memInode) sector(s int64) []byte {
	p := in.pages[s*sectorSize/pageSize]
	if p == nil {
		return nil
	}
	at := s * sectorSize % pageSize
	return p[at : at+sectorSize]
}

// dirty remembers the content of sector s before a write changes it.
func (in *memInode) dirty(s int64) {
	var before []byte
	if now := in.sector(s); now != nil {
		before = append(before, now...)
	}
	d := in.unsynced[s]
	switch {
	case d == nil:
		in.unsynced[s] = &memSector{versions: [][]byte{before}}
	case d.lost:
		// The page is dirty again as a whole: the next sync writes it.
		d.lost, d.versions = false, append(d.versions[:1:1], before)
	case len(d.versions) < maxVersions:
		d.versions = append(d.versions, before)
	}
}

// write copies b to off. The pages are there.
func (in *memInode) write(b []byte, off int64) {
	if len(b) == 0 {
		return
	}
	for s := off / sectorSize; s <= (off+int64(len(b))-1)/sectorSize; s++ {
		in.dirty(s)
	}
	for at := off; len(b) > 0; {
		n := copy(in.pages[at/pageSize][at%pageSize:], b)
		b = b[n:]
		at += int64(n)
	}
}

// shrink cuts the file and zeroes its last page beyond the new end, since a later extension reads zeros there.
func (in *memInode) shrink(size int64) {
	for i, p := range in.pages {
		start := i * pageSize
		if start+pageSize <= size {
			continue
		}
		from := max(0, size-start)
		for s := (start + from) / sectorSize; s < (start+pageSize)/sectorSize; s++ {
			in.dirty(s)
		}
		if from == 0 {
			delete(in.pages, i)
		} else {
			clear(p[from:])
		}
	}
	in.reserved = min(in.reserved, pagesFor(size))
	in.size = size
}

func (in *memInode) synced() {
	maps.DeleteFunc(in.unsynced, func(_ int64, d *memSector) bool { return !d.lost })
	in.durableSize = in.size
}

func pagesFor(size int64) int64 { return (size + pageSize - 1) / pageSize }

// memFile is an open handle; mem.mu covers it.
type memFile struct {
	mem      *Mem
	inode    *memInode
	name     string
	readOnly bool
	closed   bool
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// use locks the file system for an operation on an open file.
func (f *memFile) use(op string, writes bool) (unlock func(), err error) {
	f.mem.mu.Lock()
	if f.closed {
		err = fs.ErrClosed
	} else if writes && f.readOnly {
		err = syscall.EBADF
	}
	if err != nil {
		f.mem.mu.Unlock()
		return nil, f.fail(op, err)
	}
	return f.mem.mu.Unlock, nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	unlock, err := f.use("read", false)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if off < 0 {
		return 0, f.fail("read", syscall.EINVAL)
	}
	want := len(p)
	p = p[:max(0, min(int64(len(p)), f.inode.size-off))]
	for at := 0; at < len(p); {
		pos := off + int64(at)
		part := p[at:min(len(p), at+int(pageSize-pos%pageSize))]
		if page := f.inode.pages[pos/pageSize]; page != nil {
			copy(part, page[pos%pageSize:])
		} else {
			clear(part)
		}
		at += len(part)
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return len(p), nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	return f.WritevAt([][]byte{p}, off)
}

func (f *memFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	unlock, err := f.use("write", true)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if off < 0 {
		return 0, f.fail("write", syscall.EINVAL)
	}
	written := 0
	for _, b := range bufs {
		room := f.makeRoomLocked(off+int64(written), int64(len(b)))
		f.inode.write(b[:room], off+int64(written))
		written += int(room)
		if room > 0 {
			f.inode.size = max(f.inode.size, off+int64(written))
		}
		if room < int64(len(b)) {
			return written, f.fail("write", syscall.ENOSPC)
		}
	}
	return written, nil
}

// makeRoomLocked makes the pages of [off, off+n) present, and returns how many of the n bytes have one.
func (f *memFile) makeRoomLocked(off, n int64) int64 {
	for at := off; at < off+n; at = (at/pageSize + 1) * pageSize {
		i := at / pageSize
		if f.inode.pages[i] != nil {
			continue
		}
		if i >= f.inode.reserved && !f.chargeLocked(1) {
			return at - off
		}
		f.inode.pages[i] = new(memPage)
	}
	return n
}

func (f *memFile) chargeLocked(pages int64) bool {
	if m := f.mem; m.capacity > 0 && pages > 0 && m.used+pages*pageSize > m.capacity {
		return false
	}
	f.mem.used += pages * pageSize
	return true
}

func (f *memFile) Allocate(size int64) error {
	unlock, err := f.use("allocate", true)
	if err != nil {
		return err
	}
	defer unlock()
	in := f.inode
	if reserve := pagesFor(size); reserve > in.reserved {
		need := reserve - in.reserved
		for i := range in.pages {
			if i >= in.reserved && i < reserve {
				need--
			}
		}
		if !f.chargeLocked(need) {
			return f.fail("allocate", syscall.ENOSPC)
		}
		in.reserved = reserve
	}
	in.size = max(in.size, size)
	return nil
}

func (f *memFile) Truncate(size int64) error {
	unlock, err := f.use("truncate", true)
	if err != nil {
		return err
	}
	defer unlock()
	if size < 0 {
		return f.fail("truncate", syscall.EINVAL)
	}
	if size >= f.inode.size {
		f.inode.size = size
		return nil
	}
	before := f.inode.charged()
	f.inode.shrink(size)
	f.mem.used -= (before - f.inode.charged()) * pageSize
	return nil
}

func (f *memFile) Size() (int64, error) {
	unlock, err := f.use("stat", false)
	if err != nil {
		return 0, err
	}
	defer unlock()
	return f.inode.size, nil
}

func (f *memFile) Sync() error {
	unlock, err := f.use("sync", false)
	if err != nil {
		return err
	}
	defer unlock()
	f.inode.synced()
	return nil
}

func (f *memFile) SyncData() error { return f.Sync() }

// failSync is what a failed write-back does: the unsynced sectors count as clean from now on.
func (f *memFile) failSync() {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	for _, d := range f.inode.unsynced {
		d.lost = true
	}
}

func (f *memFile) Close() error {
	unlock, err := f.use("close", false)
	if err != nil {
		return err
	}
	defer unlock()
	f.closed = true
	f.inode.handles--
	f.mem.releaseLocked(f.inode)
	return nil
}
