package sdk_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/sdk"
)

func newProject(t *testing.T, lang string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "my-transform")
	if err := sdk.NewProject(dir, "my-transform", lang); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEveryProjectIsComplete(t *testing.T) {
	files := map[string][]string{
		"go":   {"go.mod", "main.go", "main_test.go", "wasmill-sdk/go.mod", "wasmill-sdk/wasmill.go", "wasmill-sdk/wasmilltest/wasmilltest.go", "wasmill-sdk/jsonscan/scan.go"},
		"c":    {"transform.c", "wasmill.h"},
		"rust": {"Cargo.toml", "src/lib.rs", "wasmill-sdk/Cargo.toml", "wasmill-sdk/src/lib.rs"},
		"ts":   {"package.json", "assembly/index.ts", "assembly/tsconfig.json", "assembly/wasmill.ts"},
	}
	if len(files) != len(sdk.Languages()) {
		t.Fatalf("languages %v", sdk.Languages())
	}
	for lang, want := range files {
		t.Run(lang, func(t *testing.T) {
			dir := newProject(t, lang)
			for _, name := range append(want, "Makefile", "README.md", ".gitignore") {
				text, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil || len(text) == 0 {
					t.Errorf("%s: %d bytes, %v", name, len(text), err)
				}
			}
			noneLeft(t, dir)
		})
	}
}

// noneLeft looks for marks of the template language, and for files that only this
// repository can use.
func noneLeft(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(file)
		if strings.Contains(string(text), "{{") || strings.HasSuffix(file, ".tmpl") {
			t.Errorf("%s is not filled in", file)
		}
		if strings.Contains(file, "wasmill-sdk") && strings.HasSuffix(file, "_test.go") {
			t.Errorf("%s needs the rest of the repository", file)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTheGuidesExampleWorks runs the Go example of docs/plugins.md with its test.
func TestTheGuidesExampleWorks(t *testing.T) {
	guide, err := os.ReadFile("../docs/plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(guide, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d Go examples in docs/plugins.md, want a transform and its test", len(blocks))
	}
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOWORK", "off")
	dir := newProject(t, "go")
	const sdkImport = "wasmill \"github.com/wasmill/wasmill/sdk/go\"\n"
	for name, text := range map[string]string{
		"main.go":      "package main\nimport (\n\"bytes\"\n" + sdkImport + ")\n" + string(blocks[0][1]),
		"main_test.go": "package main\nimport (\n\"testing\"\n\"github.com/wasmill/wasmill/sdk/go/wasmilltest\"\n)\n" + string(blocks[1][1]),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	test := exec.Command("go", "test", ".")
	test.Dir = dir
	if said, err := test.CombinedOutput(); err != nil {
		t.Errorf("go test: %v\n%s", err, said)
	}
}

func TestRefusedProjects(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir, name, lang string
		want            error
	}{
		{t.TempDir(), "ok", "cobol", sdk.ErrLanguage},
		{t.TempDir(), "", "go", sdk.ErrName},
		{t.TempDir(), "../up", "go", sdk.ErrName},
		{t.TempDir(), "Upper", "go", sdk.ErrName},
		{t.TempDir(), "a\nb", "go", sdk.ErrName},
		{full, "ok", "go", sdk.ErrNotEmpty},
		{filepath.Join(full, "mine"), "ok", "go", nil},
	} {
		err := sdk.NewProject(c.dir, c.name, c.lang)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%q in %s: %v, want %v", c.name, c.lang, err, c.want)
		}
	}
	if entries, _ := os.ReadDir(full); len(entries) != 1 {
		t.Errorf("a refused project left %d files", len(entries))
	}
}

func TestBuildGoSaysWhatTheCompilerSaid(t *testing.T) {
	dir := newProject(t, "go")
	if err := os.WriteFile(filepath.Join(dir, "broken.go"), []byte("package main\nvar x int = \"s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := sdk.BuildGo(context.Background(), dir, filepath.Join(t.TempDir(), "x.wasm"))
	if err == nil || !strings.Contains(err.Error(), "broken.go:2") {
		t.Errorf("error %v", err)
	}
}
