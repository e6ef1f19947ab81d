package metadata

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Image is one state of the cluster's metadata. It never changes, so it needs no lock; what its
// methods point to belongs to it and must not be modified. Lists are sorted by name.
type Image struct {
	version     uint64 // counts the commands that changed something
	clusterID   string
	nextTopic   TopicID
	nextDerived uint64
	nextPID     int64
	topics      map[string]*Topic
	topicsByID  map[TopicID]*Topic
	modules     map[string][]*Module // ascending versions; never an empty list
	pipelines   map[string]*Pipeline // by topic
	views       map[string]*View
	derivations map[string]*Derivation
	// counters remember the last version of every module, pipeline, view and derivation name, also of
	// removed ones, so that a name and a version are never used again. Keys: see counterKey.
	counters map[string]uint64
}

// NewImage is the state before the first command.
func NewImage() *Image {
	return &Image{
		nextTopic:   1,
		nextDerived: 1,
		topics:      map[string]*Topic{},
		topicsByID:  map[TopicID]*Topic{},
		modules:     map[string][]*Module{},
		pipelines:   map[string]*Pipeline{},
		views:       map[string]*View{},
		derivations: map[string]*Derivation{},
		counters:    map[string]uint64{},
	}
}

// Version counts the commands that changed something: a later state has a higher one.
func (i *Image) Version() uint64 { return i.version }

// ClusterID is empty until SetClusterInfo was applied.
func (i *Image) ClusterID() string { return i.clusterID }

// Topic is the topic of this name, or nil.
func (i *Image) Topic(name string) *Topic { return i.topics[name] }

// TopicByID is the topic with this id, or nil.
func (i *Image) TopicByID(id TopicID) *Topic { return i.topicsByID[id] }

// Knew reports whether a topic with this id was ever created.
func (i *Image) Knew(id TopicID) bool { return id < i.nextTopic }

// Topics is every topic.
func (i *Image) Topics() []*Topic { return sorted(i.topics) }

// Module is a version of a module, or nil. Version 0 means the newest.
func (i *Image) Module(name string, version int) *Module {
	versions := i.modules[name]
	if len(versions) == 0 {
		return nil
	}
	if version == 0 {
		return versions[len(versions)-1]
	}
	at, found := slices.BinarySearchFunc(versions, version, func(m *Module, v int) int { return cmp.Compare(m.Version, v) })
	if !found {
		return nil
	}
	return versions[at]
}

// Modules is the newest version of every module.
func (i *Image) Modules() []*Module {
	var newest []*Module
	for _, versions := range sorted(i.modules) {
		newest = append(newest, versions[len(versions)-1])
	}
	return newest
}

// ModuleVersions is every version of a module, oldest first; empty when there is no such module.
func (i *Image) ModuleVersions(name string) []*Module { return slices.Clone(i.modules[name]) }

// HasHash reports whether any module version has these bytes (lower-case hex of their SHA-256).
func (i *Image) HasHash(sha256 string) bool {
	for _, versions := range i.modules {
		if slices.ContainsFunc(versions, func(m *Module) bool { return m.SHA256 == sha256 }) {
			return true
		}
	}
	return false
}

// Pipeline is a topic's write pipeline, or nil.
func (i *Image) Pipeline(topic string) *Pipeline { return i.pipelines[topic] }

// Pipelines is every write pipeline.
func (i *Image) Pipelines() []*Pipeline { return sorted(i.pipelines) }

// View is the view of this name, or nil.
func (i *Image) View(name string) *View { return i.views[name] }

// Views is every view.
func (i *Image) Views() []*View { return sorted(i.views) }

// Derivation is the derivation of this name, or nil.
func (i *Image) Derivation(name string) *Derivation { return i.derivations[name] }

// Derivations is every derivation.
func (i *Image) Derivations() []*Derivation { return sorted(i.derivations) }

// user is something with stages: a pipeline, a view or a derivation.
type user struct {
	label  string // such as "view orders-clean"
	stages []Stage
	topics []string // that it reads from or writes to, dead letters included
}

// users lists everything that has stages, in an order that depends on names alone.
func (i *Image) users() []user {
	var all []user
	add := func(label string, stages []Stage, topics ...string) {
		for _, s := range stages {
			if s.DeadLetterTopic != "" {
				topics = append(topics, s.DeadLetterTopic)
			}
		}
		all = append(all, user{label, stages, topics})
	}
	for _, p := range i.Pipelines() {
		add("pipeline of topic "+p.Topic, p.Stages, p.Topic)
	}
	for _, v := range i.Views() {
		add("view "+v.Name, v.Stages, v.Topic)
	}
	for _, d := range i.Derivations() {
		add("derivation "+d.Name, d.Stages, d.Topic, d.Output)
	}
	return all
}

// moduleUsers names what uses a version of a module; version 0 stands for all of them.
func (i *Image) moduleUsers(name string, version int) []string {
	var names []string
	for _, u := range i.users() {
		if slices.ContainsFunc(u.stages, func(s Stage) bool { return s.Module == name && (version == 0 || s.Version == version) }) {
			names = append(names, u.label)
		}
	}
	return names
}

// topicUsers names what depends on a topic. Its own pipeline does not count, as it is removed with it.
func (i *Image) topicUsers(topic string) []string {
	var names []string
	for _, u := range i.users() {
		if u.label != "pipeline of topic "+topic && slices.Contains(u.topics, topic) {
			names = append(names, u.label)
		}
	}
	return names
}

// The kinds of things whose versions are counted.
const (
	countModule     = "module"
	countPipeline   = "pipeline"
	countView       = "view"
	countDerivation = "derivation"
)

func counterKey(kind, name string) string { return kind + "/" + name }

// count takes the next version of a name.
func (i *Image) count(kind, name string) uint64 {
	key := counterKey(kind, name)
	next := i.counters[key] + 1
	i.counters = with(i.counters, key, next)
	return next
}

// sorted lists a table's values in the order of their names.
func sorted[V any](m map[string]V) []V {
	list := make([]V, 0, len(m))
	for _, name := range slices.SortedFunc(maps.Keys(m), strings.Compare) {
		list = append(list, m[name])
	}
	return list
}

// with copies a table and sets one entry. Images share the tables that a command does not change.
func with[K comparable, V any](m map[K]V, key K, value V) map[K]V {
	c := maps.Clone(m)
	c[key] = value
	return c
}

// without copies a table without one entry.
func without[K comparable, V any](m map[K]V, key K) map[K]V {
	c := maps.Clone(m)
	delete(c, key)
	return c
}
