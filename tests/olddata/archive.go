package olddata

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// leftOut are what a data directory can do without: compiled code, files kept for reuse, the lock.
var leftOut = []string{"wasm-cache", "recycle", "LOCK"}

// Pack writes a data directory into an archive.
func Pack(dir, archive string) (err error) {
	f, err := os.Create(archive)
	if err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	w := tar.NewWriter(z)
	if err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if slices.Contains(leftOut, rel) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return packFile(w, name, filepath.ToSlash(rel), d)
	}); err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	return nil
}

func packFile(w *tar.Writer, name, rel string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	h, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = rel, 0, 0, "", ""
	if err := w.WriteHeader(h); err != nil || d.IsDir() {
		return err
	}
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(w, in)
	return err
}

// Unpack makes a data directory out of an archive.
func Unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", archive, err)
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = unpackFile(r, h, dir)
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", archive, err)
		}
	}
}

func unpackFile(r io.Reader, h *tar.Header, dir string) error {
	name := filepath.Join(dir, filepath.FromSlash(strings.TrimSuffix(h.Name, "/")))
	mode := fs.FileMode(h.Mode).Perm()
	if h.Typeflag == tar.TypeDir {
		return os.MkdirAll(name, mode)
	}
	out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}
