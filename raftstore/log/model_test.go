package log

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// modelLog is what a Log should be: a slice of entries, with the records' batches beside them.
type modelLog struct {
	base    raft.Log // the entry before the first one
	offset  int64    // log end offset while there are no batches
	start   int64
	entries []*raft.Log
	batches []modelBatch
	removed uint64 // the last index before entries were removed from the end, until others are stored
}

type modelBatch struct {
	index        uint64
	base, next   int64
	maxTimestamp int64
	bytes        []byte
}

func (m *modelLog) last() uint64 { return m.base.Index + uint64(len(m.entries)) }

func (m *modelLog) end() int64 {
	if n := len(m.batches); n > 0 {
		return m.batches[n-1].next
	}
	return m.offset
}

func (m *modelLog) store(e *raft.Log) {
	m.entries, m.removed = append(m.entries, e), 0
	if e.Type != raft.LogCommand {
		return
	}
	for b := range record.All(e.Data) {
		m.batches = append(m.batches, modelBatch{e.Index, b.BaseOffset(), b.NextOffset(), b.MaxTimestamp(), b})
	}
}

func (m *modelLog) truncate(from uint64) {
	m.offset, m.removed = m.end(), max(m.removed, m.last())
	for _, b := range m.batches {
		if b.index >= from {
			m.offset = min(m.offset, b.base)
		}
	}
	m.entries = m.entries[:from-m.base.Index-1]
	m.batches = slices.DeleteFunc(m.batches, func(b modelBatch) bool { return b.index >= from })
	m.start = min(m.start, m.end())
}

// retain follows what the log says that it dropped.
func (m *modelLog) retain(first uint64, start int64) {
	m.offset = m.end()
	for m.base.Index+1 < first {
		m.base, m.entries = *m.entries[0], m.entries[1:]
	}
	m.batches = slices.DeleteFunc(m.batches, func(b modelBatch) bool { return b.index < first })
	m.start = start
}

// read is Log.Read without a limit.
func (m *modelLog) read(offset int64, maxBytes int) []byte {
	var out []byte
	for _, b := range m.batches {
		if b.next <= offset {
			continue
		}
		if len(out) > 0 && len(out)+len(b.bytes) > maxBytes {
			break
		}
		out = append(out, b.bytes...)
	}
	return out
}

func (m *modelLog) offsetForTime(ms int64) (int64, bool) {
	for _, b := range m.batches {
		if b.next > m.start && b.maxTimestamp >= ms {
			return max(b.base, m.start), true
		}
	}
	return 0, false
}

func TestLogMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem := vfs.NewMem()
		recycler, err := OpenRecycler(mem, "/data/recycle", 100<<10)
		if err != nil {
			t.Fatal(err)
		}
		m := &modelMachine{fs: mem, o: Options{SegmentBytes: 16 << 10, Recycler: recycler, inline: true}, term: 1}
		m.open(t)
		t.Repeat(map[string]func(*rapid.T){
			"store": m.store, "store more": m.store, "truncate": m.truncate, "retain": m.retain,
			"reopen": m.reopen, "reset": m.reset, "": m.check,
		})
	})
}

type modelMachine struct {
	fs    vfs.FS
	o     Options
	log   *Log
	model modelLog
	term  uint64
}

func (m *modelMachine) open(t *rapid.T) {
	var err error
	if m.log, err = Open(m.fs, "/data/t-0", m.o); err != nil {
		t.Fatal(err)
	}
}

func (m *modelMachine) reopen(t *rapid.T) {
	if err := m.log.Close(); err != nil {
		t.Fatal(err)
	}
	m.model.removed = 0
	m.open(t)
}

func (m *modelMachine) store(t *rapid.T) {
	m.term += uint64(rapid.IntRange(0, 1).Draw(t, "new term"))
	var entries []*raft.Log
	for range rapid.IntRange(1, 6).Draw(t, "entries") {
		index := m.model.last() + 1 + uint64(len(entries))
		if rapid.IntRange(0, 5).Draw(t, "kind") == 0 {
			entries = append(entries, noop(index, m.term))
			continue
		}
		var batches [][]byte
		for range rapid.IntRange(0, 3).Draw(t, "batches") {
			batches = append(batches, recordtest.Opaque(int32(rapid.IntRange(1, 5).Draw(t, "records")),
				int64(rapid.IntRange(0, 100).Draw(t, "timestamp")), rapid.IntRange(0, 3000).Draw(t, "size"), byte(index)))
		}
		e := command(index, m.term, batches...)
		e.Extensions = rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "extensions")
		entries = append(entries, e)
	}
	if err := m.log.StoreLogs(entries); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		m.model.store(e)
	}
}

func (m *modelMachine) truncate(t *rapid.T) {
	if len(m.model.entries) == 0 {
		t.Skip("empty")
	}
	from := m.model.base.Index + 1 + uint64(rapid.IntRange(0, len(m.model.entries)-1).Draw(t, "from"))
	if err := m.log.DeleteRange(from, m.model.last()); err != nil {
		t.Fatal(err)
	}
	m.model.truncate(from)
}

