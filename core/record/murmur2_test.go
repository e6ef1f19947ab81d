package record

import "testing"

func TestMurmur2(t *testing.T) {
	for key, want := range map[string]int32{ // as Kafka's own clients compute them
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
	}
	for _, key := range []string{"", "21", "abc", "foobar"} {
		if p := PartitionForKey([]byte(key), 7); p < 0 || p > 6 {
			t.Errorf("%q: partition %d of 7", key, p)
		}
	}
}
