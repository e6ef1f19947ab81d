package vfs

import (
	"errors"
	"io"
)

// rewritePiece is how many bytes Rewrite holds at a time.
const rewritePiece = 256 << 10

// Rewrite writes the bytes of a file from one position up to another over themselves, so that the next sync writes
// them. After a failed sync Linux counts the pages that it could not write as clean: a later sync succeeds without
// them, although reads find them in the page cache, also those of a later process. A crash on the way changes nothing,
// as the bytes are the same. A file that ends before to is an error.
func Rewrite(f File, from, to int64) error {
	buf := make([]byte, min(rewritePiece, max(0, to-from)))
	for from < to {
		b := buf[:min(int64(len(buf)), to-from)]
		if n, err := f.ReadAt(b, from); n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if _, err := f.WriteAt(b, from); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}
