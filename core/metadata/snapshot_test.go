package metadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

var update = flag.Bool("update", false, "rewrite golden files; only for a new format version")

func encode(t testing.TB, image *Image) []byte {
	t.Helper()
	data, err := image.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func TestSnapshotGolden(t *testing.T) {
	data := encode(t, world(t))
	want := golden(t, "image-v1.golden", data)
	if !bytes.Equal(data, want) {
		t.Fatalf("the same state has other bytes than before:\n%s\nwant\n%s", data, want)
	}
	image, err := DecodeImage(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encode(t, image), want) {
		t.Fatalf("restored, it became %s", encode(t, image))
	}
}

func TestEmptySnapshot(t *testing.T) {
	image, err := DecodeImage(encode(t, NewImage()))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Apply(image, Entry{noon, CreateTopic{Name: "a"}}); err != nil {
		t.Fatal(err)
	}
}

// seal puts a correct header before a body.
func seal(body string) []byte {
	out := make([]byte, snapshotHeader, snapshotHeader+len(body))
	copy(out, snapshotMagic)
	binary.LittleEndian.PutUint32(out[8:], snapshotVersion)
	binary.LittleEndian.PutUint32(out[12:], crc32.Checksum([]byte(body), castagnoli))
	binary.LittleEndian.PutUint64(out[16:], uint64(len(body)))
	return append(out, body...)
}

func TestDamagedSnapshot(t *testing.T) {
	good := encode(t, world(t))
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	newer := bytes.Clone(good)
	newer[8]++
	doubled := strings.Replace(string(good[snapshotHeader:]), `"topics":[`, `"topics":[null,`, 1)
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrSnapshotCorrupt},
		{"header only", good[:snapshotHeader], ErrSnapshotCorrupt},
		{"torn", good[:len(good)-1], ErrSnapshotCorrupt},
		{"longer", append(bytes.Clone(good), 0), ErrSnapshotCorrupt},
		{"flipped bit", flipped, ErrSnapshotCorrupt},
		{"other file", []byte(strings.Repeat("x", 100)), ErrSnapshotCorrupt},
		{"newer format", newer, ErrSnapshotVersion},
		{"not JSON", seal("{"), ErrSnapshotCorrupt},
		{"unknown member", seal(`{"soul":1}`), ErrSnapshotCorrupt},
		{"null topic", seal(doubled), ErrSnapshotCorrupt},
		{"topic twice", seal(`{"next_topic_id":9,"topics":[{"id":1,"name":"a"},{"id":2,"name":"a"}]}`), ErrSnapshotCorrupt},
		{"topic id twice", seal(`{"next_topic_id":9,"topics":[{"id":1,"name":"a"},{"id":1,"name":"b"}]}`), ErrSnapshotCorrupt},
		{"topic id from the future", seal(`{"next_topic_id":1,"topics":[{"id":1,"name":"a"}]}`), ErrSnapshotCorrupt},
		{"module order", seal(`{"modules":[{"name":"a","version":2},{"name":"a","version":1}]}`), ErrSnapshotCorrupt},
		{"view twice", seal(`{"views":[{"name":"a"},{"name":"a"}]}`), ErrSnapshotCorrupt},
		{"pipeline twice", seal(`{"pipelines":[{"topic":"a"},{"topic":"a"}]}`), ErrSnapshotCorrupt},
		{"derivation twice", seal(`{"derivations":[{"name":"a"},{"name":"a"}]}`), ErrSnapshotCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := DecodeImage(tt.data); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func FuzzDecodeImage(f *testing.F) {
	f.Add(encode(f, NewImage())[snapshotHeader:])
	f.Add(encode(f, world(f))[snapshotHeader:])
	f.Add([]byte(`{"views":[{"name":"a","stages":[{"config": [ 1 ]}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		image, err := DecodeImage(seal(string(body)))
		if err != nil {
			return
		}
		first := encode(t, image)
		back, err := DecodeImage(first)
		if err != nil {
			t.Fatalf("%q: what was written cannot be read: %v", body, err)
		}
		if !bytes.Equal(encode(t, back), first) {
			t.Fatalf("%q: bytes are not canonical", body)
		}
	})
}

// Every command's bytes stand in old logs: they must be read forever.
func TestCommandGolden(t *testing.T) {
	commands := append(worldCommands(),
		AlterTopic{Name: "orders", Partitions: 4, Config: map[string]*string{"flush": nil, "retention.ms": ptr("1")}},
		DeleteTopic{Name: "x"}, DeleteModule{Name: "m", Version: 2}, DeletePipeline{Topic: "t", Expected: ptr(uint64(3))},
		DeleteView{Name: "v"}, DeleteDerivation{Name: "d"},
		PutView{Name: "v", Topic: "t", Stages: []Stage{{Module: "m", Version: 1}}, Expected: ptr(uint64(0))},
		DeleteView{Name: "v", Expected: ptr(uint64(3))},
		PutDerivation{Name: "d", Topic: "t", Output: "u", Stages: []Stage{{Module: "m", Version: 1}}, Expected: ptr(uint64(3))},
		DeleteDerivation{Name: "d", Expected: ptr(uint64(4))})
	var lines bytes.Buffer
	seen := map[string]bool{}
	for _, c := range commands {
		data, err := EncodeEntry(Entry{noon.Add(1234567), c})
		if err != nil {
			t.Fatal(err)
		}
		kind, _ := c.kind()
		seen[kind] = true
		lines.Write(append(data, '\n'))
	}
	for kind := range decoders {
		if !seen[kind] {
			t.Errorf("no golden line for %s", kind)
		}
	}
	want := golden(t, "commands-v1.golden", lines.Bytes())
	if !bytes.Equal(lines.Bytes(), want) {
		t.Fatalf("got\n%s\nwant\n%s", lines.Bytes(), want)
	}
	for line := range bytes.Lines(want) {
		entry, err := DecodeEntry(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		again, err := EncodeEntry(entry)
		if err != nil || string(again)+"\n" != string(line) {
			t.Fatalf("%s became %s, %v", line, again, err)
		}
	}
}

func TestDecodeEntryRefuses(t *testing.T) {
	const at = `"at":"2026-03-01T12:00:00Z"`
	tests := []struct {
		name string
		data string
		want errcode.Code
	}{
		{"nothing", "", errcode.InvalidRequest},
		{"not JSON", "hello", errcode.InvalidRequest},
		{"unknown type", `{"type":"fly","v":1,` + at + `,"data":{}}`, errcode.UnsupportedVersion},
		{"newer version", `{"type":"delete_view","v":2,` + at + `,"data":{"name":"v"}}`, errcode.UnsupportedVersion},
		{"version beyond the newest", `{"type":"delete_view","v":3,` + at + `,"data":{"name":"v","more":1}}`, errcode.UnsupportedVersion},
		{"newer version of a command with one", `{"type":"delete_topic","v":2,` + at + `,"data":{"name":"v","more":1}}`, errcode.UnsupportedVersion},
		{"version too low for its members", `{"type":"delete_view","v":1,` + at + `,"data":{"name":"v","expected":1}}`, errcode.UnsupportedVersion},
		{"no version", `{"type":"delete_view",` + at + `,"data":{"name":"v"}}`, errcode.UnsupportedVersion},
		{"unknown member", `{"type":"delete_view","v":1,` + at + `,"data":{"name":"v","soul":1}}`, errcode.InvalidRequest},
		{"unknown member outside", `{"type":"delete_view","v":1,"x":1,` + at + `,"data":{"name":"v"}}`, errcode.InvalidRequest},
		{"no data", `{"type":"delete_view","v":1,` + at + `}`, errcode.InvalidRequest},
		{"two values", `{"type":"delete_view","v":1,` + at + `,"data":{}} {}`, errcode.InvalidRequest},
		{"broken time", `{"type":"delete_view","v":1,"at":"now","data":{}}`, errcode.InvalidRequest},
		{"too long", strings.Repeat(" ", MaxCommandBytes+1), errcode.RecordListTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := DecodeEntry([]byte(tt.data)); !errcode.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestEncodeEntryRefuses(t *testing.T) {
	if _, err := EncodeEntry(Entry{noon, nil}); !errcode.Is(err, errcode.InvalidRequest) {
		t.Errorf("no command: %v", err)
	}
	huge := PutView{Name: strings.Repeat("x", MaxCommandBytes)}
	if _, err := EncodeEntry(Entry{noon, huge}); !errcode.Is(err, errcode.RecordListTooLarge) {
		t.Errorf("huge command: %v", err)
	}
	broken := PutView{Stages: []Stage{{Config: []byte("{")}}}
	if _, err := EncodeEntry(Entry{noon, broken}); !errcode.Is(err, errcode.InvalidRequest) {
		t.Errorf("broken config: %v", err)
	}
	if _, _, err := Apply(NewImage(), Entry{time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC), CreateTopic{Name: "a"}}); !errcode.Is(err, errcode.InvalidRequest) {
		t.Errorf("far future: %v", err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	for _, c := range worldCommands() {
		data, err := EncodeEntry(Entry{noon, c})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"type":"create_topic","v":1,"at":"0000-01-01T00:00:00+23:59","data":{"name":"a"}}`))
	start := world(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		entry, err := DecodeEntry(data)
		if err != nil {
			if errcode.From(err).Code == errcode.Unknown {
				t.Fatalf("%q: an error without a code: %v", data, err)
			}
			return
		}
		image, _, err := Apply(start, entry)
		if err != nil && errcode.From(err).Code == errcode.Unknown {
			t.Fatalf("%q: an error without a code: %v", data, err)
		}
		encoded := encode(t, image)
		back, err := DecodeImage(encoded)
		if err != nil || !bytes.Equal(encode(t, back), encoded) {
			t.Fatalf("%q: the image does not survive a snapshot: %v", data, err)
		}
	})
}
