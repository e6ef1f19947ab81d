//go:build !linux

package rawlimit

import "os"

func syncData(f *os.File) error { return f.Sync() }
