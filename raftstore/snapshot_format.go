package raftstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/vfs"
)

// docs/formats/snapshot.md has the byte table of what is encoded here.
const (
	snapshotMagic = "WMSNAP01"
	// snapshotFixed is the size in bytes of the header without the configuration.
	snapshotFixed = 64
	// snapshotSummed is where the part of the header begins that its checksum covers.
	snapshotSummed = 16
	// maxSnapshotServers bounds what a damaged header can make a reader allocate.
	maxSnapshotServers = 1024
	maxSnapshotHeader  = 1 << 20
)

var snapshotSums = crc32.MakeTable(crc32.Castagnoli)

func encodeSnapshotHeader(m *raft.SnapshotMeta, dataSum uint32) ([]byte, error) {
	if len(m.Configuration.Servers) > maxSnapshotServers {
		return nil, fmt.Errorf("configuration has %d servers, at most %d are possible",
			len(m.Configuration.Servers), maxSnapshotServers)
	}
	h := make([]byte, snapshotFixed, snapshotFixed+64)
	for _, s := range m.Configuration.Servers {
		if len(s.ID) > math.MaxUint16 || len(s.Address) > math.MaxUint16 {
			return nil, fmt.Errorf("id or address of server %.64q is too long", s.ID)
		}
		h = append(h, byte(s.Suffrage))
		h = binary.LittleEndian.AppendUint16(h, uint16(len(s.ID)))
		h = append(h, s.ID...)
		h = binary.LittleEndian.AppendUint16(h, uint16(len(s.Address)))
		h = append(h, s.Address...)
	}
	if len(h) > maxSnapshotHeader {
		return nil, fmt.Errorf("configuration takes %d bytes, more than %d", len(h), maxSnapshotHeader)
	}
	copy(h, snapshotMagic)
	le := binary.LittleEndian
	le.PutUint32(h[8:], uint32(len(h)))
	le.PutUint64(h[16:], m.Index)
	le.PutUint64(h[24:], m.Term)
	le.PutUint64(h[32:], m.ConfigurationIndex)
	le.PutUint64(h[40:], uint64(m.Size))
	le.PutUint32(h[48:], dataSum)
	le.PutUint32(h[52:], uint32(len(m.Configuration.Servers)))
	le.PutUint32(h[12:], crc32.Checksum(h[snapshotSummed:], snapshotSums))
	return h, nil
}

// snapshotCorrupt says what does not check; the caller adds the file.
func snapshotCorrupt(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrSnapshotCorrupt)
}

// decodeSnapshotHeader reads a header of a file of so many bytes.
func decodeSnapshotHeader(h []byte, fileSize int64) (m *raft.SnapshotMeta, dataSum uint32, err error) {
	le := binary.LittleEndian
	if len(h) < snapshotFixed || string(h[:8]) != snapshotMagic || uint64(le.Uint32(h[8:])) != uint64(len(h)) {
		return nil, 0, snapshotCorrupt("header is not one of a snapshot")
	}
	if sum := crc32.Checksum(h[snapshotSummed:], snapshotSums); sum != le.Uint32(h[12:]) {
		return nil, 0, snapshotCorrupt("checksum of the header at byte 0 is %08x, stored %08x", sum, le.Uint32(h[12:]))
	}
	if le.Uint64(h[56:]) != 0 {
		return nil, 0, snapshotCorrupt("bytes 56 to 63 are not zero")
	}
	m = &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, Index: le.Uint64(h[16:]), Term: le.Uint64(h[24:]),
		ConfigurationIndex: le.Uint64(h[32:]),
	}
	m.ID = snapshotID(m.Index, m.Term)
	if size := le.Uint64(h[40:]); size != uint64(fileSize-int64(len(h))) {
		return nil, 0, snapshotCorrupt("file has %d bytes, want %d of header and %d of data", fileSize, len(h), size)
	}
	m.Size = fileSize - int64(len(h))
	m.Configuration.Servers, err = decodeSnapshotServers(h[snapshotFixed:], le.Uint32(h[52:]))
	return m, le.Uint32(h[48:]), err
}

func decodeSnapshotServers(b []byte, count uint32) ([]raft.Server, error) {
	if count > maxSnapshotServers {
		return nil, snapshotCorrupt("configuration has %d servers", count)
	}
	text := func() (string, bool) {
		if len(b) < 2 {
			return "", false
		}
		n := int(binary.LittleEndian.Uint16(b))
		if len(b) < 2+n {
			return "", false
		}
		s := string(b[2 : 2+n])
		b = b[2+n:]
		return s, true
	}
	var servers []raft.Server
	for range count {
		if len(b) == 0 {
			return nil, snapshotCorrupt("configuration is cut short")
		}
		suffrage := raft.ServerSuffrage(b[0])
		b = b[1:]
		id, ok := text()
		address, ok2 := text()
		if !ok || !ok2 {
			return nil, snapshotCorrupt("configuration is cut short")
		}
		servers = append(servers, raft.Server{Suffrage: suffrage, ID: raft.ServerID(id), Address: raft.ServerAddress(address)})
	}
	if len(b) > 0 {
		return nil, snapshotCorrupt("configuration is followed by %d bytes", len(b))
	}
	return servers, nil
}

// verifySnapshot reads a file to its end. An error that is not ErrSnapshotCorrupt is the disk's.
func verifySnapshot(f vfs.File) (*raft.SnapshotMeta, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size < snapshotFixed {
		return nil, snapshotCorrupt("file has %d bytes, a header alone has %d", size, snapshotFixed)
	}
	fixed := make([]byte, snapshotFixed)
	if _, err := f.ReadAt(fixed, 0); err != nil {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint32(fixed[8:]))
	if length < snapshotFixed || length > min(size, maxSnapshotHeader) {
		return nil, snapshotCorrupt("header cannot have %d bytes", length)
	}
	header := make([]byte, length)
	if _, err := f.ReadAt(header, 0); err != nil {
		return nil, err
	}
	meta, want, err := decodeSnapshotHeader(header, size)
	if err != nil {
		return nil, err
	}
	sum := crc32.New(snapshotSums)
	buf := make([]byte, min(snapshotBuffer, max(1, meta.Size)))
	if _, err := io.CopyBuffer(sum, io.NewSectionReader(f, length, meta.Size), buf); err != nil {
		return nil, err
	}
	if sum.Sum32() != want {
		return nil, snapshotCorrupt("checksum of the data at byte %d is %08x, stored %08x", length, sum.Sum32(), want)
	}
	return meta, nil
}
