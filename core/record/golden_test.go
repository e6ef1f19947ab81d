package record

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

const formatDocument = "../../docs/formats/record-batch.md"

// goldenRecords show null, empty, headers and a timestamp that goes back.
func goldenRecords() []Record {
	return []Record{
		{OffsetDelta: 0, Timestamp: 1_700_000_000_000, Key: []byte("k"), Value: []byte("hello")},
		{OffsetDelta: 1, Timestamp: 1_699_999_999_999, Key: nil, Value: []byte{}},
		{OffsetDelta: 2, Timestamp: 1_700_000_000_500, Key: []byte{}, Value: nil, Headers: []RecordHeader{
			{Key: []byte("h"), Value: []byte("v")}, {Key: []byte("n"), Value: nil},
		}},
	}
}

// goldenBatches are those whose bytes the repository keeps. exact ones must come out byte for byte;
// compressed ones only have to be readable, for compressors get better.
func goldenBatches(t *testing.T) map[string]struct {
	batch Batch
	exact bool
	want  []Record
} {
	type golden = struct {
		batch Batch
		exact bool
		want  []Record
	}
	records := goldenRecords()
	options := BuilderOptions{Producer: &Producer{ID: 4711, Epoch: 1, BaseSequence: 100}}
	plain := build(t, options, records)
	plain.SetBaseOffset(1000)
	plain.SetLeaderEpoch(7)
	out := map[string]golden{"none": {plain, true, records}}
	for _, codec := range codecs[1:] {
		options.Codec = codec
		b := build(t, options, records)
		b.SetBaseOffset(1000)
		b.SetLeaderEpoch(7)
		out[codec.String()] = golden{b, false, records}
	}
	var w Builder
	w.resetLike(plain)
	w.Append(records[1])
	filtered, err := w.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	out["filtered"] = golden{filtered, true, records[1:2]}
	w.resetLike(plain)
	empty, err := w.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	out["empty"] = golden{empty, true, nil}
	return out
}

// formatHex writes the header's 61 bytes, then the records, in lines.
func formatHex(b []byte) string {
	var s strings.Builder
	for part := range [2]int{} {
		rest := [][]byte{b[:HeaderSize], b[HeaderSize:]}[part]
		for len(rest) > 0 {
			n := min(len(rest), 32)
			s.WriteString(hex.EncodeToString(rest[:n]) + "\n")
			rest = rest[n:]
		}
	}
	return s.String()
}

func TestGolden(t *testing.T) {
	for name, g := range goldenBatches(t) {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name+".hex")
			if *update {
				if err := os.WriteFile(file, []byte(formatHex(g.batch)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			kept, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
			if err != nil {
				t.Fatal(err)
			}
			if g.exact && !bytes.Equal(kept, g.batch) {
				t.Errorf("built\n%s\nthe format's bytes are\n%s", formatHex(g.batch), text)
			}
			b := Batch(kept)
			if err := b.Validate(Limits{}); err != nil {
				t.Fatal(err)
			}
			wantRecords(t, decode(t, b), g.want)
			if b.BaseOffset() != 1000 || b.NextOffset() != 1003 || b.LeaderEpoch() != 7 || b.ProducerID() != 4711 ||
				b.ProducerEpoch() != 1 || b.BaseSequence() != 100 || b.LastSequence() != 102 || b.BaseTimestamp() != 1_700_000_000_000 {
				t.Errorf("header fields of %s", text)
			}
		})
	}
}

// TestDocumentShowsTheFormat keeps the example in the format's document true.
func TestDocumentShowsTheFormat(t *testing.T) {
	document, err := os.ReadFile(formatDocument)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "none.hex"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(document, want) {
		t.Errorf("%s does not contain the example of testdata/none.hex:\n%s", formatDocument, want)
	}
}
