package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Report is the result of Verify.
type Report struct {
	Segments, Frames, Batches int
	Bytes                     int64 // of good frames
	FirstIndex, LastIndex     uint64
	StartOffset, EndOffset    int64
	// TornTail is where a crash interrupted the last write, if one did. Open cuts the log there; nothing
	// acknowledged is lost.
	TornTail *Fault
	Faults   []Fault
	// MoreFaults counts those beyond maxFaults.
	MoreFaults int
}

// Fault is one failed check.
type Fault struct {
	File string
	Pos  int64
	// Problem is what is wrong, Advice what to do about it.
	Problem, Advice string
}

// maxFaults is the most faults that a report lists.
const maxFaults = 1000

const (
	adviceRestore = "restore this replica from another one or a backup; entries from here on cannot be trusted"
	adviceIndex   = "delete the file; it is rebuilt from the segment when needed"
	adviceBatch   = "the frame is as it was written: the batch was damaged before it was stored; consumers will refuse it"
	adviceTail    = "nothing: the write was never acknowledged, and the next start removes it"
)

// Verify checks the segments' headers and that they continue each other, every frame, the checksum and offsets
// of every batch, and the index files of the log in dir. After a fault it goes on where it can. It changes
// nothing and must not run while the log is open. It returns an error only for what could not be read.
func Verify(fsys vfs.FS, dir string) (Report, error) {
	v := verifier{fs: fsys}
	if err := v.run(dir); err != nil {
		return v.report, fmt.Errorf("verify log %s: %w", dir, err)
	}
	return v.report, nil
}

type verifier struct {
	fs     vfs.FS
	report Report
	buf    []byte
}

// fault reports a *CorruptionError and returns nil; it returns any other error.
func (v *verifier) fault(err error, advice string) error {
	var damage *CorruptionError
	if !errors.As(err, &damage) {
		return err
	}
	v.add(damage.File, damage.Pos, damage.Reason, advice)
	return nil
}

func (v *verifier) add(file string, pos int64, problem, advice string) {
	if len(v.report.Faults) == maxFaults {
		v.report.MoreFaults++
		return
	}
	v.report.Faults = append(v.report.Faults, Fault{File: file, Pos: pos, Problem: problem, Advice: advice})
}

func (v *verifier) run(dir string) error {
	start, err := readStart(v.fs, dir)
	if err := v.fault(err, adviceRestore); err != nil {
		return err
	}
	set := &segmentSet{start: start}
	names, err := set.list(v.fs, dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		s, active, err := readSegment(v.fs, name)
		if err := v.fault(err, adviceRestore); err != nil {
			return err
		}
		if s == nil {
			continue
		}
		if !active {
			set.unused = append(set.unused, s)
			continue
		}
		if err := v.fault(set.link(s), adviceRestore); err != nil {
			return err
		}
		set.unused = nil
	}
	for _, u := range set.unused {
		if err := v.fault(u.checkUnused(), adviceRestore); err != nil {
			return err
		}
	}
	return v.segments(set)
}

func (v *verifier) segments(set *segmentSet) error {
	base := set.start.base
	for _, s := range set.segments {
		v.report.Segments++
		if err := v.segment(s); err != nil {
			return err
		}
	}
	end := base
	if n := len(set.segments); n > 0 {
		base = set.segments[0].base()
		tail := set.segments[n-1].tail.Load()
		end = logBase{index: tail.lastIndex, offset: tail.nextOffset}
	}
	if end.index > base.index {
		v.report.FirstIndex, v.report.LastIndex = base.index+1, end.index
	}
	v.report.EndOffset = end.offset
	v.report.StartOffset = min(max(set.start.startOffset, base.offset), end.offset)
	return nil
}

// segment checks one segment's frames and sets the tail of a segment that is not sealed to their end.
func (v *verifier) segment(s *segment) error {
	f, scan, err := s.openScan()
	if err != nil {
		return err
	}
	defer f.Close()
	var h frameHeader
	for {
		pos := scan.pos
		err := scan.next(&h)
		if err == nil {
			if err := v.frame(s, f, pos, &h); err != nil {
				return err
			}
			continue
		}
		again, err := v.stopped(s, scan, err)
		if err != nil {
			return err
		}
		if !again {
			break
		}
	}
	if !s.tail.Load().sealed {
		s.tail.Store(&segmentTail{size: scan.pos, lastIndex: scan.nextIndex - 1, lastTerm: scan.term, nextOffset: scan.nextOffset})
		return nil
	}
	return v.index(s, f)
}

