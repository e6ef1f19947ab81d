//go:build wasip1

package jsonscan

import "unsafe"

// word loads b[i:i+8]. Wasm may load from any address; the compiler would load each byte
// alone if it were written with encoding/binary.
func word(b []byte, i int) uint64 { return *(*uint64)(unsafe.Pointer(&b[i : i+8][0])) }
