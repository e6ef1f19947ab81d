package tests

import (
	"bytes"
	"fmt"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Sizes up to which a file and a function can be read at once. Tests are read from top to bottom, and may be longer.
const (
	maxFileLines     = 420
	maxFunctionLines = 65

	maxTestFileLines     = 600
	maxTestFunctionLines = 90

	maxParameters = 5 // beyond it a function takes a struct
)

// manyParameters are the functions that have more parameters. The list may only get shorter.
var manyParameters = []string{
	"raftstore/snapshot/sink.go Create", // an interface of Raft's
	"wasm/abi/decode.go Decode",         // called for every batch: a struct for it would be made each time
}

// emptyNames say nothing about what a package is for.
var emptyNames = []string{"util", "utils", "common", "types", "helper", "helpers", "misc", "shared", "base", "lib"}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// styleFaults lists what breaks the rules that every file must keep.
func styleFaults(sources []source) []string {
	var faults []string
	for _, s := range sources {
		fault := func(line int, format string, args ...any) {
			faults = append(faults, fmt.Sprintf("%s:%d: ", s.path, line)+fmt.Sprintf(format, args...))
		}
		if !generated.Match(s.text) {
			sizeFaults(s, fault)
		}
		if name := strings.TrimSuffix(s.file.Name.Name, "_test"); slices.Contains(emptyNames, name) {
			fault(1, "package name %s says nothing: name what the package does", name)
		}
		logFaults(s, fault)
		if s.isTest() {
			sleepFaults(s, fault)
		} else if !within(s.dir(), "tests") {
			parameterFaults(s, fault)
		}
	}
	return append(faults, commentFaults(sources)...)
}

// parameterFaults finds functions that take too many values.
func parameterFaults(s source, fault func(line int, format string, args ...any)) {
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || slices.Contains(manyParameters, s.path+" "+f.Name.Name) {
			continue
		}
		if n := f.Type.Params.NumFields(); n > maxParameters {
			fault(s.line(f.Pos()), "function %s has %d parameters, the most is %d: give it a struct", f.Name.Name, n, maxParameters)
		}
	}
}

// logMethods are slog's, which take keys and values in turn.
var logMethods = []string{"Debug", "Info", "Warn", "Error", "Log", "With", "DebugContext", "InfoContext", "WarnContext", "ErrorContext"}

// logFaults finds log keys that have another name everywhere else.
func logFaults(s source, fault func(line int, format string, args ...any)) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if method, ok := call.Fun.(*ast.SelectorExpr); !ok || !slices.Contains(logMethods, method.Sel.Name) {
			return true
		}
		for _, arg := range call.Args {
			if key, ok := arg.(*ast.BasicLit); ok && key.Value == `"err"` {
				fault(s.line(key.Pos()), "the log key of an error is error, not err")
			}
		}
		return true
	})
}

// sizeFaults finds files and functions that do not fit.
func sizeFaults(s source, fault func(line int, format string, args ...any)) {
	fileLines, functionLines := maxFileLines, maxFunctionLines
	if s.isTest() {
		fileLines, functionLines = maxTestFileLines, maxTestFunctionLines
	}
	if n := bytes.Count(s.text, []byte("\n")); n > fileLines {
		fault(fileLines, "the file has %d lines, the most is %d: split it", n, fileLines)
	}
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > functionLines {
			fault(s.line(f.Pos()), "function %s has %d lines, the most is %d: split it", f.Name.Name, n, functionLines)
		}
	}
}

// sleepFaults finds time.Sleep: it makes a test slow, or flaky, or both. Inside a testing/synctest
// bubble time is not real; there it is allowed.
func sleepFaults(s source, fault func(line int, format string, args ...any)) {
	for _, spec := range s.file.Imports {
		if spec.Path.Value == `"testing/synctest"` {
			return
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := call.X.(*ast.Ident); ok && x.Name == "time" && call.Sel.Name == "Sleep" {
			fault(s.line(call.Pos()), "time.Sleep in a test: wait for a channel or a condition, or use testing/synctest")
		}
		return true
	})
}

// commentFaults finds packages that do not say what they are for. Folders with tests alone need not.
func commentFaults(sources []source) []string {
	said := map[string]bool{}
	for _, s := range sources {
		if s.isTest() {
			continue
		}
		tagged := bytes.HasPrefix(s.text, []byte("//go:build ignore"))
		said[s.dir()] = said[s.dir()] || tagged || s.file.Doc != nil && len(s.file.Doc.Text()) > 0
	}
	var faults []string
	for _, dir := range slices.Sorted(maps.Keys(said)) {
		if !said[dir] {
			faults = append(faults, dir+": the package has no comment that says what it is for")
		}
	}
	return faults
}

func TestStyle(t *testing.T) {
	for _, fault := range styleFaults(tree(t)) {
		t.Error(fault)
	}
}

// An exception that is not needed any more must not wait for a new fault.
func TestExceptionsAreNeeded(t *testing.T) {
	unused := slices.Clone(manyParameters)
	for _, s := range tree(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Type.Params.NumFields() > maxParameters {
				unused = slices.DeleteFunc(unused, func(e string) bool { return e == s.path+" "+f.Name.Name })
			}
		}
	}
	if len(unused) > 0 {
		t.Errorf("exceptions of tests/style_test.go that nothing needs: %q", unused)
	}
}

func TestBadStyleIsFound(t *testing.T) {
	const doc = "// Package x does.\npackage x\n"
	faults := styleFaults(example(t, map[string]string{
		"good/a.go":           doc + "func f() {" + strings.Repeat("\n", maxFunctionLines-1) + "}\n",
		"good/a_test.go":      "package x\nimport \"time\"\nvar d = time.Second\n",
		"tested/sync_test.go": "package x\nimport (\n\"time\"\n\"testing/synctest\"\n)\nfunc f() { synctest.Wait(); time.Sleep(1) }\n",
		"good/gen.go":         "// Code generated by hand. DO NOT EDIT.\n\n" + doc + strings.Repeat("\n", maxFileLines),
		"long/file.go":        doc + strings.Repeat("\n", maxFileLines),
		"long/func.go":        doc + "func f() {" + strings.Repeat("\n", maxFunctionLines) + "}\n",
		"long/a_test.go":      doc + "func f() {" + strings.Repeat("\n", maxTestFunctionLines) + "}\n",
		"good/b_test.go":      "package x\nfunc f(a, b, c, d, e, f int) {" + strings.Repeat("\n", maxTestFunctionLines-1) + "}\n",
		"wide/func.go":        doc + "func f(a, b, c int, d string, e, g int) {}\n",
		"good/wide.go":        doc + "func f(a, b, c int, d string, e int) {}\n",
		"log/a.go":            doc + "func f() { l.Warn(\"failed\", \"err\", 1); l.Warn(\"failed\", \"error\", 1); g(\"err\") }\n",
		"sleep/a_test.go":     doc + "import \"time\"\nfunc f() { time.Sleep(1) }\n",
		"name/a.go":           "// Package util does.\npackage util\n",
		"silent/a.go":         "package silent\n",
	}))
	expectFaults(t, faults,
		"long/file.go:420: the file has 422 lines",
		"long/func.go:3: function f has 66 lines",
		"long/a_test.go:3: function f has 91 lines",
		"wide/func.go:3: function f has 6 parameters",
		"log/a.go:3: the log key of an error",
		"sleep/a_test.go:4: time.Sleep",
		"name/a.go:1: package name util",
		"silent: the package has no comment",
	)
}
