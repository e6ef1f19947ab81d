package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// The index file of a sealed segment holds what a scan of the segment would find. It is used only if its
// checksum is right and it describes the segment as it ends now, and rebuilt otherwise.
const (
	indexFileVersion = 1
	indexFileHeader  = 48
	indexEntrySize   = 24
	// maxIndexEntries is the most entries that a segment of the greatest size can have.
	maxIndexEntries = maxSegmentBytes / indexInterval
)

var indexFileMagic = [8]byte{'W', 'M', 'I', 'N', 'D', 'E', 'X', 0}

var (
	errIndexFile  = errors.New("index file does not check")
	errIndexStale = errors.New("index file describes another state of its segment")
)

func encodeIndex(s *segment, tail *segmentTail, entries []indexEntry) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, indexFileHeader+len(entries)*indexEntrySize+4)
	b = append(b, indexFileMagic[:]...)
	b = le.AppendUint32(b, indexFileVersion)
	b = le.AppendUint32(b, uint32(len(entries)))
	b = le.AppendUint64(b, s.salt)
	b = le.AppendUint64(b, uint64(tail.size))
	b = le.AppendUint64(b, tail.lastIndex)
	b = le.AppendUint32(b, s.cut.generation)
	b = le.AppendUint32(b, 0)
	for _, e := range entries {
		b = le.AppendUint64(b, uint64(e.offset))
		b = le.AppendUint64(b, uint64(e.maxBefore))
		b = le.AppendUint32(b, e.pos)
		b = le.AppendUint32(b, e.index)
	}
	return le.AppendUint32(b, crc32.Update(s.seed, castagnoli, b))
}

func decodeIndex(b []byte, s *segment, tail *segmentTail) ([]indexEntry, error) {
	le := binary.LittleEndian
	if len(b) < indexFileHeader+4 || [8]byte(b[:8]) != indexFileMagic || le.Uint32(b[8:]) != indexFileVersion {
		return nil, errIndexFile
	}
	n := int(le.Uint32(b[12:]))
	if n > maxIndexEntries || len(b) != indexFileHeader+n*indexEntrySize+4 {
		return nil, errIndexFile
	}
	if le.Uint64(b[16:]) != s.salt {
		return nil, errIndexStale
	}
	if crc32.Update(s.seed, castagnoli, b[:len(b)-4]) != le.Uint32(b[len(b)-4:]) {
		return nil, errIndexFile
	}
	if int64(le.Uint64(b[24:])) != tail.size || le.Uint64(b[32:]) != tail.lastIndex || le.Uint32(b[40:]) != s.cut.generation {
		return nil, errIndexStale
	}
	entries := make([]indexEntry, n)
	for i := range entries {
		e := b[indexFileHeader+i*indexEntrySize:]
		entries[i] = indexEntry{
			offset: int64(le.Uint64(e)), maxBefore: int64(le.Uint64(e[8:])), pos: le.Uint32(e[16:]), index: le.Uint32(e[20:]),
		}
	}
	return entries, nil
}

func (s *segment) indexName() string {
	return sequenceName(path.Dir(s.name), s.sequence, indexSuffix)
}

// indexOf returns a sealed segment's sparse index, and loads or rebuilds it if it is not in memory.
func (l *Log) indexOf(s *segment, f vfs.File, tail *segmentTail) ([]indexEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock() // held while loading: other readers of this segment need the index too
	if s.indexed {
		return s.index, nil
	}
	entries, err := readIndex(l.fs, s, tail)
	if err != nil {
		if entries, err = s.rebuildIndex(f, tail); err != nil {
			return nil, err
		}
		l.storeIndex(s, tail, entries)
	}
	s.index, s.indexed = entries, true
	return entries, nil
}

func readIndex(fsys vfs.FS, s *segment, tail *segmentTail) ([]indexEntry, error) {
	f, err := fsys.OpenReadOnly(s.indexName())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > indexFileHeader+maxIndexEntries*indexEntrySize+4 {
		return nil, errIndexFile
	}
	b := make([]byte, size)
	if err := readFull(f, b, 0); err != nil {
		return nil, err
	}
	return decodeIndex(b, s, tail)
}

// rebuildIndex makes the index from the headers of all frames.
func (s *segment) rebuildIndex(f io.ReaderAt, tail *segmentTail) ([]indexEntry, error) {
	scan := s.scan(f, tail.size)
	scan.skipPayload = true
	var entries []indexEntry
	var h frameHeader
	maxTimestamp := int64(noTimestamp)
	for {
		pos := scan.pos
		switch err := scan.next(&h); {
		case err == nil:
			entries = appendIndex(entries, pos, &h, s.baseIndex, maxTimestamp)
			maxTimestamp = max(maxTimestamp, h.maxTimestamp)
		case !errors.Is(err, io.EOF):
			var why *scanStop
			if errors.As(err, &why) {
				return nil, corrupt(s.name, pos, "%v, in a sealed segment", why)
			}
			return nil, fmt.Errorf("read %s: %w", s.name, err)
		case h.index != tail.lastIndex && scan.nextIndex != tail.lastIndex+1:
			return nil, corrupt(s.name, scan.pos, "the segment ends with raft index %d, expected %d", scan.nextIndex-1, tail.lastIndex)
		default:
			return entries, nil
		}
	}
}

// writeIndex stores the index of a segment that was sealed. The segment may be dropped or truncated right after
// the check here: a file for a dropped segment is removed by the next Open, and one for a truncated segment
// describes another end and is not used.
func (l *Log) writeIndex(s *segment) {
	tail := s.tail.Load()
	s.mu.Lock()
	entries, indexed, dropped := s.index, s.indexed, s.dropped
	s.mu.Unlock()
	if indexed && !dropped && tail.sealed {
		l.storeIndex(s, tail, entries)
	}
}

// storeIndex replaces a segment's index file. If it fails, or if a description of an earlier state of the segment
// is stored last, the index is rebuilt when it is needed.
func (l *Log) storeIndex(s *segment, tail *segmentTail, entries []indexEntry) {
	l.indexFiles.Lock()
	defer l.indexFiles.Unlock()
	if err := vfs.ReplaceFile(l.fs, s.indexName(), encodeIndex(s, tail, entries)); err != nil {
		l.o.Logger.Warn("index file not written; it is rebuilt when needed", "file", s.indexName(), "error", err)
	}
}
