//go:build wasip1

package wasmill

import "unsafe"

//go:wasmimport wasmill_v1 log
func importLog(level int32, message string)

//go:wasmimport wasmill_v1 config_get
func importConfigGet(key string, buf unsafe.Pointer, size uint32) int32

//go:wasmimport wasmill_v1 metric_add
func importMetricAdd(name string, delta int64)

//go:wasmimport wasmill_v1 now
func importNow() int64

//go:wasmimport wasmill_v1 random
func importRandom(buf unsafe.Pointer, size uint32)

func hostLog(level int32, message string) { importLog(level, message) }

func hostNow() int64 { return importNow() }

func hostRandom(b []byte) { importRandom(unsafe.Pointer(&b[0]), uint32(len(b))) }

func hostMetricAdd(name string, delta int64) { importMetricAdd(name, delta) }

func hostConfigGet(key string, buf []byte) int {
	return int(importConfigGet(key, unsafe.Pointer(&buf[0]), uint32(len(buf))))
}