func (m *modelMachine) retain(t *rapid.T) {
	p := Retention{
		MaxBytes:     int64(rapid.IntRange(0, 60<<10).Draw(t, "max bytes")),
		BeforeOffset: int64(rapid.IntRange(0, int(m.model.end())+3).Draw(t, "before")),
	}
	safe := m.model.base.Index + uint64(rapid.IntRange(0, len(m.model.entries)).Draw(t, "safe"))
	trimmed, err := m.log.Retain(p, safe)
	if err != nil {
		t.Fatal(err)
	}
	first := m.log.state.Load().base.index + 1
	if first > safe+1 && first > m.model.base.Index+1 {
		t.Fatalf("first index %d, but only %d is safe", first, safe)
	}
	if trimmed.StartOffset < min(p.BeforeOffset, m.model.end()) {
		t.Fatalf("start offset %d, asked for %d", trimmed.StartOffset, p.BeforeOffset)
	}
	m.model.retain(first, trimmed.StartOffset)
}

func (m *modelMachine) reset(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "rarely") != 0 {
		return
	}
	index, offset := m.model.last()+uint64(rapid.IntRange(1, 50).Draw(t, "index")), m.model.end()+17
	if err := m.log.Reset(index, m.term, offset); err != nil {
		t.Fatal(err)
	}
	removed := max(m.model.removed, m.model.last())
	m.model = modelLog{base: raft.Log{Index: index, Term: m.term}, offset: offset, start: offset, removed: removed}
}

func (m *modelMachine) check(t *rapid.T) {
	model, l := &m.model, m.log
	first, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	if len(model.entries) == 0 {
		if first != 0 || last != 0 {
			t.Fatalf("an empty log has indexes %d to %d", first, last)
		}
	} else if first != model.base.Index+1 || last != model.last() {
		t.Fatalf("indexes %d to %d, expected %d to %d", first, last, model.base.Index+1, model.last())
	}
	if l.StartOffset() != model.start || l.EndOffset() != model.end() {
		t.Fatalf("offsets %d to %d, expected %d to %d", l.StartOffset(), l.EndOffset(), model.start, model.end())
	}
	m.checkEntries(t)
	m.checkReads(t)
}

func (m *modelMachine) checkEntries(t *rapid.T) {
	var got raft.Log
	next := m.log.state.Load().base.offset
	for _, want := range m.model.entries {
		if err := m.log.GetLog(want.Index, &got); err != nil {
			t.Fatal(err)
		}
		if got.Index != want.Index || got.Term != want.Term || got.Type != want.Type || !got.AppendedAt.Equal(want.AppendedAt) ||
			!bytes.Equal(got.Data, want.Data) || !bytes.Equal(got.Extensions, want.Extensions) {
			t.Fatalf("entry %d: %+v, expected %+v", want.Index, got, want)
		}
		if want.Type == raft.LogCommand {
			for b := range record.All(want.Data) {
				next = b.NextOffset()
			}
		}
		if after, err := offsetAfter(m.log, want.Index); err != nil || after != next {
			t.Fatalf("offset after %d: %d, %v, expected %d", want.Index, after, err, next)
		}
	}
	for _, index := range []uint64{m.model.last() + 1, m.model.base.Index - min(m.model.base.Index, 1)} {
		err := m.log.GetLog(index, &got)
		if index > m.model.last() && index <= m.model.removed {
			if err != nil || got.Index != index || got.Term != 0 || got.Data != nil {
				t.Fatalf("removed entry %d: %+v, %v", index, got, err)
			}
		} else if index > 0 && err != raft.ErrLogNotFound {
			t.Fatalf("entry %d: %v", index, err)
		}
	}
	if base := m.model.base; base.Index > 0 {
		if err := m.log.GetLog(base.Index, &got); err != nil || got.Index != base.Index || got.Term != base.Term || got.Data != nil {
			t.Fatalf("stub %d: %+v, %v, expected term %d", base.Index, got, err, base.Term)
		}
	}
}

// offsetAfter is the next offset in the frame of an entry.
func offsetAfter(l *Log, index uint64) (int64, error) {
	var h frameHeader
	s, _, err := l.locate(l.state.Load(), index, &h)
	if err != nil {
		return 0, err
	}
	s.release()
	return h.nextOffset, nil
}

func (m *modelMachine) checkReads(t *rapid.T) {
	l, model := m.log, &m.model
	offset := int64(rapid.IntRange(int(model.start)-1, int(model.end())+1).Draw(t, "offset"))
	maxBytes := rapid.IntRange(0, 20<<10).Draw(t, "max bytes")
	prefix := []byte("kept")
	got, err := l.Read(prefix, offset, model.end(), maxBytes)
	if offset < model.start || offset > model.end() {
		if !errors.Is(err, ErrOffsetOutOfRange) {
			t.Fatalf("read %d of %d to %d: %v", offset, model.start, model.end(), err)
		}
		return
	}
	if err != nil || !bytes.HasPrefix(got, prefix) {
		t.Fatalf("read %d: %v", offset, err)
	}
	// Read may return less than fits, but a prefix of it, and something if there is anything.
	want := model.read(offset, maxBytes)
	if got = got[len(prefix):]; !bytes.HasPrefix(want, got) || (len(got) == 0) != (len(want) == 0) {
		t.Fatalf("read %d: %d bytes, expected %d", offset, len(got), len(want))
	}
	for _, err := range record.All(got) {
		if err != nil {
			t.Fatal(err)
		}
	}
	ms := int64(rapid.IntRange(0, 101).Draw(t, "time"))
	wantAt, wantOK := model.offsetForTime(ms)
	if at, ok, err := l.OffsetForTime(ms); err != nil || at != wantAt || ok != wantOK {
		t.Fatalf("time %d: offset %d, %v, %v, expected %d, %v", ms, at, ok, err, wantAt, wantOK)
	}
}
