package metadata

import (
	"maps"
	"reflect"
	"slices"
)

// Changes names what differs between two images: what was created, changed or removed. Lists are sorted.
// Producer ids are left out, since only their owner needs to know.
type Changes struct {
	Cluster     bool // the cluster got its id
	Topics      []string
	Modules     []string
	Pipelines   []string // names of their topics
	Views       []string
	Derivations []string
}

// Empty reports whether nothing differs.
func (c Changes) Empty() bool {
	return !c.Cluster && len(c.Topics)+len(c.Modules)+len(c.Pipelines)+len(c.Views)+len(c.Derivations) == 0
}

// Diff compares two images with any number of commands between them, in either order. What was removed
// and created again under its name is one name: compare ids or versions to detect it.
//
// Entries of an image never change and are shared by the images after it, so they are compared by
// pointer. A table that no command has changed is the same map, and its entries are not compared: two
// images that differ only in producer ids cost a few pointer comparisons. An image that was restored
// from a snapshot shares no entries with others, so it differs in everything.
func Diff(old, now *Image) Changes {
	return Changes{
		Cluster:     old.clusterID != now.clusterID,
		Topics:      differing(old.topics, now.topics, same),
		Modules:     differing(old.modules, now.modules, slices.Equal),
		Pipelines:   differing(old.pipelines, now.pipelines, same),
		Views:       differing(old.views, now.views, same),
		Derivations: differing(old.derivations, now.derivations, same),
	}
}

func same[V any](a, b *V) bool { return a == b }

// differing lists the keys whose entries are not equal in both maps.
func differing[V any](old, now map[string]V, equal func(a, b V) bool) []string {
	if reflect.ValueOf(old).Pointer() == reflect.ValueOf(now).Pointer() {
		return nil
	}
	names := map[string]bool{}
	for name, a := range old {
		if b, ok := now[name]; !ok || !equal(a, b) {
			names[name] = true
		}
	}
	for name := range now {
		if _, ok := old[name]; !ok {
			names[name] = true
		}
	}
	if len(names) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(names))
}
