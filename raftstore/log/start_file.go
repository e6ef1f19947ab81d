package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// startFile records where a log begins. It is replaced as a whole. A log that has dropped nothing at its start
// has none.
const (
	startFile        = "log.start"
	startFileSize    = 64
	startFileVersion = 1
)

var startFileMagic = [8]byte{'W', 'M', 'S', 'T', 'A', 'R', 'T', 0}

// logStart is the content of the start file. Segments up to base.sequence have left the log, even if their files
// are still there; the first later one continues base.
type logStart struct {
	base        logBase
	startOffset int64
}

func (s logStart) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, startFileSize)
	b = append(b, startFileMagic[:]...)
	b = le.AppendUint32(b, startFileVersion)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, s.base.index)
	b = le.AppendUint64(b, s.base.term)
	b = le.AppendUint64(b, uint64(s.base.offset))
	b = le.AppendUint64(b, s.base.sequence)
	b = le.AppendUint64(b, uint64(s.startOffset))
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeStart(b []byte) (logStart, error) {
	le := binary.LittleEndian
	var s logStart
	switch {
	case len(b) != startFileSize || [8]byte(b[:8]) != startFileMagic:
		return s, errors.New("not a log start file")
	case crc32.Checksum(b[:startFileSize-4], castagnoli) != le.Uint32(b[startFileSize-4:]):
		return s, errors.New("checksum differs")
	case le.Uint32(b[8:]) != startFileVersion:
		return s, fmt.Errorf("format version %d is unknown", le.Uint32(b[8:]))
	}
	s.base = logBase{index: le.Uint64(b[16:]), term: le.Uint64(b[24:]), offset: int64(le.Uint64(b[32:])), sequence: le.Uint64(b[40:])}
	s.startOffset = int64(le.Uint64(b[48:]))
	return s, nil
}

// readStart returns the zero start if there is no file.
func readStart(fsys vfs.FS, dir string) (logStart, error) {
	name := path.Join(dir, startFile)
	f, err := fsys.OpenReadOnly(name)
	if errors.Is(err, fs.ErrNotExist) {
		return logStart{}, nil
	}
	if err != nil {
		return logStart{}, fmt.Errorf("open log start: %w", err)
	}
	defer f.Close()
	b := make([]byte, startFileSize+1)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return logStart{}, fmt.Errorf("read %s: %w", name, err)
	}
	s, err := decodeStart(b[:n])
	if err != nil {
		return logStart{}, corrupt(name, 0, "%v", err)
	}
	return s, nil
}

// startSpace is what replacing the start file takes at most: a block for the content, and one for its name.
const startSpace = 8 << 10

// spareFile keeps a block for the start file: retention must succeed on a disk without a free block, as it is what
// frees space there. It is empty of meaning; Open makes it, if there is space, and dropBefore after it was used.
const spareFile = "log.spare"

// writeStart replaces the start file durably. Without space it takes that of the recycler, then that of the spare
// file.
func (l *Log) writeStart(s logStart) error {
	replace := func() error {
		return vfs.ReplaceFileSynced(l.fs, path.Join(l.dir, startFile), s.encode())
	}
	err := l.o.Recycler.relieved(startSpace, replace)
	if errors.Is(diskFull(err), ErrDiskFull) && l.fs.Remove(path.Join(l.dir, spareFile)) == nil {
		_ = l.fs.SyncDir(l.dir) // some file systems free the space of a removed file only then
		err = replace()
	}
	return err
}

// keepSpare makes the spare file if it is missing. Without it a full disk needs other help, so it may fail.
func (l *Log) keepSpare() {
	name := path.Join(l.dir, spareFile)
	f, err := l.fs.Create(name)
	if err != nil {
		return
	}
	err = f.Allocate(startSpace)
	if closing := f.Close(); err != nil || closing != nil {
		_ = l.fs.Remove(name)
	}
}
