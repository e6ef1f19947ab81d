//go:build !wasip1

package jsonscan

import "encoding/binary"

// word loads b[i:i+8].
func word(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i : i+8]) }
