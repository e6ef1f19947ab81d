package record

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

func TestCodecNames(t *testing.T) {
	for _, c := range codecs {
		if got, err := ParseCodec(c.String()); got != c || err != nil {
			t.Errorf("%s: %s, %v", c, got, err)
		}
	}
	if _, err := ParseCodec("brotli"); !errors.Is(err, ErrCodec) {
		t.Errorf("brotli: %v", err)
	}
	if s := Codec(6).String(); s != "codec(6)" {
		t.Error(s)
	}
}

func TestCompressRoundTrip(t *testing.T) {
	random := make([]byte, 300_000)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(random)
	inputs := map[string][]byte{
		"one byte": {7},
		"text":     bytes.Repeat([]byte("the same again and again; "), 10_000),
		"zeros":    make([]byte, 1<<20),
		"random":   random,
		"long":     bytes.Repeat([]byte("longer than what is measured first; "), 200_000),
		"mixed":    append(append(make([]byte, 200_000), random...), make([]byte, 100_000)...),
	}
	for _, codec := range codecs[1:] {
		for name, input := range inputs {
			t.Run(fmt.Sprintf("%s/%s", codec, name), func(t *testing.T) {
				packed, err := compress([]byte("before"), codec, input)
				if err != nil || !bytes.HasPrefix(packed, []byte("before")) {
					t.Fatal(err)
				}
				packed = packed[6:]
				for _, dst := range [][]byte{nil, make([]byte, 3, 100), make([]byte, 0, len(input)), make([]byte, 9, 4<<20)} {
					got, err := decompress(dst, codec, packed, len(input))
					if err != nil || !bytes.Equal(got, input) {
						t.Fatalf("capacity %d: %d bytes, %v", cap(dst), len(got), err)
					}
				}
				if _, err = decompress(nil, codec, packed, len(input)-1); !errors.Is(err, ErrDecompressedTooLarge) {
					t.Fatalf("one byte over the limit: %v", err)
				}
				for _, cut := range []int{0, 1, len(packed) / 2} {
					if got, err := decompress(nil, codec, packed[:cut], 8<<20); err == nil && bytes.Equal(got, input) {
						t.Fatalf("%d of %d bytes decompress to the whole", cut, len(packed))
					}
				}
			})
		}
	}
}

