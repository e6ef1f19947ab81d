package broker

import (
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/wasmill/wasmill/core/metadata"
)

const (
	partitionsDir = "partitions"
	groupPrefix   = "partition/"
)

// sweep removes what a deletion that was interrupted left behind: directories and votes of topics that
// the metadata knew and knows no longer. What it never knew is left alone: then it is the metadata that
// is not what it was.
func (b *Broker) sweep(image *metadata.Image) error {
	gone := func(id string) bool {
		n, err := strconv.ParseUint(id, 10, 64)
		return err == nil && image.Knew(metadata.TopicID(n)) && image.TopicByID(metadata.TopicID(n)) == nil
	}
	var errs []error
	for _, group := range b.stable.Groups() {
		if rest, ok := strings.CutPrefix(group, groupPrefix); ok {
			if id, _, _ := strings.Cut(rest, "/"); gone(id) {
				errs = append(errs, b.stable.DeleteGroup(group))
			}
		}
	}
	dir := path.Join(b.opts.DataDir, partitionsDir)
	entries, err := b.fs.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range entries {
		if id := strings.TrimPrefix(path.Ext(e.Name()), "."); gone(id) {
			b.logger.Info("removing what is left of a deleted topic", "directory", e.Name())
			errs = append(errs, b.fs.RemoveAll(path.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
