// Package tests checks the repository as a whole: which package may import which, and the rules of
// style that a machine can see. Tests of the running broker are in the folders below.
package tests

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// leaves know nothing of the rest.
var leaves = []string{"core/errcode", "core/record", "raftstore/vfs"}

// layers says what each package may import of this module, from the bottom up. An entry covers
// the packages below it too, and the longest entry that fits counts; a package may always import what
// is below itself.
var layers = map[string][]string{
	"core/errcode":    nil,
	"core/admission":  {"core/errcode"},
	"raftstore/vfs":   nil,
	"core/record":     {"core/errcode"},
	"core/api":        {"core/errcode"},
	"core/recordjson": {"core/errcode", "core/record"},
	"core/datadir":    {"raftstore/vfs"},

	// The stores do not know each other; the group sees them through Raft's interfaces alone.
	"raftstore":           nil,
	"raftstore/log":       leaves,
	"raftstore/internal":  {"raftstore/vfs"},
	"raftstore/boltlog":   {"raftstore/vfs", "raftstore/internal"},
	"raftstore/stable":    {"raftstore/vfs", "raftstore/internal"},
	"raftstore/snapshot":  {"raftstore/vfs"},
	"raftstore/transport": nil,
	"raftstore/group":     nil,

	"wasm/abi":      leaves,
	"wasm/module":   with(leaves, "wasm/abi"),
	"wasm/engine":   with(leaves, "wasm/abi", "wasm/module"),
	"wasm/store":    {"raftstore/vfs"},
	"wasm/pipeline": with(leaves, "wasm/abi", "wasm/module", "wasm/engine"),
	"wasm/wasmtest": with(leaves, "wasm/abi"),

	"core/metadata":   {"core/errcode", "wasm/abi"}, // the rules for stages and names
	"core/replica":    with(leaves, "raftstore"),
	"core/controller": with(leaves, "raftstore", "core/metadata", "core/replica"),
	"core/partition":  with(leaves, "core/admission", "raftstore", "core/replica"),
	"core/transform":  with(leaves, "wasm", "core/metadata"),
	"core/derive":     with(leaves, "wasm", "core/metadata", "core/partition", "core/transform"),
	"core/broker":     with(leaves, "core/admission", "core/api", "raftstore", "wasm", "core/datadir", "core/metadata", "core/controller", "core/partition", "core/transform", "core/derive"),
	"core/httpapi":    with(leaves, "core/admission", "core/api", "core/recordjson", "core/broker"),
	"core/telemetry":  with(leaves, "core/admission", "core/api", "raftstore", "wasm", "core/datadir", "core/metadata", "core/controller", "core/partition", "core/transform", "core/derive", "core/broker", "core/httpapi"),

	// What others build on must not drag the broker in.
	"sdk":             nil,
	"sdk/go":          nil,
	"sdk/conformance": {"core/record", "wasm"},
	"sdk/client/go":   {"core/api", "core/errcode", "core/record"},
	"sdk/spec":        {"wasm/abi"},
	"plugins":         {"sdk/go"},
	"plugins/build":   {"sdk"},

	// What the command line, the benchmarks and the tests share stays small.
	"benchmarks/load":     {"core/record", "sdk/client/go"},
	"benchmarks/rawlimit": nil,
	"tests/launch":        {"sdk/client/go"},

	"cmd":        {"core", "raftstore", "wasm", "sdk", "benchmarks/load", "benchmarks/rawlimit"}, // bench runs the workloads
	"benchmarks": {"core", "raftstore", "wasm", "sdk", "plugins", "tests/launch"},
	"tests":      {"core", "raftstore", "wasm", "sdk", "plugins", "cmd"},
}

// kits help tests; nothing that is shipped imports them.
var kits = []string{"core/httpapi/apitest", "core/record/recordtest", "core/replica/replicatest", "raftstore/vfs/vfstest", "sdk/conformance", "sdk/go/wasmilltest", "wasm/wasmtest"}

// inTests is what the tests of a layer may import besides what the layer itself can reach: guests are
// tried out in the engine that will run them, and groups run over the stores.
var inTests = map[string][]string{
	"sdk":             {"sdk", "wasm", "core/record"},
	"plugins":         {"sdk", "wasm", "core/record"},
	"raftstore/group": {"raftstore"},
	"sdk/client/go":   {"core/httpapi"},   // the examples' server
	"core/transform":  {"core/admission"}, // the memory that the broker gives it
}

func with(base []string, more ...string) []string { return append(slices.Clone(base), more...) }

// within reports whether pkg is root or below it.
func within(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }

func withinAny(pkg string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return within(pkg, root) })
}

// layerOf is the longest entry of the table that a package falls under.
func layerOf(table map[string][]string, pkg string) (string, bool) {
	best, found := "", false
	for root := range table {
		if within(pkg, root) && len(root) >= len(best) {
			best, found = root, true
		}
	}
	return best, found
}