// stopped reports why a scan stopped, and moves the scan to the next frame after the damage, if there is one.
func (v *verifier) stopped(s *segment, scan *frameScan, err error) (again bool, _ error) {
	var why *scanStop
	if errors.Is(err, io.EOF) || errors.As(err, &why) {
		pos, index, offset := scan.pos, scan.nextIndex, scan.nextOffset
		fault := s.dumpEnd(scan, err)
		if fault == nil {
			if why != nil && !errors.Is(why, errFrameMagic) {
				v.report.TornTail = &Fault{File: s.name, Pos: pos, Problem: why.Error(), Advice: adviceTail}
			}
			return false, nil
		}
		if err := v.fault(fault, adviceRestore); err != nil || why == nil {
			return false, err
		}
		if again, err = scan.resume(); !again || err != nil {
			return false, err
		}
		v.add(s.name, pos, fmt.Sprintf("%d bytes are unreadable: raft indexes %d to %d, offsets %d to %d",
			scan.pos-pos, index, scan.nextIndex-1, offset, scan.nextOffset-1), adviceRestore)
		return true, nil
	}
	return false, fmt.Errorf("read %s: %w", s.name, err)
}

// resume moves the scan to the next whole frame that can belong to the log.
func (c *frameScan) resume() (bool, error) {
	var h frameHeader
	for pos := c.pos + frameAlign; pos+frameHeaderSize <= c.window.end; pos += frameAlign {
		b, err := c.window.view(pos, frameHeaderSize)
		if err != nil {
			return false, err
		}
		if h.decode(b, c.seed) != nil || h.index < c.nextIndex || h.baseOffset < c.nextOffset || c.cut.voids(&h, pos) {
			continue
		}
		c.pos, c.nextIndex, c.term, c.nextOffset = pos, h.index, min(c.term, h.term), h.baseOffset
		return true, nil
	}
	return false, nil
}

// frame checks the batches of one entry.
func (v *verifier) frame(s *segment, f io.ReaderAt, pos int64, h *frameHeader) error {
	v.report.Frames++
	v.report.Bytes += h.size()
	if h.kind != raft.LogCommand {
		return nil
	}
	var err error
	if v.buf, err = readPayload(f, pos, h, v.buf); err != nil {
		return fmt.Errorf("read %s at %d: %w", s.name, pos, err)
	}
	limits := record.Limits{MaxBatchBytes: maxFramePayload, MaxRecords: 1<<31 - 1}
	next := h.baseOffset
	for b, err := range record.All(v.buf[h.extLen:]) {
		if err == nil {
			v.report.Batches++
			err = b.CheckHeader(limits)
		}
		if err != nil {
			v.add(s.name, pos, fmt.Sprintf("raft index %d: %v", h.index, err), adviceBatch)
			return nil
		}
		if b.BaseOffset() != next || b.LeaderEpoch() != int32(uint32(h.term)) {
			v.add(s.name, pos, fmt.Sprintf("raft index %d: batch at offset %d, leader epoch %d, expected %d, %d",
				h.index, b.BaseOffset(), b.LeaderEpoch(), next, h.term), adviceBatch)
		}
		next = b.NextOffset()
	}
	if next != h.nextOffset {
		v.add(s.name, pos, fmt.Sprintf("raft index %d: the batches end at offset %d, the frame says %d", h.index, next, h.nextOffset), adviceBatch)
	}
	return nil
}

// index compares a sealed segment's index file, if there is one, with the segment.
func (v *verifier) index(s *segment, f vfs.File) error {
	tail := s.tail.Load()
	stored, err := readIndex(v.fs, s, tail)
	if err != nil {
		if errors.Is(err, errIndexFile) {
			v.add(s.indexName(), 0, err.Error(), adviceIndex)
		}
		return nil
	}
	actual, err := s.rebuildIndex(f, tail)
	if err != nil {
		return nil // the segment's faults are reported already
	}
	if len(stored) != len(actual) {
		v.add(s.indexName(), 0, fmt.Sprintf("%d entries, expected %d", len(stored), len(actual)), adviceIndex)
		return nil
	}
	for i := range stored {
		if stored[i] != actual[i] {
			v.add(s.indexName(), int64(indexFileHeader+i*indexEntrySize), "the entry differs from the segment", adviceIndex)
			return nil
		}
	}
	return nil
}
