package stable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"
)

// remedy is what to do about a stable store that is damaged.
const remedy = "restore the file from the backup that has the logs of the same moment, or remove this server " +
	"from its groups and let it join again under a new id; a group without it has lost a vote"

// withRemedy adds the remedy to an error that is damage.
func withRemedy(err error) error {
	var damage interface{ Damaged() bool }
	if errors.As(err, &damage) && damage.Damaged() {
		return fmt.Errorf("%w; %s", err, remedy)
	}
	return err
}

// sumsName is of the bucket that has a checksum of every value, under the value's key. bbolt has none for
// its pages. The bucket's sequence number is the transaction that wrote it last: a version of the broker
// that does not know the bucket leaves the number behind, and the checksums are made anew.
var sumsName = []byte("sums")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the checksum of a value, which covers its key.
func sum(k, v []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v))
}

// put stores a value and its checksum.
func put(tx *bbolt.Tx, k, v []byte) error {
	if err := tx.Bucket(bucketName).Put(k, v); err != nil {
		return err
	}
	return tx.Bucket(sumsName).Put(k, sum(k, v))
}

// remove removes a value and its checksum.
func remove(tx *bbolt.Tx, k []byte) error {
	if err := tx.Bucket(bucketName).Delete(k); err != nil {
		return err
	}
	return tx.Bucket(sumsName).Delete(k)
}

// seal notes that this transaction has kept the checksums.
func seal(tx *bbolt.Tx) error { return tx.Bucket(sumsName).SetSequence(uint64(tx.ID())) }

// openBuckets makes the buckets of a new store, and checks every value of another.
func openBuckets(tx *bbolt.Tx) error {
	values, err := tx.CreateBucketIfNotExists(bucketName)
	if err != nil {
		return damage("bucket %s: %v", bucketName, err)
	}
	sums := tx.Bucket(sumsName)
	if sums != nil && sums.Sequence() == uint64(tx.ID()-1) {
		if err := checkSums(values, sums); err != nil {
			return err
		}
		return seal(tx)
	}
	if sums != nil {
		if err := tx.DeleteBucket(sumsName); err != nil {
			return err
		}
	}
	if sums, err = tx.CreateBucket(sumsName); err != nil {
		return damage("bucket %s: %v", sumsName, err)
	}
	if err := values.ForEach(func(k, v []byte) error { return sums.Put(k, sum(k, v)) }); err != nil {
		return err
	}
	return seal(tx)
}

func checkSums(values, sums *bbolt.Bucket) error {
	n := 0
	err := values.ForEach(func(k, v []byte) error {
		n++
		if !bytes.Equal(sums.Get(k), sum(k, v)) {
			return damage("the value of key %x does not match its checksum", k)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return sums.ForEach(func(k, _ []byte) error {
		if n--; n < 0 {
			return damage("there are checksums of values that are missing, such as that of key %x", k)
		}
		return nil
	})
}

// checkVotes compares the values of each group with each other. Raft stores a term before it votes in it,
// and a vote's term together with its candidate.
func (s *Store) checkVotes() error {
	for name, g := range s.groups {
		term, voted := g.values[currentTermKey], g.values[voteTermKey]
		_, candidate := g.values[voteCandidateKey]
		if term != nil && len(term) != 8 || voted != nil && len(voted) != 8 {
			return damage("a term of group %s does not have 8 bytes", name)
		}
		if candidate != (voted != nil) || bytes.Compare(voted, term) > 0 {
			return damage("group %s has term %x and a vote in term %x", name, term, voted)
		}
	}
	return nil
}

// damageError is damage of the file's content.
type damageError string

func damage(format string, args ...any) error {
	return damageError(fmt.Sprintf(format, args...))
}

// Error is the reason.
func (e damageError) Error() string { return "the file is damaged: " + string(e) }

// Damaged reports that trying again does not help.
func (damageError) Damaged() bool { return true }
