package recordjson

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"

	"github.com/wasmill/wasmill/core/record"
)

// benchValues are values of about size bytes: an object as programs write it, an object with spaces, and
// text.
func benchValues(size int) map[string][]byte {
	object := func(colon, comma string) []byte {
		var b []byte
		for i := 0; len(b) < size-20; i++ {
			if i > 0 {
				b = append(b, comma...)
			}
			b = fmt.Appendf(b, `"field%d"%s`, i, colon)
			switch i % 3 {
			case 0:
				b = strconv.AppendInt(b, int64(i)*12345, 10)
			case 1:
				b = append(b, `"some text"`...)
			default:
				b = append(b, "true"...)
			}
		}
		return append(append([]byte("{"), b...), '}')
	}
	return map[string][]byte{
		"object": object(":", ","),
		"spaced": object(" : ", " , "),
		"text":   bytes.Repeat([]byte("plain text, "), size/12),
	}
}

var benchKinds = []string{"object", "spaced", "text"}

// benchLines are 64 records of one kind, as NDJSON.
func benchLines(kind string, size int) []byte {
	value := benchValues(size)[kind]
	if kind == "text" {
		value = appendString(nil, value)
	}
	var b []byte
	for i := range 64 {
		b = fmt.Appendf(b, `{"key":"customer-%d","value":%s,"timestamp":1767323045000}`+"\n", i, value)
	}
	return b
}

func eachKind(b *testing.B, run func(b *testing.B, kind string, size int)) {
	for _, size := range []int{100, 1024} {
		for _, kind := range benchKinds {
			b.Run(fmt.Sprintf("%s/%d", kind, size), func(b *testing.B) { run(b, kind, size) })
		}
	}
}

// BenchmarkRead reads 64 records.
func BenchmarkRead(b *testing.B) {
	eachKind(b, func(b *testing.B, kind string, size int) {
		lines := benchLines(kind, size)
		body := make([]byte, len(lines))
		var n int
		r := Reader{MaxRecords: 1000, Partition: -1, Record: func(record.Record, int32) { n++ }}
		b.SetBytes(int64(len(lines)))
		b.ReportAllocs()
		for b.Loop() {
			copy(body, lines) // it is read in place
			if err := r.ReadLines(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkWrite writes 64 records.
func BenchmarkWrite(b *testing.B) {
	eachKind(b, func(b *testing.B, kind string, size int) {
		r := record.Record{Timestamp: 1767323045000, Key: []byte("customer-1"), Value: benchValues(size)[kind]}
		var dst []byte
		b.SetBytes(int64(64 * len(r.Value)))
		b.ReportAllocs()
		for b.Loop() {
			dst = dst[:0]
			for i := range 64 {
				dst = append(AppendRecord(dst, 1, int64(i), &r), '\n')
			}
		}
	})
}