// reachable is everything that a layer may import, directly or through what it imports: tests may use
// all of it.
func reachable(table map[string][]string, layer string) []string {
	reached := []string{layer}
	for n := 0; n < len(reached); n++ {
		own, _ := layerOf(table, reached[n])
		for root, allowed := range table {
			if root != own && !within(root, reached[n]) {
				continue
			}
			for _, a := range allowed {
				if !slices.Contains(reached, a) {
					reached = append(reached, a)
				}
			}
		}
	}
	return reached
}

// importFaults lists the imports that go the wrong way.
func importFaults(table map[string][]string, sources []source) []string {
	var faults []string
	for _, s := range sources {
		layer, known := layerOf(table, s.dir())
		if !known {
			faults = append(faults, fmt.Sprintf("%s: package %s is in no layer: put it into the table of tests/imports_test.go", s.path, s.dir()))
			continue
		}
		allowed := with(table[layer], layer)
		if s.isTest() || withinAny(s.dir(), kits) {
			allowed = with(reachable(table, layer), kits...)
			if root, ok := layerOf(inTests, s.dir()); ok {
				allowed = with(allowed, inTests[root]...)
			}
		}
		for _, spec := range s.file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil || !within(imported, module) {
				continue
			}
			pkg := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
			shipped := !s.isTest() && !withinAny(s.dir(), kits) && !within(s.dir(), "tests")
			switch {
			case shipped && withinAny(pkg, kits):
				faults = append(faults, fmt.Sprintf("%s:%d: %s is for tests alone", s.path, s.line(spec.Pos()), pkg))
			case !withinAny(pkg, allowed):
				faults = append(faults, fmt.Sprintf("%s:%d: %s must not import %s", s.path, s.line(spec.Pos()), layer, pkg))
			}
		}
	}
	return faults
}

// layerFaults lists entries of the table that allow each other: then there is no direction.
func layerFaults(table map[string][]string) []string {
	var faults []string
	for layer, allowed := range table {
		for _, a := range allowed {
			if below, ok := layerOf(table, a); ok && below != layer && slices.Contains(reachable(table, below), layer) {
				faults = append(faults, fmt.Sprintf("%s and %s may import each other", layer, a))
			}
		}
	}
	return faults
}

func TestImportsPointOneWay(t *testing.T) {
	for _, fault := range importFaults(layers, tree(t)) {
		t.Error(fault)
	}
	for _, fault := range layerFaults(layers) {
		t.Error(fault)
	}
}

func TestWrongImportsAreFound(t *testing.T) {
	file := func(pkg string, imports ...string) string {
		text := "package " + pkg + "\n"
		for _, i := range imports {
			text += "import _ \"" + module + "/" + i + "\"\n"
		}
		return text
	}
	faults := importFaults(layers, example(t, map[string]string{
		"core/record/good.go":        file("record", "core/errcode"),
		"core/record/bad.go":         file("record", "raftstore"),
		"core/partition/bad.go":      file("partition", "core/broker"),
		"core/partition/bad_test.go": file("partition", "core/httpapi"),
		"core/broker/good_test.go":   file("broker", "wasm/abi", "raftstore/vfs/vfstest"),
		"core/broker/kit.go":         file("broker", "raftstore/vfs/vfstest"),
		"plugins/x/bad.go":           file("main", "core/errcode"),
		"sdk/client/go/bad.go":       file("client", "core/broker"),
		"sdk/client/go/worse.go":     file("client", "core/metadata"),
		"core/httpapi/bad.go":        file("httpapi", "core/metadata"),
		"core/httpapi/good.go":       file("httpapi", "core/api", "core/recordjson"),
		"core/new/unknown.go":        file("new"),
		"tests/demo/main.go":         file("main", "core/httpapi", "cmd/wasmill"),
	}))
	expectFaults(t, faults,
		"core/record/bad.go:2: core/record must not import raftstore",
		"core/partition/bad.go:2: core/partition must not import core/broker",
		"core/partition/bad_test.go:2: core/partition must not import core/httpapi",
		"core/broker/kit.go:2: raftstore/vfs/vfstest is for tests alone",
		"plugins/x/bad.go:2: plugins must not import core/errcode",
		"sdk/client/go/bad.go:2: sdk/client/go must not import core/broker",
		"sdk/client/go/worse.go:2: sdk/client/go must not import core/metadata",
		"core/httpapi/bad.go:2: core/httpapi must not import core/metadata",
		"core/new/unknown.go: package core/new is in no layer",
	)
	if got := layerFaults(map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"a"}}); len(got) != 3 {
		t.Errorf("a ring of layers has faults %q", got)
	}
}
