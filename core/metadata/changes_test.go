package metadata

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// contents is an image's entries as text, by kind and name.
func contents(t *rapid.T, image *Image) map[string]map[string]string {
	text := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	all := map[string]map[string]string{"topics": {}, "modules": {}, "pipelines": {}, "views": {}, "derivations": {}}
	for name, v := range image.topics {
		all["topics"][name] = text(v)
	}
	for name, v := range image.modules {
		all["modules"][name] = text(v)
	}
	for name, v := range image.pipelines {
		all["pipelines"][name] = text(v)
	}
	for name, v := range image.views {
		all["views"][name] = text(v)
	}
	for name, v := range image.derivations {
		all["derivations"][name] = text(v)
	}
	return all
}

// differingTexts is Diff without any use of pointers.
func differingTexts(old, now map[string]string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if text, ok := now[name]; !ok || text != old[name] {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if _, ok := old[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestDiffNamesWhatChanged compares images any number of commands apart, by pointers and by contents.
func TestDiffNamesWhatChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := drawEntries(t)
		from := rapid.IntRange(0, len(entries)).Draw(t, "from")
		image := NewImage()
		old := image
		for n, e := range entries {
			if n == from {
				old = image
			}
			next, _, err := Apply(image, e)
			if err == nil {
				image = next
			}
		}
		before, after := contents(t, old), contents(t, image)
		want := Changes{
			Cluster:     old.clusterID != image.clusterID,
			Topics:      differingTexts(before["topics"], after["topics"]),
			Modules:     differingTexts(before["modules"], after["modules"]),
			Pipelines:   differingTexts(before["pipelines"], after["pipelines"]),
			Views:       differingTexts(before["views"], after["views"]),
			Derivations: differingTexts(before["derivations"], after["derivations"]),
		}
		got := Diff(old, image)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("Diff is %+v, the contents differ in %+v", got, want)
		}
		if got.Empty() != reflect.DeepEqual(want, Changes{}) {
			t.Fatalf("Empty is %v for %+v", got.Empty(), got)
		}
	})
}

func TestDiffIgnoresProducerIDs(t *testing.T) {
	before := world(t)
	after, result, err := Apply(before, Entry{At: noon, Command: AllocateProducerIDs{Count: 1000}})
	if err != nil || !result.Changed {
		t.Fatal(result, err)
	}
	if changes := Diff(before, after); !changes.Empty() {
		t.Errorf("a block of producer ids shows as %+v", changes)
	}
	restored, err := DecodeImage(encode(t, before))
	if err != nil {
		t.Fatal(err)
	}
	if changes := Diff(before, restored); len(changes.Topics) != len(before.Topics()) {
		t.Errorf("a restored image shows as %+v", changes)
	}
}

func BenchmarkDiff(b *testing.B) {
	image := NewImage()
	for n := range 1000 {
		next, _, err := Apply(image, Entry{At: noon, Command: CreateTopic{Name: "t" + string(rune('a'+n%26)) + string(rune('a'+n/26%26)) + string(rune('a'+n/676))}})
		if err != nil {
			b.Fatal(err)
		}
		image = next
	}
	ids, _, err := Apply(image, Entry{At: noon, Command: AllocateProducerIDs{Count: 1}})
	if err != nil {
		b.Fatal(err)
	}
	topic, _, err := Apply(image, Entry{At: noon, Command: CreateTopic{Name: "one-more"}})
	if err != nil {
		b.Fatal(err)
	}
	for name, now := range map[string]*Image{"producer-ids": ids, "topic": topic} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Diff(image, now)
			}
		})
	}
}
