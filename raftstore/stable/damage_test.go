package stable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/wasmill/wasmill/raftstore/internal/boltfile"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// contents is every value of a store as text.
func contents(t *testing.T, s *Store) string {
	t.Helper()
	var b strings.Builder
	for _, name := range s.Groups() {
		g := s.Group(name)
		term, err := g.GetUint64([]byte(currentTermKey))
		mustDo(t, err)
		voted, err := g.GetUint64([]byte(voteTermKey))
		mustDo(t, err)
		candidate, err := g.Get([]byte(voteCandidateKey))
		mustDo(t, err)
		fmt.Fprintf(&b, "%s: %d, %s in %d\n", name, term, candidate, voted)
	}
	return b.String()
}

// written makes a store of a few groups and returns its file and what it holds.
func written(t *testing.T) (file []byte, holds string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "stable")
	s, err := Open(vfs.OS(), name)
	mustDo(t, err)
	for n := range uint64(5) {
		g := s.Group(fmt.Sprintf("partition/%d/0", n))
		mustDo(t, g.SetUint64([]byte(currentTermKey), n+2))
		mustDo(t, g.SetUint64([]byte(voteTermKey), n+1))
		mustDo(t, g.Set([]byte(voteCandidateKey), []byte("n1")))
	}
	holds = contents(t, s)
	mustDo(t, s.Close())
	file, err = os.ReadFile(name)
	mustDo(t, err)
	return file, holds
}

// openBytes opens a store whose file has these bytes, and returns what it holds.
func openBytes(t *testing.T, name string, file []byte) (string, error) {
	t.Helper()
	mustDo(t, os.WriteFile(name, file, 0o600))
	s, err := Open(vfs.OS(), name)
	if err != nil {
		return "", err
	}
	holds := contents(t, s)
	mustDo(t, s.Close())
	return holds, nil
}

func wantDamage(t *testing.T, what string, err error) {
	t.Helper()
	var damage interface{ Damaged() bool }
	if !errors.As(err, &damage) || !damage.Damaged() || !strings.Contains(err.Error(), remedy) {
		t.Errorf("%s: %v", what, err)
	}
}

// TestStableGarbled: wherever one byte is another, the store has all its values or is refused as damaged. It
// never has other values or fewer, and bbolt never panics.
func TestStableGarbled(t *testing.T) {
	noLeaks(t)
	file, holds := written(t)
	name := filepath.Join(t.TempDir(), "stable")
	refused := 0
	for at := range file {
		if file[at] == 0 && at%1031 != 0 {
			continue // mostly unused
		}
		garbled := append([]byte(nil), file...)
		garbled[at] ^= 0x41
		got, err := openBytes(t, name, garbled)
		switch {
		case err != nil:
			refused++
			wantDamage(t, fmt.Sprint("byte ", at), err)
		case got != holds:
			t.Errorf("byte %d: the store has\n%s", at, got)
		}
	}
	if refused < 100 {
		t.Errorf("only %d garbled bytes were noticed: the test proves nothing", refused)
	}
}

// TestStableCut: a file that was cut or overwritten by zeros is refused as damaged.
func TestStableCut(t *testing.T) {
	noLeaks(t)
	file, holds := written(t)
	name := filepath.Join(t.TempDir(), "stable")
	for _, size := range []int{1, 100, 4095, 4096, 8192, 12288, len(file) / 2} {
		_, err := openBytes(t, name, file[:size])
		wantDamage(t, fmt.Sprintf("cut to %d bytes", size), err)
		if size > 100 {
			_, err = openBytes(t, name, append(make([]byte, size), file[size:]...))
			wantDamage(t, fmt.Sprintf("%d bytes of zeros", size), err)
		}
	}
	if got, err := openBytes(t, name, file); got != holds || err != nil {
		t.Errorf("the whole file: %s, %v", got, err)
	}
}

// TestStableAfterAnOlderVersion: a version that keeps no checksums may write in between.
func TestStableAfterAnOlderVersion(t *testing.T) {
	noLeaks(t)
	file, _ := written(t)
	name := filepath.Join(t.TempDir(), "stable")
	mustDo(t, os.WriteFile(name, file, 0o600))
	db, err := bbolt.Open(name, boltfile.Mode, nil)
	mustDo(t, err)
	mustDo(t, db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketName).Put(encodeKey("partition/0/0", currentTermKey), []byte{0, 0, 0, 0, 0, 0, 0, 9})
	}))
	mustDo(t, db.Close())
	s := openStore(t, name)
	if term, err := s.Group("partition/0/0").GetUint64([]byte(currentTermKey)); term != 9 || err != nil {
		t.Errorf("term is %d, %v", term, err)
	}
}

// TestStableVotesAgree: values that raft cannot have written are refused.
func TestStableVotesAgree(t *testing.T) {
	noLeaks(t)
	number := func(n byte) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, n} }
	for what, values := range map[string]map[string][]byte{
		"a vote above the term":   {currentTermKey: number(3), voteTermKey: number(4), voteCandidateKey: []byte("n1")},
		"a vote without a term":   {voteTermKey: number(4), voteCandidateKey: []byte("n1")},
		"a vote for nobody":       {currentTermKey: number(3), voteTermKey: number(3)},
		"a candidate and no vote": {currentTermKey: number(3), voteCandidateKey: []byte("n1")},
		"a short term":            {currentTermKey: {3}},
	} {
		name := filepath.Join(t.TempDir(), "stable")
		s, err := Open(vfs.OS(), name)
		mustDo(t, err)
		mustDo(t, s.write(&change{group: "a", values: values}))
		mustDo(t, s.Close())
		_, err = Open(vfs.OS(), name)
		wantDamage(t, what, err)
	}
}
