package apitest

import (
	"maps"
	"slices"

	"github.com/wasmill/wasmill/core/errcode"
)

// registry keeps named things that have versions: pipelines, views or derivations. Versions count on
// when a name is deleted and used again.
type registry[T any] struct {
	entries map[string]*entry[T]
	counts  map[string]uint64
}

type entry[T any] struct {
	version uint64
	meaning string // two entries that mean the same are of one version
	value   *T
}

func newRegistry[T any]() registry[T] {
	return registry[T]{map[string]*entry[T]{}, map[string]uint64{}}
}

func (r *registry[T]) get(name string) *T {
	if e := r.entries[name]; e != nil {
		return e.value
	}
	return nil
}

// all is sorted by name.
func (r *registry[T]) all() []T {
	var out []T
	for _, name := range slices.Sorted(maps.Keys(r.entries)) {
		out = append(out, *r.entries[name].value)
	}
	return out
}

func (r *registry[T]) check(name string, expected *uint64) error {
	var version uint64
	if e := r.entries[name]; e != nil {
		version = e.version
	}
	if expected != nil && *expected != version {
		return errcode.New(errcode.VersionConflict, "%s has version %d, not %d", name, version, *expected).With("version", version)
	}
	return nil
}

func (r *registry[T]) put(name string, expected *uint64, meaning string, build func(version uint64) *T) (v *T, created bool, err error) {
	if err := r.check(name, expected); err != nil {
		return nil, false, err
	}
	old := r.entries[name]
	if old != nil && old.meaning == meaning {
		return old.value, false, nil
	}
	r.counts[name]++
	e := &entry[T]{r.counts[name], meaning, build(r.counts[name])}
	r.entries[name] = e
	return e.value, old == nil, nil
}

// remove fails with code when there is nothing of the name.
func (r *registry[T]) remove(name string, expected *uint64, code errcode.Code) error {
	if err := r.check(name, expected); err != nil {
		return err
	}
	if r.entries[name] == nil {
		return errcode.New(code, "there is no %s", name)
	}
	delete(r.entries, name)
	return nil
}
