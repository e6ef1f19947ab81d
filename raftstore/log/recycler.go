package log

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Recycler keeps the files of dropped segments for new segments of any log on the same file system: writing
// over blocks that a file has is several times faster than extending it. Safe for concurrent use.
//
// A crash must never bring back a file's old name once the file is used under a new one: two logs would write
// to it. So a file is offered only after its move into the recycler is durable, and written only after its
// move out is. A crash in between leaves a file under a name that OpenRecycler or Open of the log removes.
// A file comes here only when no reader has it open any more: see Log.discard.
type Recycler struct {
	fs       vfs.FS
	dir      string
	maxBytes int64

	// mu covers the fields below and is not held during file operations. A file is in free only while nobody
	// moves it: take removes it from free before it renames it, put adds it after.
	mu    sync.Mutex
	free  []recycledFile
	bytes int64  // of free, and of files that put is moving in
	last  uint64 // the number used last in a name
}

type recycledFile struct {
	name string
	size int64
}

const freeSuffix = ".free"

// OpenRecycler opens a recycler over the files in dir, which is made if it is missing. It keeps at most
// maxBytes.
func OpenRecycler(fsys vfs.FS, dir string, maxBytes int64) (*Recycler, error) {
	r := &Recycler{fs: fsys, dir: dir, maxBytes: maxBytes}
	// A killed process may have moved a file here without making that durable: its old name must not come back once
	// the file is used again. The directory that it came from is synced when that log is opened.
	if err := vfs.OpenDirSynced(fsys, dir); err != nil {
		return nil, fmt.Errorf("open recycler: %w", err)
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open recycler: %w", err)
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		number, ok := parseSequence(name, freeSuffix)
		if !ok {
			continue
		}
		info, err := fsys.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("open recycler: %w", err)
		}
		r.last = max(r.last, number)
		if r.bytes+info.Size() > maxBytes || info.Size() < 2*segmentHeaderSize {
			if err := fsys.Remove(name); err != nil {
				return nil, fmt.Errorf("open recycler: %w", err)
			}
			continue
		}
		r.bytes += info.Size()
		r.free = append(r.free, recycledFile{name, info.Size()})
	}
	return r, nil
}

// put takes the file over and reports whether it did; otherwise the file still belongs to the caller. Its
// bytes are counted before it is moved, so that concurrent calls stay below maxBytes together.
func (r *Recycler) put(name string) bool {
	info, err := r.fs.Stat(name)
	if err != nil {
		return false
	}
	r.mu.Lock()
	evicted, ok := r.makeRoomLocked(info.Size())
	if !ok {
		r.mu.Unlock()
		return false
	}
	r.bytes += info.Size()
	r.last++
	f := recycledFile{sequenceName(r.dir, r.last, freeSuffix), info.Size()}
	r.mu.Unlock()

	for _, small := range evicted {
		_ = r.fs.Remove(small.name) // if this fails, the next OpenRecycler finds it
	}
	err = r.fs.Rename(name, f.name)
	moved := err == nil
	if moved {
		err = errors.Join(r.fs.SyncDir(path.Dir(name)), r.fs.SyncDir(r.dir))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.bytes -= f.size // not offered; OpenRecycler or Open of the log finds it
		return moved
	}
	r.free = append(r.free, f)
	return true
}

// makeRoomLocked evicts smaller files for a larger one: segments grow with their log, so small files are those
// that busy logs have dropped and will not need again.
func (r *Recycler) makeRoomLocked(size int64) (evicted []recycledFile, ok bool) {
	slices.SortStableFunc(r.free, func(a, b recycledFile) int { return cmp.Compare(a.size, b.size) })
	n, bytes := 0, r.bytes
	for bytes+size > r.maxBytes && n < len(r.free) && r.free[n].size < size {
		bytes -= r.free[n].size
		n++
	}
	if bytes+size > r.maxBytes {
		return nil, false
	}
	evicted = slices.Clone(r.free[:n])
	r.free, r.bytes = slices.Delete(r.free, 0, n), bytes
	return evicted, true
}

// Release removes files of at least n bytes together, or all that there are, so that their space can be used for
// something else, and returns how many bytes it freed. It is for a full disk: nobody should be told that the disk is
// full while files are kept here for later. Logs call it themselves. Large files go first: a single one mostly does.
func (r *Recycler) Release(n int64) int64 {
	r.mu.Lock()
	slices.SortStableFunc(r.free, func(a, b recycledFile) int { return cmp.Compare(b.size, a.size) })
	count, size := 0, int64(0)
	for ; count < len(r.free) && size < n; count++ {
		size += r.free[count].size
	}
	released := slices.Clone(r.free[:count])
	r.free = slices.Delete(r.free, 0, count)
	r.bytes -= size
	r.mu.Unlock()
	for _, f := range released {
		if err := r.fs.Remove(f.name); err != nil {
			size -= f.size // the next OpenRecycler finds it
		}
	}
	if count > 0 {
		_ = r.fs.SyncDir(r.dir) // some file systems free the space of a removed file only then
	}
	return size
}

// relieved runs an operation that needs at most n bytes of space, again when there was none and a recycler had some to
// give.
func (r *Recycler) relieved(n int64, operation func() error) error {
	err := operation()
	if r != nil && errors.Is(diskFull(err), ErrDiskFull) && r.Release(n) > 0 {
		return operation()
	}
	return err
}

// take moves the smallest file of at least size bytes, and at most twice that, to name and opens it. It
// returns nil if there is none.
func (r *Recycler) take(size int64, name string) (vfs.File, int64, error) {
	r.mu.Lock()
	best := -1
	for i, f := range r.free {
		if f.size >= size && f.size <= 2*size && (best < 0 || f.size < r.free[best].size) {
			best = i
		}
	}
	if best < 0 {
		r.mu.Unlock()
		return nil, 0, nil
	}
	f := r.free[best]
	r.free = slices.Delete(r.free, best, best+1)
	r.bytes -= f.size
	r.mu.Unlock()

	if err := r.fs.Rename(f.name, name); err != nil {
		return nil, 0, fmt.Errorf("take recycled file: %w", err)
	}
	file, err := r.fs.Open(name)
	if err == nil {
		// Before it is written, its name here must be gone for good. Of the new name the caller takes care.
		if err = r.fs.SyncDir(r.dir); err != nil {
			_ = file.Close()
		}
	}
	if err != nil {
		_ = r.fs.Remove(name) // if this fails, the next Open of the log removes it
		return nil, 0, fmt.Errorf("take recycled file: %w", err)
	}
	return file, f.size, nil
}
