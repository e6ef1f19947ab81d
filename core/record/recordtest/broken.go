package recordtest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/wasmill/wasmill/core/record"
)

// Where fields of a batch's header begin.
const (
	AtLength          = 8
	AtMagic           = 16
	AtCRC             = 17
	AtAttributes      = 21
	AtLastOffsetDelta = 23
	AtMaxTimestamp    = 35
	AtProducerID      = 43
	AtCount           = 57
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal gives a batch the length and the checksum of its bytes, in place, so that only what a test broke is
// broken.
func Seal(b record.Batch) record.Batch {
	binary.BigEndian.PutUint32(b[AtLength:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[AtCRC:], crc32.Checksum(b[AtAttributes:], castagnoli))
	return b
}

// Put32 writes a field of four bytes, in place.
func Put32(b record.Batch, at int, v uint32) record.Batch {
	binary.BigEndian.PutUint32(b[at:], v)
	return b
}

// Opaque is a batch that spans n offsets and has a payload of size bytes that are no records, for those that
// look at headers alone. Its timestamps are in ms.
func Opaque(n int32, timestamp int64, size int, fill byte) record.Batch {
	b := append(make(record.Batch, record.HeaderSize), bytes.Repeat([]byte{fill}, size)...)
	b[AtMagic] = record.Magic
	binary.BigEndian.PutUint32(b[AtLastOffsetDelta:], uint32(n-1))
	binary.BigEndian.PutUint64(b[AtMaxTimestamp-8:], uint64(timestamp))
	binary.BigEndian.PutUint64(b[AtMaxTimestamp:], uint64(timestamp))
	copy(b[AtProducerID:AtCount], bytes.Repeat([]byte{0xff}, AtCount-AtProducerID)) // id, epoch and sequence: none
	binary.BigEndian.PutUint32(b[AtCount:], uint32(n))
	return Seal(b)
}

// Bomb is a small batch whose one record has a value of size zeros, in a codec other than none and snappy.
// Its record takes a little more.
func Bomb(t testing.TB, codec record.Codec, size int) record.Batch {
	t.Helper()
	var packed bytes.Buffer
	var w io.WriteCloser
	switch codec {
	case record.CodecGzip:
		w = gzip.NewWriter(&packed)
	case record.CodecLZ4:
		w = lz4.NewWriter(&packed)
	case record.CodecZstd:
		enc, err := zstd.NewWriter(&packed, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		w = enc
	default:
		t.Fatalf("no bomb in codec %v", codec)
	}
	value := binary.AppendVarint(nil, int64(size))
	body := append([]byte{0, 0, 0, 1}, value...) // attributes, timestamp delta, offset delta, null key
	head := append(binary.AppendVarint(nil, int64(len(body)+size+1)), body...)
	for _, part := range []io.Reader{bytes.NewReader(head), io.LimitReader(zeros{}, int64(size)), bytes.NewReader([]byte{0})} {
		if _, err := io.Copy(struct{ io.Writer }{w}, part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b := append(Batch(t, "x")[:record.HeaderSize:record.HeaderSize], packed.Bytes()...)
	b[AtAttributes+1] = byte(codec)
	return Seal(b)
}

// zeros is an endless source of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
