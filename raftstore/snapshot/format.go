package snapshot

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// docs/formats/snapshot.md has the byte table of what is encoded here.
const (
	magic = "WMSNAP01"
	// fixedSize is the size of the header without the configuration, in bytes.
	fixedSize = 64
	// summedFrom is the first byte of the header that its checksum covers.
	summedFrom = 16
	// maxServers and maxHeader bound what a damaged header can make a reader allocate.
	maxServers = 1024
	maxHeader  = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeHeader(m *raft.SnapshotMeta, dataSum uint32) ([]byte, error) {
	if len(m.Configuration.Servers) > maxServers {
		return nil, fmt.Errorf("configuration has %d servers, at most %d are possible",
			len(m.Configuration.Servers), maxServers)
	}
	h := make([]byte, fixedSize, fixedSize+64)
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
	if len(h) > maxHeader {
		return nil, fmt.Errorf("configuration takes %d bytes, more than %d", len(h), maxHeader)
	}
	copy(h, magic)
	le := binary.LittleEndian
	le.PutUint32(h[8:], uint32(len(h)))
	le.PutUint64(h[16:], m.Index)
	le.PutUint64(h[24:], m.Term)
	le.PutUint64(h[32:], m.ConfigurationIndex)
	le.PutUint64(h[40:], uint64(m.Size))
	le.PutUint32(h[48:], dataSum)
	le.PutUint32(h[52:], uint32(len(m.Configuration.Servers)))
	le.PutUint32(h[12:], crc32.Checksum(h[summedFrom:], castagnoli))
	return h, nil
}

// corrupt returns an ErrCorrupt with a reason; the caller adds the file.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrCorrupt)
}

// decodeHeader decodes the header of a file of fileSize bytes.
func decodeHeader(h []byte, fileSize int64) (m *raft.SnapshotMeta, dataSum uint32, err error) {
	le := binary.LittleEndian
	if len(h) < fixedSize || string(h[:8]) != magic || uint64(le.Uint32(h[8:])) != uint64(len(h)) {
		return nil, 0, corrupt("header is not one of a snapshot")
	}
	if sum := crc32.Checksum(h[summedFrom:], castagnoli); sum != le.Uint32(h[12:]) {
		return nil, 0, corrupt("checksum of the header at byte 0 is %08x, stored %08x", sum, le.Uint32(h[12:]))
	}
	if le.Uint64(h[56:]) != 0 {
		return nil, 0, corrupt("bytes 56 to 63 are not zero")
	}
	m = &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, Index: le.Uint64(h[16:]), Term: le.Uint64(h[24:]),
		ConfigurationIndex: le.Uint64(h[32:]),
	}
	m.ID = formatID(m.Index, m.Term)
	if size := le.Uint64(h[40:]); size != uint64(fileSize-int64(len(h))) {
		return nil, 0, corrupt("file has %d bytes, want %d of header and %d of data", fileSize, len(h), size)
	}
	m.Size = fileSize - int64(len(h))
	m.Configuration.Servers, err = decodeServers(h[fixedSize:], le.Uint32(h[52:]))
	return m, le.Uint32(h[48:]), err
}

func decodeServers(b []byte, count uint32) ([]raft.Server, error) {
	if count > maxServers {
		return nil, corrupt("configuration has %d servers", count)
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
			return nil, corrupt("configuration is cut short")
		}
		suffrage := raft.ServerSuffrage(b[0])
		b = b[1:]
		id, ok := text()
		address, ok2 := text()
		if !ok || !ok2 {
			return nil, corrupt("configuration is cut short")
		}
		servers = append(servers, raft.Server{Suffrage: suffrage, ID: raft.ServerID(id), Address: raft.ServerAddress(address)})
	}
	if len(b) > 0 {
		return nil, corrupt("configuration is followed by %d bytes", len(b))
	}
	return servers, nil
}

// verify reads and checks the whole file. An error that is not ErrCorrupt comes from the file system.
func verify(f vfs.File) (*raft.SnapshotMeta, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size < fixedSize {
		return nil, corrupt("file has %d bytes, a header alone has %d", size, fixedSize)
	}
	fixed := make([]byte, fixedSize)
	if _, err := f.ReadAt(fixed, 0); err != nil {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint32(fixed[8:]))
	if length < fixedSize || length > min(size, maxHeader) {
		return nil, corrupt("header cannot have %d bytes", length)
	}
	header := make([]byte, length)
	if _, err := f.ReadAt(header, 0); err != nil {
		return nil, err
	}
	meta, want, err := decodeHeader(header, size)
	if err != nil {
		return nil, err
	}
	sum := crc32.New(castagnoli)
	buf := make([]byte, min(bufferSize, max(1, meta.Size)))
	if _, err := io.CopyBuffer(sum, io.NewSectionReader(f, length, meta.Size), buf); err != nil {
		return nil, err
	}
	if sum.Sum32() != want {
		return nil, corrupt("checksum of the data at byte %d is %08x, stored %08x", length, sum.Sum32(), want)
	}
	return meta, nil
}
