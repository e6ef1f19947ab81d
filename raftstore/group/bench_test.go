package group

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// BenchmarkGroupApply is one entry at a time through a group of one voter over its own log.
func BenchmarkGroupApply(b *testing.B) {
	for _, c := range []struct {
		name  string
		flush log.FlushMode
	}{{"fsync", log.FlushFsync}, {"relaxed", log.FlushRelaxed}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			store, err := log.Open(vfs.OS(), filepath.Join(dir, "log"), log.Options{Flush: c.flush})
			mustDo(b, err)
			defer store.Close()
			m := newMember(b)
			m.log, m.stable = store, openStable(b, filepath.Join(dir, "stable")).Group("orders/0")
			g := startLeader(b, m.options(extended{&tally{}}))
			entry := raft.Log{Extensions: make([]byte, 1024)}
			for b.Loop() {
				mustDo(b, g.Raft().ApplyLog(entry, 0).Error())
			}
		})
	}
}

// BenchmarkStartGroups starts a thousand new groups over one stable store, waits until all lead, and
// closes them.
func BenchmarkStartGroups(b *testing.B) {
	const count = 1000
	for b.Loop() {
		stable := openStable(b, filepath.Join(b.TempDir(), "stable"))
		groups := make([]*Group, count)
		for i := range groups {
			m := newMember(b)
			m.stable = stable.Group(fmt.Sprint(i))
			var err error
			groups[i], err = Start(m.options(extended{&tally{}}))
			mustDo(b, err)
		}
		for _, g := range groups {
			mustDo(b, g.WaitLeader(b.Context()))
		}
		for _, g := range groups {
			mustDo(b, g.Close())
		}
	}
}
