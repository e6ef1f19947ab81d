// Package datadir is the layout of a broker's data directory: the lock, the file that says which format
// the directory has, the path of every part, and what interrupted deletions left behind.
//
//	DATA/wasmill.json            format of the directory
//	DATA/LOCK                    held while a broker runs
//	DATA/stable.db               term and vote of every Raft group
//	DATA/metadata/               the metadata group's log and snapshots
//	DATA/modules/                uploaded modules
//	DATA/wasm-cache/             compiled code
//	DATA/recycle/                dropped segment files, kept for reuse
//	DATA/partitions/NAME.ID/N/   partition N of the topic with that id
package datadir

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

const (
	lockFile      = "LOCK"
	formatFile    = "wasmill.json"
	partitionsDir = "partitions"
	// groupPrefix begins the name of every partition's Raft group in the stable store.
	groupPrefix = "partition/"
	// maxNameBytes is how much of a topic's name goes into the name of its directory: file systems limit
	// a name to 255 bytes. The id behind it is what tells directories apart.
	maxNameBytes = 200
)

// Topic identifies a topic's directory: the name is for people, the id is unique for good.
type Topic struct {
	Name string
	ID   uint64
}

// dirName is the name of the topic's directory.
func (t Topic) dirName() string {
	return t.Name[:min(len(t.Name), maxNameBytes)] + "." + strconv.FormatUint(t.ID, 10)
}

// parseTopicDir reads what dirName wrote. A long name comes back cut.
func parseTopicDir(name string) (Topic, bool) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 1 {
		return Topic{}, false
	}
	id, err := strconv.ParseUint(name[dot+1:], 10, 64)
	return Topic{Name: name[:dot], ID: id}, err == nil
}

// Layout names the parts of a data directory. It touches no file.
type Layout struct{ root string }

// At is the layout of the data directory at root, a slash-separated path.
func At(root string) Layout { return Layout{root: root} }

// Root is the data directory itself.
func (l Layout) Root() string { return l.root }

// Stable is the file with the term and vote of every Raft group.
func (l Layout) Stable() string { return path.Join(l.root, "stable.db") }

// Metadata is the directory of the metadata group.
func (l Layout) Metadata() string { return path.Join(l.root, "metadata") }

// Modules is the directory of uploaded modules.
func (l Layout) Modules() string { return path.Join(l.root, "modules") }

// CompileCache is the directory of compiled code.
func (l Layout) CompileCache() string { return path.Join(l.root, "wasm-cache") }

// Recycle is the directory of segment files that are kept for reuse.
func (l Layout) Recycle() string { return path.Join(l.root, "recycle") }

// Topic is the directory of a topic's partitions.
func (l Layout) Topic(t Topic) string { return path.Join(l.partitions(), t.dirName()) }

// Partition is the directory of one partition's log and snapshots.
func (l Layout) Partition(t Topic, number int32) string {
	return path.Join(l.Topic(t), strconv.Itoa(int(number)))
}

func (l Layout) partitions() string { return path.Join(l.root, partitionsDir) }

// GroupName names a partition's Raft group in the stable store.
func GroupName(topicID uint64, number int32) string {
	return fmt.Sprintf("%s%d/%d", groupPrefix, topicID, number)
}

// ParseGroup reads what GroupName wrote; false for the groups of other parts of the broker.
func ParseGroup(name string) (topicID uint64, number int32, ok bool) {
	rest, ok := strings.CutPrefix(name, groupPrefix)
	if !ok {
		return 0, 0, false
	}
	id, part, ok := strings.Cut(rest, "/")
	if !ok {
		return 0, 0, false
	}
	topicID, idErr := strconv.ParseUint(id, 10, 64)
	n, numberErr := strconv.ParseInt(part, 10, 32)
	return topicID, int32(n), idErr == nil && numberErr == nil && n >= 0
}
