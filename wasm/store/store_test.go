package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errPowerLoss = errors.New("power loss")

func open(t testing.TB, fsys vfs.FS) *Store {
	t.Helper()
	s, err := Open(fsys, "data/modules")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hashOf(wasm []byte) string {
	sum := sha256.Sum256(wasm)
	return hex.EncodeToString(sum[:])
}

// names is what metadata knows.
type names struct {
	mu    sync.Mutex
	known map[string]bool
}

func (n *names) add(hash string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = map[string]bool{}
	}
	n.known[hash] = true
	return nil
}

func (n *names) remove(hash string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, hash)
}

func (n *names) has(hash string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.known[hash]
}

func TestAddGetRemove(t *testing.T) {
	fsys := vfs.NewMem()
	s, known := open(t, fsys), new(names)
	one, two := []byte("module one"), []byte("module two")
	for _, wasm := range [][]byte{one, two, one} {
		var named string
		if err := s.Add(wasm, func(hash string) error { named = hash; return known.add(hash) }); err != nil || named != hashOf(wasm) {
			t.Fatalf("named %q, %v", named, err)
		}
	}
	s = open(t, fsys) // reopened
	for _, wasm := range [][]byte{one, two} {
		if got, err := s.Get(t.Context(), hashOf(wasm)); err != nil || !bytes.Equal(got, wasm) {
			t.Errorf("got %q, %v", got, err)
		}
	}
	known.remove(hashOf(one))
	for range 2 { // what is gone already is no error
		if err := s.RemoveUnnamed([]string{hashOf(one), hashOf(two)}, known.has); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get(t.Context(), hashOf(one)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed, yet %v", err)
	}
	if _, err := s.Get(t.Context(), hashOf(two)); err != nil {
		t.Errorf("named, yet %v", err)
	}
}

func TestNameFails(t *testing.T) {
	s, refused := open(t, vfs.NewMem()), errors.New("refused")
	if err := s.Add([]byte("m"), func(string) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	// The command may have been applied after all: the bytes stay.
	if _, err := s.Get(t.Context(), hashOf([]byte("m"))); err != nil {
		t.Error(err)
	}
	if len(s.adding) != 0 {
		t.Errorf("still being added: %v", s.adding)
	}
}

// TestDamage: a file that holds something else is reported, and replaced by the next push.
func TestDamage(t *testing.T) {
	fsys := vfs.NewMem()
	s, wasm, known := open(t, fsys), []byte("a module"), new(names)
	if err := s.Add(wasm, known.add); err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{"a modulf", "a modul", "", "a module and more"} {
		if err := vfs.ReplaceFile(fsys, s.path(hashOf(wasm)), []byte(damage)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(t.Context(), hashOf(wasm)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: got %q, %v", damage, got, err)
		}
		if err := s.Add(wasm, known.add); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(t.Context(), hashOf(wasm)); err != nil || !bytes.Equal(got, wasm) {
			t.Errorf("pushed again: got %q, %v", got, err)
		}
	}
}

// TestRemovalDuringAdd plays the removal at every moment of an Add of the same bytes: whatever ends up
// named is there.
func TestRemovalDuringAdd(t *testing.T) {
	wasm := []byte("a module")
	hash := hashOf(wasm)
	remove := func(s *Store, known *names) {
		known.remove(hash)
		if err := s.RemoveUnnamed([]string{hash}, known.has); err != nil {
			t.Error(err)
		}
	}
	check := func(moment string, s *Store, known *names) {
		t.Helper()
		if _, err := s.Get(t.Context(), hash); known.has(hash) && err != nil {
			t.Errorf("removal %s: named, yet %v", moment, err)
		}
	}
	for _, there := range []bool{false, true} {
		s, known := open(t, vfs.NewMem()), new(names)
		if there {
			if err := s.Add(wasm, known.add); err != nil {
				t.Fatal(err)
			}
		}
		remove(s, known)
		add := func(name func(string) error) {
			if err := s.Add(wasm, name); err != nil {
				t.Fatal(err)
			}
		}
		add(known.add)
		check("before", s, known)
		add(func(hash string) error { remove(s, known); return known.add(hash) })
		check("before it is named", s, known)
		add(func(hash string) error { err := known.add(hash); remove(s, known); return err })
		check("after it is named", s, known)
		remove(s, known)
		if _, err := s.Get(t.Context(), hash); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("nothing is being added any more, yet %v", err)
		}
	}
}

// TestRemovalWhileTheFileIsWritten: the removal comes at each operation of Add on the file system.
func TestRemovalWhileTheFileIsWritten(t *testing.T) {
	wasm := []byte("a module")
	for k, finished := uint64(1), false; !finished; k++ {
		known, faulty := new(names), vfs.NewFaulty(vfs.NewMem(), nil)
		s := open(t, faulty)
		start, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			<-start
			if err := s.RemoveUnnamed([]string{hashOf(wasm)}, known.has); err != nil {
				t.Error(err)
			}
		}()
		begin := sync.OnceFunc(func() { close(start) })
		at := faulty.Ops() + k
		faulty.SetHook(func(op vfs.Op) error {
			if op.Seq == at {
				begin()
			}
			return nil
		})
		if err := s.Add(wasm, func(hash string) error { begin(); <-done; return known.add(hash) }); err != nil {
			t.Fatal(err)
		}
		finished = faulty.Ops() < at
		if _, err := s.Get(t.Context(), hashOf(wasm)); err != nil {
			t.Fatalf("removal at operation %d: named, yet %v", k, err)
		}
	}
}

// TestConcurrentUse adds, removes and reads the same few modules; the race detector and the check of what
// is named judge.
func TestConcurrentUse(t *testing.T) {
	s, known := open(t, vfs.NewMem()), new(names)
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			for i := range 60 {
				wasm := fmt.Appendf(nil, "module %d", (worker+i)%3)
				err := s.Add(wasm, func(hash string) error {
					if err := known.add(hash); err != nil {
						return err
					}
					_, err := s.Get(t.Context(), hash) // nothing removes it before Add returns
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if i%2 == worker%2 {
					known.remove(hashOf(wasm))
					if err := s.RemoveUnnamed([]string{hashOf(wasm)}, known.has); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for i := range 3 {
		hash := hashOf(fmt.Appendf(nil, "module %d", i))
		if _, err := s.Get(t.Context(), hash); known.has(hash) && err != nil {
			t.Errorf("named, yet %v", err)
		}
	}
}

// TestCrash loses power at every operation, and fails each one alone and tries again: what Add has called
// name for is there afterwards, complete.
func TestCrash(t *testing.T) {
	one, two := bytes.Repeat([]byte("one"), 50_000), bytes.Repeat([]byte("two"), 50_000)
	script := func(fsys vfs.FS, known *names, tries int) error {
		s, err := Open(fsys, "data/modules")
		for _, wasm := range [][]byte{one, two, one} {
			if err != nil {
				return err
			}
			for n := 0; n < tries && (n == 0 || err != nil); n++ {
				err = s.Add(wasm, known.add)
			}
		}
		return err
	}
	for name, run := range map[string]struct {
		fault func(uint64, error) vfs.Hook
		tries int
	}{"power loss": {vfs.FailFrom, 1}, "one failure": {vfs.FailAt, 2}} {
		for k, finished := uint64(1), false; !finished; k++ {
			m, known := vfs.NewMem(), new(names)
			if run.tries > 1 {
				open(t, m) // without faults
			}
			faulty := vfs.NewFaulty(m, run.fault(k, errPowerLoss))
			err := script(faulty, known, run.tries)
			if errors.Is(err, errPowerLoss) && strings.HasPrefix(err.Error(), "open") {
				continue
			}
			if err != nil && run.tries > 1 {
				t.Fatalf("%s at operation %d: the second attempt: %v", name, k, err)
			}
			finished = faulty.Ops() < k
			for seed := range int64(4) {
				var rng *rand.Rand // nil, the harshest crash, for seed 0
				if seed > 0 {
					rng = rand.New(rand.NewSource(seed))
				}
				after := open(t, m.CrashClone(rng))
				for _, wasm := range [][]byte{one, two} {
					if got, err := after.Get(t.Context(), hashOf(wasm)); known.has(hashOf(wasm)) && !bytes.Equal(got, wasm) {
						t.Fatalf("%s at operation %d, seed %d: %d bytes, %v", name, k, seed, len(got), err)
					}
				}
			}
		}
	}
}
