// Package sdk carries the guest SDKs and the project templates inside the wasmill binary,
// writes new projects from them, and builds guests that are written in Go.
package sdk

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"text/template"
)

// Files are the guest SDKs (go, c, rust, assemblyscript) and the templates of new projects.
// Files that end in .tmpl are text/template sources.
//
//go:embed go/*.go go/wasmilltest/*.go go/jsonscan/*.go
//go:embed c/wasmill.h
//go:embed rust/src/lib.rs
//go:embed assemblyscript/wasmill.ts
//go:embed all:templates
var Files embed.FS

var (
	// ErrLanguage means that there is no SDK for the language; Languages lists those there are.
	ErrLanguage = errors.New("no SDK for this language")
	// ErrName means that the name of a project is not one that a module can have.
	ErrName = errors.New("not a name for a module")
	// ErrNotEmpty means that the directory of a new project has files in it.
	ErrNotEmpty = errors.New("the directory is not empty")
)

// language says what a project is made of besides its templates.
type language struct {
	template string            // directory below templates
	sdk      map[string]string // files or directories of Files, and where they go in the project
}

var languages = map[string]language{
	"go":   {"go", map[string]string{"go": "wasmill-sdk", "go/wasmilltest": "wasmill-sdk/wasmilltest", "go/jsonscan": "wasmill-sdk/jsonscan"}},
	"c":    {"c", map[string]string{"c/wasmill.h": "wasmill.h"}},
	"rust": {"rust", map[string]string{"rust/src/lib.rs": "wasmill-sdk/src/lib.rs"}},
	"ts":   {"ts", map[string]string{"assemblyscript/wasmill.ts": "assembly/wasmill.ts"}},
}

// Languages lists the languages that NewProject knows.
func Languages() []string {
	names := make([]string, 0, len(languages))
	for name := range languages {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

var projectName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

// NewProject writes a complete project for a transform called name into dir, which is
// created, or must be empty: sources with a test, the SDK, a Makefile and a README. It
// builds as it stands, without a network once the language's toolchain is there. What was
// written is left in place when a later file fails.
func NewProject(dir, name, lang string) error {
	l, ok := languages[lang]
	if !ok {
		return fmt.Errorf("new project %s: %q: %w; choose one of %s", name, lang, ErrLanguage, strings.Join(Languages(), ", "))
	}
	if !projectName.MatchString(name) {
		return fmt.Errorf("new project %q: %w: use lower-case letters, digits and dashes, a letter first, at most 64", name, ErrName)
	}
	if err := makeEmpty(dir); err != nil {
		return fmt.Errorf("new project %s: %w", name, err)
	}
	if err := writeTemplates(dir, l, name); err != nil {
		return fmt.Errorf("new project %s: %w", name, err)
	}
	for from, to := range l.sdk {
		if err := copySDK(from, filepath.Join(dir, filepath.FromSlash(to))); err != nil {
			return fmt.Errorf("new project %s: %w", name, err)
		}
	}
	return nil
}

// makeEmpty creates dir unless it is there and empty.
func makeEmpty(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s: %w: choose another one", dir, ErrNotEmpty)
	}
	return nil
}

// writeTemplates fills in the templates of a language. A leading "dot-" of a file's name
// is written as a dot.
func writeTemplates(dir string, l language, name string) error {
	root := path.Join("templates", l.template)
	return fs.WalkDir(Files, root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := Files.ReadFile(file)
		if err != nil {
			return err
		}
		filled, err := fill(file, string(text), name)
		if err != nil {
			return err
		}
		to := strings.TrimSuffix(strings.TrimPrefix(file, root+"/"), ".tmpl")
		if base, ok := strings.CutPrefix(path.Base(to), "dot-"); ok {
			to = path.Join(path.Dir(to), "."+base)
		}
		return write(filepath.Join(dir, filepath.FromSlash(to)), filled)
	})
}

func fill(file, text, name string) ([]byte, error) {
	t, err := template.New(path.Base(file)).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", file, err)
	}
	var filled bytes.Buffer
	err = t.Execute(&filled, map[string]string{"Name": name, "Ident": strings.ReplaceAll(name, "-", "_")})
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", file, err)
	}
	return filled.Bytes(), nil
}

// copySDK copies a file of the SDK, or the files that stand in a directory of it, tests
// excepted: they need the rest of this repository.
func copySDK(from, to string) error {
	info, err := fs.Stat(Files, from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		text, err := Files.ReadFile(from)
		if err != nil {
			return err
		}
		return write(to, text)
	}
	entries, err := Files.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		if err := copySDK(path.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func write(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
