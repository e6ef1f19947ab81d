package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// filled makes a file with a tree of several levels, nested buckets, large values and free pages.
func filled(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "db")
	must(t, Prepare(vfs.OS(), name))
	db, err := bbolt.Open(name, Mode, Options(vfs.OS()))
	must(t, err)
	for round := range 6 {
		must(t, db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("logs"))
			if err != nil {
				return err
			}
			if _, err := tx.CreateBucketIfNotExists([]byte("empty")); err != nil {
				return err
			}
			for n := range 30 {
				if err := b.Put(fmt.Appendf(nil, "%d-%06d", round, n), make([]byte, 40+n%3*2500)); err != nil {
					return err
				}
			}
			if round == 4 { // free some pages
				for n := range 30 {
					if err := b.Delete(fmt.Appendf(nil, "1-%06d", n)); err != nil {
						return err
					}
				}
			}
			return nil
		}))
	}
	must(t, db.Close())
	return name
}

// content is what bbolt finds in a file, which was prepared.
func content(t *testing.T, name string) string {
	t.Helper()
	db, err := bbolt.Open(name, Mode, Options(vfs.OS()))
	must(t, err)
	defer db.Close()
	var b bytes.Buffer
	must(t, db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(k, v []byte) error {
				fmt.Fprintf(&b, "%s %s %x\n", name, k, v)
				return nil
			})
		})
	}))
	return b.String()
}

// TestPrepareKeepsTheContent, and bbolt's own check finds nothing afterwards.
func TestPrepareKeepsTheContent(t *testing.T) {
	name := filled(t)
	before := content(t, name)
	for range 2 {
		must(t, Prepare(vfs.OS(), name))
		if content(t, name) != before {
			t.Fatal("the content is another one")
		}
	}
	db, err := bbolt.Open(name, Mode, nil)
	must(t, err)
	defer db.Close()
	must(t, db.View(func(tx *bbolt.Tx) error {
		var errs []error
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}))
}

// TestPrepareWritesAllPagesInOrder: every page is written anew and synced before the meta pages are. Without
// it, what a failed sync left in memory alone would be taken for durable.
func TestPrepareWritesAllPagesInOrder(t *testing.T) {
	name := filled(t)
	info, err := os.Stat(name)
	must(t, err)
	written, synced, metas := int64(0), false, false
	must(t, Prepare(vfs.NewFaulty(vfs.OS(), func(op vfs.Op) error {
		switch {
		case op.Kind == vfs.OpSync && metas:
			synced = true
		case op.Kind == vfs.OpSync:
			metas = true
		case op.Kind == vfs.OpWrite && op.Offset == 0:
			if !metas {
				t.Error("the meta pages are written before the others are durable")
			}
			synced = false
		case op.Kind == vfs.OpWrite:
			if metas {
				t.Errorf("a page at %d is written after the sync", op.Offset)
			}
			written = max(written, op.Offset)
		}
		return nil
	}), name))
	if !metas || !synced || written == 0 || written > info.Size() {
		t.Errorf("metas %v, synced %v, written up to %d of %d", metas, synced, written, info.Size())
	}
}

// TestPrepareFaults: an error of any operation is returned, is no damage, and leaves the content.
func TestPrepareFaults(t *testing.T) {
	name := filled(t)
	before := content(t, name)
	for k, done := uint64(1), false; !done; k++ {
		faulty := vfs.NewFaulty(vfs.OS(), vfs.FailAt(k, syscall.EIO))
		err := Prepare(faulty, name)
		done = faulty.Ops() < k
		var damage *Damage
		if done != (err == nil) || errors.As(err, &damage) || err != nil && !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d of %d fails: %v", k, faulty.Ops(), err)
		}
		if content(t, name) != before {
			t.Fatalf("operation %d fails: the content is another one", k)
		}
	}
}

// TestPrepareGarbled: whatever a few bytes are changed to, the file is refused as damaged, or bbolt reads
// it without a panic and without going round for ever.
func TestPrepareGarbled(t *testing.T) {
	file, err := os.ReadFile(filled(t))
	must(t, err)
	name := filepath.Join(t.TempDir(), "db")
	rng := rand.New(rand.NewSource(1))
	refused := 0
	for round := range 100 {
		garbled := append([]byte(nil), file...)
		at := rng.Intn(len(file)/4096)*4096 + rng.Intn(64) // where headers and elements are
		for range 1 + rng.Intn(4) {
			garbled[at+rng.Intn(16)] = byte(rng.Intn(256))
		}
		if round%10 == 0 {
			garbled = garbled[:rng.Intn(len(garbled))]
		}
		must(t, os.WriteFile(name, garbled, 0o600))
		err := Prepare(vfs.OS(), name)
		if err == nil {
			must(t, Call(name, func() error { content(t, name); return nil }))
			continue
		}
		refused++
		var damage *Damage
		if !errors.As(err, &damage) {
			t.Errorf("round %d: %v", round, err)
		}
	}
	if refused < 20 {
		t.Errorf("only %d of 100 were refused", refused)
	}
}

// TestCallTurnsFaultsIntoErrors: a page that the system cannot provide, and a panic of bbolt.
func TestCallTurnsFaultsIntoErrors(t *testing.T) {
	name := filled(t)
	db, err := bbolt.Open(name, Mode, Options(vfs.OS()))
	must(t, err)
	defer db.Close()
	must(t, os.Truncate(name, 4096*2))
	err = Call(name, func() error {
		return db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("logs")).ForEach(func(_, _ []byte) error { return nil })
		})
	})
	if !errors.Is(err, errFault) {
		t.Errorf("a file that was cut while it is open: %v", err)
	}
	var damage *Damage
	if err := Call(name, func() error { panic("page 3 already freed") }); !errors.As(err, &damage) {
		t.Errorf("a panic: %v", err)
	}
}
