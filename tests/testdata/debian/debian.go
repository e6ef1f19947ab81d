// Package debian holds records from the real world for the demo, tests and benchmarks: 5,000 packages
// of the Debian index, as JSON lines. README.md says where they come from and how to make them anew.
// As the package lies under testdata, `./...` does not name it; who needs it imports it.
package debian

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Count is the number of packages, and SHA256 the digest of their lines.
const (
	Count  = 5000
	SHA256 = "ff5dd71d7814b5bb3d2df377394ef8ed58e369918d42ea0bf6a255e228c409c7"
)

// maxBytes bounds what is decompressed.
const maxBytes = 16 << 20

//go:embed packages.jsonl.gz
var compressed []byte

// Package is one package of the index.
type Package struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	Section     string `json:"section"`
	Maintainer  string `json:"maintainer"` // with an e-mail address in angle brackets
	Size        int64  `json:"size"`       // of the package file, in bytes
	Homepage    string `json:"homepage"`   // may be empty
	Description string `json:"description"`
}

// JSONLines is all packages, one JSON object a line, sorted by name. It is shared and must not be
// changed.
var JSONLines = sync.OnceValues(func() ([]byte, error) {
	lines, err := decompress(compressed)
	if err != nil {
		return nil, fmt.Errorf("read packages.jsonl.gz: %w", err)
	}
	if sum := sha256.Sum256(lines); hex.EncodeToString(sum[:]) != SHA256 {
		return nil, fmt.Errorf("packages.jsonl.gz holds lines with SHA-256 %x, want %s", sum, SHA256)
	}
	return lines, nil
})

func decompress(gz []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxBytes))
}

// Lines are the JSON objects one by one, without line ends. They must not be changed.
func Lines() ([][]byte, error) {
	all, err := JSONLines()
	if err != nil {
		return nil, err
	}
	return bytes.Split(bytes.TrimSuffix(all, []byte("\n")), []byte("\n")), nil
}

// Packages are all packages, sorted by name.
func Packages() ([]Package, error) {
	lines, err := Lines()
	if err != nil {
		return nil, err
	}
	packages := make([]Package, len(lines))
	for i, line := range lines {
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&packages[i]); err != nil {
			return nil, fmt.Errorf("packages.jsonl.gz: line %d: %w", i+1, err)
		}
	}
	return packages, nil
}
