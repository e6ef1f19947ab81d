// Build compiles the ready-made plugins to WebAssembly. It is run from the top of the
// repository:
//
//	go run ./plugins/build [-o bin/plugins] [name ...]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/wasmill/wasmill/sdk"
)

func main() {
	out := flag.String("o", filepath.Join("bin", "plugins"), "directory to write the modules to")
	from := flag.String("from", "plugins", "directory of the plugins' sources")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := build(ctx, *from, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "build plugins:", err)
		os.Exit(1)
	}
}

// build compiles the named plugins, or all of them: the directories that register a transform.
func build(ctx context.Context, from, out string, names []string) error {
	if len(names) == 0 {
		all, err := plugins(from)
		if err != nil {
			return err
		}
		names = all
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		file := filepath.Join(out, name+".wasm")
		if err := sdk.BuildGo(ctx, filepath.Join(from, name), file); err != nil {
			return err
		}
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		fmt.Printf("%s  %.1f MB\n", file, float64(info.Size())/1e6)
	}
	return nil
}

// plugins lists the directories with a plugin: those with a main.go, this tool excepted.
func plugins(from string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(from, "*", "main.go"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range files {
		if name := filepath.Base(filepath.Dir(file)); name != "build" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no plugins in %s; run from the top of the repository", from)
	}
	return names, nil
}
