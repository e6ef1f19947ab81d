package datadir

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strconv"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Partition is a partition's directory as it was found.
type Partition struct {
	Topic  Topic // its name is cut when it is long
	Number int32
	Dir    string
}

// Partitions lists the directories of partitions, by topic name, topic id and number. What has another
// name than the broker gives is left out. fs.ErrNotExist when there is no directory of partitions.
func (l Layout) Partitions(fsys vfs.FS) ([]Partition, error) {
	topics, err := fsys.ReadDir(l.partitions())
	if err != nil {
		return nil, err
	}
	var found []Partition
	for _, entry := range topics {
		t, ok := parseTopicDir(entry.Name())
		if !ok || !entry.IsDir() {
			continue
		}
		dir := path.Join(l.partitions(), entry.Name())
		numbers, err := fsys.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, n := range numbers {
			if number, err := strconv.ParseUint(n.Name(), 10, 31); err == nil && n.IsDir() {
				found = append(found, Partition{Topic: t, Number: int32(number), Dir: path.Join(dir, n.Name())})
			}
		}
	}
	slices.SortFunc(found, func(a, b Partition) int {
		return cmp.Or(cmp.Compare(a.Topic.Name, b.Topic.Name), cmp.Compare(a.Topic.ID, b.Topic.ID), cmp.Compare(a.Number, b.Number))
	})
	return found, nil
}

// RemoveTopic removes a topic's directory and what is left in it.
func (d *Dir) RemoveTopic(t Topic) error { return d.fs.RemoveAll(d.Topic(t)) }

// GroupStore is the stable store of all Raft groups.
type GroupStore interface {
	// Groups lists the names of the groups that have stored something.
	Groups() []string
	// DeleteGroup removes everything that a group has stored.
	DeleteGroup(name string) error
}

// Sweep removes what interrupted deletions left behind: directories and Raft state of topics for whose id
// deleted is true. Every step is tried; the errors are joined.
func (d *Dir) Sweep(groups GroupStore, deleted func(topicID uint64) bool, logger *slog.Logger) error {
	var errs []error
	for _, group := range groups.Groups() {
		if id, _, ok := ParseGroup(group); ok && deleted(id) {
			errs = append(errs, groups.DeleteGroup(group))
		}
	}
	entries, err := d.fs.ReadDir(d.partitions())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, entry := range entries {
		if t, ok := parseTopicDir(entry.Name()); ok && deleted(t.ID) {
			logger.Info("removing what is left of a deleted topic", "directory", entry.Name())
			errs = append(errs, d.fs.RemoveAll(path.Join(d.partitions(), entry.Name())))
		}
	}
	return errors.Join(errs...)
}