// foreign are encodings that our own compressors do not make but clients do.
func foreign(t testing.TB, input []byte) map[string]Batch {
	batch := func(codec Codec, payload []byte, count int) Batch {
		b := build(t, BuilderOptions{}, sample(count, 1))[:HeaderSize:HeaderSize]
		return with(append(b, payload...), put16(offAttributes, uint16(codec)))
	}
	count := int(binary.BigEndian.Uint32(input))
	input = input[4:]

	var xerial []byte
	xerial = append(xerial, xerialMagic...)
	xerial = append(xerial, 0, 0, 0, 1, 0, 0, 0, 1)
	for rest := input; len(rest) > 0; {
		n := min(len(rest), 1000)
		block := snappy.Encode(nil, rest[:n])
		xerial = append(binary.BigEndian.AppendUint32(xerial, uint32(len(block))), block...)
		rest = rest[n:]
	}

	var stream bytes.Buffer
	enc, err := zstd.NewWriter(&stream, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	writeInPieces(t, enc, input)

	var linked bytes.Buffer
	lw := lz4.NewWriter(&linked)
	if err := lw.Apply(lz4.BlockSizeOption(lz4.Block4Mb), lz4.ChecksumOption(true), lz4.BlockChecksumOption(true), lz4.SizeOption(uint64(len(input)))); err != nil {
		t.Fatal(err)
	}
	writeInPieces(t, lw, input)

	var members bytes.Buffer
	for _, part := range [][]byte{input[:len(input)/2], input[len(input)/2:]} {
		writeInPieces(t, gzip.NewWriter(&members), part)
	}
	return map[string]Batch{
		"snappy framed by xerial":       batch(CodecSnappy, xerial, count),
		"snappy bare":                   batch(CodecSnappy, snappy.Encode(nil, input), count),
		"zstd stream without size":      batch(CodecZstd, stream.Bytes(), count),
		"lz4 with every checksum":       batch(CodecLZ4, linked.Bytes(), count),
		"gzip of two members, stdlib's": batch(CodecGzip, members.Bytes(), count),
	}
}

type writeCloser interface {
	Write([]byte) (int, error)
	Close() error
}

func writeInPieces(t testing.TB, w writeCloser, input []byte) {
	for len(input) > 0 {
		n := min(len(input), 777)
		if _, err := w.Write(input[:n]); err != nil {
			t.Fatal(err)
		}
		input = input[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestForeignEncodings(t *testing.T) {
	want := sample(500, 100)
	plain := build(t, BuilderOptions{}, want)
	input := append(binary.BigEndian.AppendUint32(nil, 500), plain.Payload()...)
	for name, b := range foreign(t, input) {
		t.Run(name, func(t *testing.T) {
			if err := b.Validate(Limits{}); err != nil {
				t.Fatal(err)
			}
			got := decode(t, b)
			if len(got) != len(want) || !bytes.Equal(got[499].Key, want[499].Key) {
				t.Fatalf("%d records", len(got))
			}
		})
	}
}

// Stream encoders do not tell how much a frame holds; it must be read however well it is packed.
func TestZstdWithoutContentSize(t *testing.T) {
	for _, size := range []int{16, 10 << 10, 100 << 10, 1 << 20, 9 << 20} {
		input := bytes.Repeat([]byte("the same again; "), size/16)
		var stream bytes.Buffer
		enc, err := zstd.NewWriter(&stream, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		writeInPieces(t, enc, input)
		var h zstd.Header
		if err := h.Decode(stream.Bytes()); err != nil || h.HasFCS && size > 1<<20 {
			t.Fatalf("%d bytes: %v, header %+v: not what the test is about", size, err, h)
		}
		for _, dst := range [][]byte{nil, make([]byte, 0, len(input)/2), make([]byte, 0, 2*len(input))} {
			got, err := decompress(dst, CodecZstd, stream.Bytes(), len(input))
			if err != nil || !bytes.Equal(got, input) {
				t.Errorf("%d bytes in %d, capacity %d: %d bytes, %v", len(input), stream.Len(), cap(dst), len(got), err)
			}
		}
		if _, err := decompress(nil, CodecZstd, stream.Bytes(), len(input)-1); !errors.Is(err, ErrDecompressedTooLarge) {
			t.Errorf("%d bytes, one over the limit: %v", len(input), err)
		}
		// A frame that tells its size, followed by one that does not.
		both, err := compress(nil, CodecZstd, input)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decompress(nil, CodecZstd, append(both, stream.Bytes()...), 2*len(input))
		if err != nil || len(got) != 2*len(input) {
			t.Errorf("two frames of %d bytes: %d bytes, %v", len(input), len(got), err)
		}
	}
}

// bombs are small payloads that claim, or hold, far more than limit.
func bombs(t testing.TB) map[string]Batch {
	huge := make([]byte, 32<<20)
	bomb := func(codec Codec, payload []byte) Batch {
		b := build(t, BuilderOptions{}, sample(1, 1))[:HeaderSize:HeaderSize]
		return with(append(b, payload...), put16(offAttributes, uint16(codec)))
	}
	out := map[string]Batch{}
	for _, codec := range codecs[1:] {
		packed, err := compress(nil, codec, huge)
		if err != nil {
			t.Fatal(err)
		}
		out[codec.String()+" zeros"] = bomb(codec, packed)
	}
	var stream bytes.Buffer
	enc, err := zstd.NewWriter(&stream, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := enc.Write(huge); err != nil {
		t.Fatal(err)
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	out["zstd zeros without size"] = bomb(CodecZstd, stream.Bytes())
	// Frame header: no single segment, no content size, window of 2^38 bytes; then nothing useful.
	out["zstd window lies"] = bomb(CodecZstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xe0, 1, 0, 0})
	// Single segment with an 8-byte content size of 60 MiB; a raw block of one byte.
	lie := binary.LittleEndian.AppendUint64([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, 60<<20)
	out["zstd size lies"] = bomb(CodecZstd, append(lie, 0x09, 0, 0, 'x'))
	out["snappy length lies"] = bomb(CodecSnappy, append(binary.AppendUvarint(nil, 60<<20), 0, 'x'))
	out["xerial block length lies"] = bomb(CodecSnappy, append(append([]byte(nil), xerialMagic...), 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0))
	out["lz4 block without end"] = bomb(CodecLZ4, []byte{0x04, 0x22, 0x4d, 0x18, 0x40, 0x70, 0xdf, 0xff, 0xff, 0x3f, 0})
	out["gzip extra field lies"] = bomb(CodecGzip, []byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1})
	return out
}

// allocated is how many bytes f allocates, garbage included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestBombsAreRefusedInBounds(t *testing.T) {
	const limit = 1 << 20
	// Memory grows in steps, so the sum of what was taken exceeds the limit by a factor; readers,
	// tables and lz4's block buffers come on top.
	const most = 4*limit + 12<<20
	limits := Limits{MaxDecompressedBytes: limit, MaxBatchBytes: 64 << 20}
	all := bombs(t)
	for name, b := range all {
		t.Run(name, func(t *testing.T) {
			var err error
			if n := allocated(func() { err = b.Validate(limits) }); n > most {
				t.Errorf("%d bytes allocated", n)
			}
			if !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrCompressed) {
				t.Errorf("Validate: %v", err)
			}
			if n := allocated(func() { _, err = NewDecoder(limits).Decode(b, nil) }); n > most {
				t.Errorf("%d bytes allocated", n)
			}
			if !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrCompressed) {
				t.Errorf("Decode: %v", err)
			}
		})
	}
	// The measure can fail: without the limit the same batch takes more.
	loose := Limits{MaxDecompressedBytes: 64 << 20, MaxBatchBytes: 64 << 20}
	b := all["zstd zeros"]
	if n := allocated(func() { _ = b.Validate(loose) }); n <= most {
		t.Errorf("a bomb without a limit took only %d bytes: the test measures nothing", n)
	}
}

// TestOverLargeLimitsBombsCostTimeAlone: what grows out of proportion is measured before memory is taken.
func TestOverLargeLimitsBombsCostTimeAlone(t *testing.T) {
	const limit, most = 31 << 20, 24 << 20
	all := bombs(t) // of 32 MiB
	for _, name := range []string{"gzip zeros", "lz4 zeros", "zstd zeros", "zstd zeros without size"} {
		var err error
		measure := func(limit int) uint64 {
			l := Limits{MaxDecompressedBytes: limit, MaxBatchBytes: 64 << 20}
			return allocated(func() { err = all[name].Validate(l) })
		}
		if n := measure(limit); n > most || !errors.Is(err, ErrDecompressedTooLarge) {
			t.Errorf("%s: %d bytes allocated, %v", name, n, err)
		}
		if n := measure(33 << 20); n < most || errors.Is(err, ErrDecompressedTooLarge) {
			t.Errorf("%s within the limit: %d bytes allocated, %v: the test measures nothing", name, n, err)
		}
	}
}

// TestSmallLiesCostLittle: a claim that the bytes cannot back gets no memory on credit.
func TestSmallLiesCostLittle(t *testing.T) {
	all := bombs(t)
	for _, name := range []string{"snappy length lies", "zstd size lies", "xerial block length lies"} {
		t.Run(name, func(t *testing.T) {
			var err error
			n := allocated(func() { _, err = NewDecoder(Limits{}).Decode(all[name], nil) })
			if err == nil || n > 96<<20 || name != "zstd size lies" && n > 1<<20 {
				t.Errorf("%d bytes allocated, %v", n, err)
			}
		})
	}
}
