package stable

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noLeaks fails the test if it leaves goroutines behind. Call it first, so that it looks last.
func noLeaks(t *testing.T) {
	t.Helper()
	present := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, present) })
}

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func mustDo(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openStore(t testing.TB, path string) *Store {
	t.Helper()
	return openOn(t, vfs.OS(), path)
}

func TestStableValues(t *testing.T) {
	noLeaks(t)
	path := filepath.Join(t.TempDir(), "stable")
	s := openStore(t, path)
	g := s.Group("orders/3")
	if _, err := g.Get([]byte("k")); err == nil || err.Error() != "not found" {
		t.Errorf("missing value: %v", err)
	}
	if _, err := g.GetUint64([]byte("k")); err == nil || err.Error() != "not found" {
		t.Errorf("missing number: %v", err)
	}
	val := []byte("value")
	mustDo(t, g.Set([]byte("k"), val))
	val[0] = 'X' // the store must not keep the caller's slice
	mustDo(t, g.SetUint64([]byte("n"), 1<<63))
	if _, err := g.GetUint64([]byte("k")); err == nil {
		t.Error("five bytes were read as a number")
	}
	mustDo(t, s.Close())

	s = openStore(t, path)
	g = s.Group("orders/3")
	got, err := g.Get([]byte("k"))
	if err != nil || string(got) != "value" {
		t.Errorf("after reopening: %q, %v", got, err)
	}
	got[0] = 'X'
	if again, _ := g.Get([]byte("k")); string(again) != "value" {
		t.Error("Get gave out its own slice")
	}
	if n, err := g.GetUint64([]byte("n")); err != nil || n != 1<<63 {
		t.Errorf("number after reopening: %d, %v", n, err)
	}
	if _, err := s.Group("orders/30").Get([]byte("k")); err == nil {
		t.Error("another group sees the value")
	}
}

func TestStableKeyGolden(t *testing.T) {
	for _, c := range []struct{ group, key, want string }{
		{"orders/3", "CurrentTerm", "086f72646572732f3343757272656e745465726d"},
		{"", "k", "006b"},
		{"a", "", "0161"},
	} {
		if got := hex.EncodeToString(encodeKey(c.group, c.key)); got != c.want {
			t.Errorf("key of %q %q is %s, want %s", c.group, c.key, got, c.want)
		}
	}
}

func FuzzStableKey(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'a'})
	f.Add(encodeKey("orders/3", "CurrentTerm"))
	f.Fuzz(func(t *testing.T, b []byte) {
		group, key, ok := decodeKey(b)
		if !ok {
			return
		}
		g, k, ok := decodeKey(encodeKey(group, key))
		if !ok || g != group || k != key {
			t.Errorf("%q %q came back as %q %q (%v)", group, key, g, k, ok)
		}
	})
}

func TestStableDeleteGroup(t *testing.T) {
	noLeaks(t)
	path := filepath.Join(t.TempDir(), "stable")
	s := openStore(t, path)
	for _, name := range []string{"a", "ab", "b"} {
		mustDo(t, s.Group(name).Set([]byte("k"), []byte(name)))
		mustDo(t, s.Group(name).SetUint64([]byte("n"), 1))
	}
	s.Group("never written")
	mustDo(t, s.DeleteGroup("a"))
	mustDo(t, s.DeleteGroup("unknown"))
	for range 2 {
		if got := s.Groups(); !slices.Equal(got, []string{"ab", "b"}) {
			t.Errorf("groups %v", got)
		}
		if _, err := s.Group("a").Get([]byte("k")); err == nil {
			t.Error("a deleted group has a value")
		}
		mustDo(t, s.Close())
		s = openStore(t, path)
	}
}

// gate is a file system that counts commits and holds them until it is opened.
type gate struct {
	vfs.FS
	count int
	open  chan struct{}
}

// newGate is open.
func newGate() *gate {
	g := &gate{FS: vfs.OS(), open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) CommitMapped(name string, commit func() error) error {
	g.count++
	<-g.open
	return g.FS.CommitMapped(name, commit)
}

func openOn(t testing.TB, fsys vfs.FS, name string) *Store {
	t.Helper()
	s, err := Open(fsys, name)
	mustDo(t, err)
	t.Cleanup(func() { mustDo(t, s.Close()) })
	return s
}

// TestStableGroupCommit: whoever comes during a transaction shares the next one.
func TestStableGroupCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stable")
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := openOn(t, g, path)
		g.count, g.open = 0, make(chan struct{})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if err := s.Group(fmt.Sprint(i)).SetUint64([]byte("CurrentTerm"), 7); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // every writer waits for the disk before the next one comes
		}
		if g.count != 1 {
			t.Errorf("%d transactions while the first one is stuck", g.count)
		}
		close(g.open)
		wg.Wait()
		if g.count != 2 {
			t.Errorf("100 writers took %d transactions, want 2", g.count)
		}
		if n := len(s.Groups()); n != 100 {
			t.Errorf("%d groups have values", n)
		}
	})
}

