package stable

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// BenchmarkStableSet writes a new term each time: alone, and from many groups that share transactions.
func BenchmarkStableSet(b *testing.B) {
	b.Run("alone", func(b *testing.B) {
		g := openStore(b, filepath.Join(b.TempDir(), "stable")).Group("g")
		for n := uint64(1); b.Loop(); n++ {
			mustDo(b, g.SetUint64([]byte("CurrentTerm"), n))
		}
	})
	b.Run("from 200 groups", func(b *testing.B) {
		s := openStore(b, filepath.Join(b.TempDir(), "stable"))
		var groups atomic.Int64
		b.SetParallelism(100)
		b.RunParallel(func(pb *testing.PB) {
			g := s.Group(fmt.Sprint(groups.Add(1)))
			for n := uint64(1); pb.Next(); n++ {
				if err := g.SetUint64([]byte("CurrentTerm"), n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
