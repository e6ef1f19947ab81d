package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// The first segmentHeaderSize bytes of a segment hold four records, each in a 512-byte sector of its own, so
// that writing one cannot tear another: the identity, written before the file gets its name; the activation,
// written before the segment's first frames; and two places for cuts, used in turn.
const (
	segmentHeaderSize = 4096
	segmentVersion    = 1

	activationPos = 512
	cutPos        = 1024 // cut of an even generation; an odd one follows a sector later
	sectorSize    = 512

	identitySize   = 64
	activationSize = 72
	cutSize        = 24

	activationMagic = 0x56544341 // "ACTV"
	cutMagic        = 0x53545543 // "CUTS"
)

var segmentMagic = [8]byte{'W', 'M', 'S', 'E', 'G', 'M', 'N', 'T'}

var (
	errSegmentMagic   = errors.New("not a log segment")
	errSegmentVersion = errors.New("log segment of an unknown format version")
	errSegmentSum     = errors.New("segment identity checksum differs")
)

// segmentIdentity tells the present use of a segment file from earlier ones.
type segmentIdentity struct {
	salt     uint64 // random; the seed of every other checksum in the file
	sequence uint64 // increases from segment to segment, from 1
}

func (id segmentIdentity) encode() []byte {
	b := make([]byte, identitySize)
	copy(b, segmentMagic[:])
	binary.LittleEndian.PutUint32(b[8:], segmentVersion)
	binary.LittleEndian.PutUint64(b[16:], id.salt)
	binary.LittleEndian.PutUint64(b[24:], id.sequence)
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

func decodeIdentity(b []byte) (segmentIdentity, error) {
	var id segmentIdentity
	if len(b) < identitySize || !bytes.Equal(b[:8], segmentMagic[:]) {
		return id, errSegmentMagic
	}
	if crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]) {
		return id, errSegmentSum
	}
	if binary.LittleEndian.Uint32(b[8:]) != segmentVersion {
		return id, errSegmentVersion
	}
	id.salt = binary.LittleEndian.Uint64(b[16:])
	id.sequence = binary.LittleEndian.Uint64(b[24:])
	return id, nil
}

// segmentActivation is where in the log a segment starts, and where the segment before it ended: a sealed
// segment's size is known without reading the segment.
type segmentActivation struct {
	baseIndex        uint64 // raft index of the first frame
	prevTerm         uint64 // term of the entry before it; 0 unknown
	baseOffset       int64
	prevSequence     uint64 // 0 for the very first segment
	prevSize         int64  // end of the last frame in the segment before
	prevMaxTimestamp int64
	capacity         int64 // size of this file
}

func (a *segmentActivation) encode(seed uint32) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, activationSize)
	b = le.AppendUint32(b, activationMagic)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, a.baseIndex)
	b = le.AppendUint64(b, a.prevTerm)
	b = le.AppendUint64(b, uint64(a.baseOffset))
	b = le.AppendUint64(b, a.prevSequence)
	b = le.AppendUint64(b, uint64(a.prevSize))
	b = le.AppendUint64(b, uint64(a.prevMaxTimestamp))
	b = le.AppendUint64(b, uint64(a.capacity))
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, crc32.Update(seed, castagnoli, b))
}

func decodeActivation(b []byte, seed uint32) (segmentActivation, bool) {
	le := binary.LittleEndian
	if len(b) < activationSize || le.Uint32(b) != activationMagic ||
		crc32.Update(seed, castagnoli, b[:activationSize-4]) != le.Uint32(b[activationSize-4:]) {
		return segmentActivation{}, false
	}
	return segmentActivation{
		baseIndex: le.Uint64(b[8:]), prevTerm: le.Uint64(b[16:]), baseOffset: int64(le.Uint64(b[24:])),
		prevSequence: le.Uint64(b[32:]), prevSize: int64(le.Uint64(b[40:])),
		prevMaxTimestamp: int64(le.Uint64(b[48:])), capacity: int64(le.Uint64(b[56:])),
	}, true
}

// segmentCut voids every frame at or after pos whose generation is lower than the cut's. One small durable
// record replaces overwriting everything after pos. The zero value voids nothing.
type segmentCut struct {
	generation uint32
	pos        int64
}

func (c segmentCut) encode(seed uint32) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, cutSize)
	b = le.AppendUint32(b, cutMagic)
	b = le.AppendUint32(b, c.generation)
	b = le.AppendUint64(b, uint64(c.pos))
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, crc32.Update(seed, castagnoli, b))
}

func decodeCut(b []byte, seed uint32) (segmentCut, bool) {
	le := binary.LittleEndian
	if len(b) < cutSize || le.Uint32(b) != cutMagic ||
		crc32.Update(seed, castagnoli, b[:cutSize-4]) != le.Uint32(b[cutSize-4:]) {
		return segmentCut{}, false
	}
	return segmentCut{generation: le.Uint32(b[4:]), pos: int64(le.Uint64(b[8:]))}, true
}

// slot returns the position in the file at which the cut is written: not over the cut before it.
func (c segmentCut) slot() int64 { return cutPos + int64(c.generation%2)*sectorSize }

func (c segmentCut) voids(h *frameHeader, pos int64) bool {
	return pos >= c.pos && h.generation < c.generation
}

// latestCut returns the newest valid cut in a segment's header block.
func latestCut(block []byte, seed uint32) segmentCut {
	var newest segmentCut
	for g := range uint32(2) {
		slot := segmentCut{generation: g}.slot()
		if c, ok := decodeCut(block[slot:], seed); ok && c.generation > newest.generation {
			newest = c
		}
	}
	return newest
}
