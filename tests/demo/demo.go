package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/wasmill/wasmill/sdk"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/launch"
)

const (
	topic      = "packages"
	routed     = "packages-science"
	view       = "small-packages"
	section    = "science"
	smallBytes = 20_000
	partitions = 4
)

// modules are the transforms, by the directory of their source.
var modules = []string{"redact-email", "route-by-field", "filter-field"}

// demo is the state that the steps share.
type demo struct {
	dir    string
	binary string
	log    *os.File
	broker *launch.Broker

	mu       sync.Mutex // guards what producers report
	outcomes map[string]client.Report
	followed int // records that the live follower saw
}

func (d *demo) build(ctx context.Context) (err error) {
	if d.binary, err = launch.Build(ctx, d.dir); err != nil {
		return err
	}
	fmt.Println("   wasmill")
	for _, name := range modules {
		file := d.module(name)
		if err := sdk.BuildGo(ctx, filepath.Join("plugins", name), file); err != nil {
			return err
		}
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		fmt.Printf("   %s.wasm, %.1f MB of WebAssembly from Go\n", name, float64(info.Size())/1e6)
	}
	return nil
}

func (d *demo) module(name string) string { return filepath.Join(d.dir, name+".wasm") }

func (d *demo) start(ctx context.Context) (err error) {
	if d.log, err = os.Create(filepath.Join(d.dir, "broker.log")); err != nil {
		return err
	}
	return d.launch(ctx, "")
}

func (d *demo) launch(ctx context.Context, address string) (err error) {
	d.broker, err = launch.Start(ctx, launch.Options{
		Binary: d.binary, DataDir: filepath.Join(d.dir, "data"), Address: address, Log: d.log,
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, d.logTail())
	}
	fmt.Printf("   broker %d serves at %s\n", d.broker.Pid(), d.broker.URL)
	return nil
}

// logTail is what the broker said last, for when it does not come up.
func (d *demo) logTail() string {
	const most = 4 << 10
	end, err := d.log.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	b, err := io.ReadAll(io.NewSectionReader(d.log, max(0, end-most), most))
	if err != nil {
		return ""
	}
	return string(b)
}

// end stops the broker, whatever has happened before.
func (d *demo) end() error {
	var err error
	if d.broker != nil {
		err = d.broker.Stop()
	}
	if d.log != nil {
		_ = d.log.Close() // nothing was buffered
	}
	return err
}

func (d *demo) configure(ctx context.Context) error {
	c := d.broker.Client
	for name, n := range map[string]int32{topic: partitions, routed: 1} {
		if _, err := c.CreateTopic(ctx, client.TopicSpec{Name: name, Partitions: n}); err != nil {
			return err
		}
		fmt.Printf("   topic %s with %d partitions\n", name, n)
	}
	for _, name := range modules {
		wasm, err := os.ReadFile(d.module(name))
		if err != nil {
			return err
		}
		m, err := c.PutModule(ctx, name, wasm)
		if err != nil {
			return err
		}
		fmt.Printf("   module %s@%d, sha256 %.12s...\n", m.Name, m.Version, m.SHA256)
	}
	p, err := c.SetPipeline(ctx, topic, []client.Stage{
		{Module: modules[0], Config: config(`{"fields": ["maintainer", "description", "homepage"]}`)},
		{Module: modules[1], Config: config(`{"field": "section", "routes": {%q: %q}}`, section, routed)},
	})
	if err != nil {
		return err
	}
	fmt.Printf("   write pipeline of %s, version %d: redact e-mail addresses, then route section %q to %s\n", topic, p.Version, section, routed)
	_, err = c.PutView(ctx, view, topic, []client.Stage{
		{Module: modules[2], Config: config(`{"field": "size", "max": %d}`, smallBytes)},
	})
	fmt.Printf("   view %s: packages of at most %d bytes\n", view, smallBytes)
	return err
}

func config(format string, args ...any) json.RawMessage { return fmt.Appendf(nil, format, args...) }