func TestStableSkipsEqualValues(t *testing.T) {
	noLeaks(t)
	g := newGate()
	store := openOn(t, g, filepath.Join(t.TempDir(), "stable")).Group("a")
	g.count = 0
	for range 3 {
		mustDo(t, store.SetUint64([]byte("CurrentTerm"), 5))
		mustDo(t, store.SetUint64([]byte(voteTermKey), 5))
		mustDo(t, store.Set([]byte(voteCandidateKey), []byte("me")))
	}
	if g.count != 2 {
		t.Errorf("%d transactions for one term and one vote, each set three times", g.count)
	}
}

// TestStableFailStop: after a failed transaction nothing is tried again, and nothing of it is seen, whether
// it failed before it reached the disk or after.
func TestStableFailStop(t *testing.T) {
	noLeaks(t)
	for _, kind := range []vfs.OpKind{vfs.OpWrite, vfs.OpSync} {
		faulty := vfs.NewFaulty(vfs.OS(), nil)
		s := openOn(t, faulty, filepath.Join(t.TempDir(), "stable"))
		store := s.Group("a")
		mustDo(t, store.SetUint64([]byte("CurrentTerm"), 5))
		broken := errors.New("broken disk")
		faulty.SetHook(func(op vfs.Op) error {
			if op.Kind == kind {
				return broken
			}
			return nil
		})
		if err := store.SetUint64([]byte("CurrentTerm"), 6); !errors.Is(err, broken) {
			t.Fatalf("%s: failed transaction: %v", kind, err)
		}
		tried := faulty.Ops()
		faulty.SetHook(nil)
		if err := store.SetUint64([]byte("CurrentTerm"), 7); !errors.Is(err, broken) {
			t.Errorf("%s: a write after the failure: %v", kind, err)
		}
		if err := s.DeleteGroup("a"); !errors.Is(err, broken) {
			t.Errorf("%s: a deletion after the failure: %v", kind, err)
		}
		if faulty.Ops() != tried {
			t.Errorf("%s: a transaction was tried after the failure", kind)
		}
		if n, _ := store.GetUint64([]byte("CurrentTerm")); n != 5 {
			t.Errorf("%s: term reads %d, durable is 5", kind, n)
		}
	}
}

// TestStableFaults stops the disk at each operation of opening a store and setting two terms: the call
// that needs it fails, and what was acknowledged is there when the store is opened again.
func TestStableFaults(t *testing.T) {
	noLeaks(t)
	broken := errors.New("broken disk")
	for k, done := uint64(1), false; !done; k++ {
		name := filepath.Join(t.TempDir(), "stable")
		faulty := vfs.NewFaulty(vfs.OS(), vfs.FailFrom(k, broken))
		acked := uint64(0)
		s, err := Open(faulty, name)
		for term := uint64(1); err == nil && term <= 2; term++ {
			if err = s.Group("a").SetUint64([]byte("CurrentTerm"), term); err == nil {
				acked = term
			}
		}
		if s != nil {
			mustDo(t, s.Close())
		}
		if done = faulty.Ops() < k; done != (err == nil) || err != nil && !errors.Is(err, broken) {
			t.Errorf("disk broken at operation %d of %d: %v", k, faulty.Ops(), err)
		}
		term, err := openStore(t, name).Group("a").GetUint64([]byte("CurrentTerm"))
		if acked > 0 && (err != nil || term < acked) {
			t.Errorf("disk broken at operation %d: term is %d (%v), acknowledged was %d", k, term, err, acked)
		}
	}
}

func TestStableClose(t *testing.T) {
	noLeaks(t)
	s := openStore(t, filepath.Join(t.TempDir(), "stable"))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			err := s.Group(fmt.Sprint(i)).SetUint64([]byte("n"), 1)
			if err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
	}
	for range 3 {
		wg.Go(func() { mustDo(t, s.Close()) })
	}
	wg.Wait()
	if err := s.Group("x").SetUint64([]byte("n"), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
}

