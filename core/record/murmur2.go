package record

import "encoding/binary"

// murmur2 is the hash by which Kafka's clients choose a partition for a key.
func murmur2(key []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key) * m
		k = (k ^ k>>r) * m
		h = h*m ^ k
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2])<<16 | uint32(key[1])<<8 | uint32(key[0])
		h *= m
	case 2:
		h ^= uint32(key[1])<<8 | uint32(key[0])
		h *= m
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}

// PartitionForKey is the partition, of n > 0, that Kafka's default partitioner gives a key.
func PartitionForKey(key []byte, n int32) int32 {
	return int32(murmur2(key)&0x7fffffff) % n
}
