package partition

import (
	"encoding/hex"
	"math"
	"reflect"
	"testing"
)

// TestEntryGolden pins the bytes of an entry's extensions: logs of earlier versions must replay, with the
// same meaning. The bytes were written by hand from the byte table.
func TestEntryGolden(t *testing.T) {
	tests := []struct {
		name string
		meta entryMeta
		want string
	}{
		{"nothing", entryMeta{trimTo: -1}, ""},
		{"log start", entryMeta{trimTo: 513}, "01" + "02" + "0800" + "0102000000000000"},
		{"offset", entryMeta{trimTo: -1, positions: []Position{{Origin: "derivation/1/0", Kind: PositionOffset, Next: 44}}},
			"01" + "01" + "1900" + "01" + "0000" + "2c00000000000000" + hex.EncodeToString([]byte("derivation/1/0"))},
		{"sequence", entryMeta{trimTo: -1, positions: []Position{{Origin: "route/1/0/9", Kind: PositionSequence, Epoch: 3, Next: 259}}},
			"01" + "01" + "1600" + "02" + "0300" + "0201000000000000" + hex.EncodeToString([]byte("route/1/0/9"))},
		{"last sequence before the wrap", entryMeta{trimTo: -1, positions: []Position{{Origin: "r", Kind: PositionSequence, Next: math.MaxInt32 + 1}}},
			"01" + "01" + "0c00" + "02" + "0000" + "ffffff7f00000000" + "72"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := hex.EncodeToString(tt.meta.encode()); got != tt.want {
				t.Errorf("bytes changed:\n got %s\nwant %s", got, tt.want)
			}
			b, err := hex.DecodeString(tt.want)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := decodeEntryMeta(b); err != nil || !reflect.DeepEqual(got, tt.meta) {
				t.Errorf("read as %+v, %v; want %+v", got, err, tt.meta)
			}
		})
	}
}