func TestOpenStableRefuses(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	s := openStore(t, filepath.Join(dir, "stable"))
	if other, err := Open(vfs.OS(), filepath.Join(dir, "stable")); err == nil {
		other.Close()
		t.Error("the store was opened twice")
	}
	if other, err := Open(vfs.OS(), filepath.Join(dir, "missing", "stable")); err == nil {
		other.Close()
		t.Error("a store was made in a missing directory")
	}
	mustDo(t, s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketName).Put([]byte{200}, []byte("v"))
	}))
	mustDo(t, s.Close())
	if other, err := Open(vfs.OS(), filepath.Join(dir, "stable")); err == nil {
		other.Close()
		t.Error("a damaged key was accepted")
	}
}

// voteAfterCrash votes for "new" in term 2 after a vote for "old" in term 1, as raft does, loses power
// after so many of the two calls, and returns the vote that is found.
func voteAfterCrash(t *testing.T, calls int, wrap func(raft.StableStore) raft.StableStore) string {
	path := filepath.Join(t.TempDir(), "stable")
	s := openStore(t, path)
	store := wrap(s.Group("a"))
	mustDo(t, store.SetUint64([]byte(currentTermKey), 2))
	vote := []func() error{
		func() error { return store.SetUint64([]byte(voteTermKey), 1) },
		func() error { return store.Set([]byte(voteCandidateKey), []byte("old")) },
		func() error { return store.SetUint64([]byte(voteTermKey), 2) },
		func() error { return store.Set([]byte(voteCandidateKey), []byte("new")) },
	}
	for _, call := range vote[:2+calls] {
		mustDo(t, call())
	}
	mustDo(t, s.Close())
	g := openStore(t, path).Group("a")
	term, err := g.GetUint64([]byte(voteTermKey))
	mustDo(t, err)
	candidate, err := g.Get([]byte(voteCandidateKey))
	mustDo(t, err)
	return fmt.Sprintf("%s in %d", candidate, term)
}

// eagerVotes writes the term of a vote by itself: the mistake that the held term prevents.
type eagerVotes struct{ raft.StableStore }

func (e eagerVotes) SetUint64(key []byte, val uint64) error {
	g := e.StableStore.(*groupStore)
	if err := g.SetUint64(key, val); err != nil || g.heldTerm == nil {
		return err
	}
	return g.commitChanged(map[string][]byte{voteTermKey: g.heldTerm})
}

func TestStableVoteIsAtomic(t *testing.T) {
	noLeaks(t)
	asIs := func(s raft.StableStore) raft.StableStore { return s }
	for calls, want := range []string{"old in 1", "old in 1", "new in 2"} {
		if got := voteAfterCrash(t, calls, asIs); got != want {
			t.Errorf("vote after %d calls is %s, want %s", calls, got, want)
		}
	}
	broken := func(s raft.StableStore) raft.StableStore { return eagerVotes{s} }
	if got := voteAfterCrash(t, 1, broken); got != "old in 2" {
		t.Errorf("the check does not see a vote torn apart: %s", got)
	}
}

// TestStableAgainstModel compares with maps, over reopenings.
func TestStableAgainstModel(t *testing.T) {
	noLeaks(t)
	dir, runs := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs))
		s, err := Open(vfs.OS(), path)
		mustDo(t, err)
		model := make(map[string]string)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			group := rapid.SampledFrom([]string{"a", "ab", "b"}).Draw(t, "group")
			switch rapid.IntRange(0, 5).Draw(t, "action") {
			case 0:
				mustDo(t, s.Close())
				s, err = Open(vfs.OS(), path)
				mustDo(t, err)
			case 1:
				mustDo(t, s.DeleteGroup(group))
				maps.DeleteFunc(model, func(k, _ string) bool { return k == group+"x" || k == group+"y" })
			default:
				key := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "key")
				value := rapid.StringN(0, 3, -1).Draw(t, "value")
				mustDo(t, s.Group(group).Set([]byte(key), []byte(value)))
				model[group+key] = value
			}
			for _, group := range []string{"a", "ab", "b"} {
				for _, key := range []string{"x", "y"} {
					got, err := s.Group(group).Get([]byte(key))
					want, there := model[group+key]
					if (err == nil) != there || string(got) != want {
						t.Fatalf("%s %s is %q (%v), want %q (%v)", group, key, got, err, want, there)
					}
				}
			}
		}
		mustDo(t, s.Close())
	})
}
