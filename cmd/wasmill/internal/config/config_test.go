package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// load parses a command line and loads, with the file's text if it is not empty.
func load(t *testing.T, yaml string, args ...string) (Config, error) {
	t.Helper()
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Flags(f)
	if err := f.Parse(args); err != nil {
		t.Fatalf("parse %v: %v", args, err)
	}
	name := ""
	if yaml != "" {
		name = filepath.Join(t.TempDir(), "wasmill.yaml")
		if err := os.WriteFile(name, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(f, name)
}

func TestDefaultsNeedNothing(t *testing.T) {
	got, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if got != Default() {
		t.Errorf("got %+v, want the defaults %+v", got, Default())
	}
}

func TestPrecedence(t *testing.T) {
	const yaml = "http: 127.0.0.1:1\nlog-level: warn\ndata: /from/file\nmax-body-bytes: 1MiB\nmaintain-every: 10s\nmax-connections: 7\n"
	t.Setenv("WASMILL_HTTP", "127.0.0.1:2")
	t.Setenv("WASMILL_LOG_LEVEL", "error")
	t.Setenv("WASMILL_MAX_IN_FLIGHT_BYTES", "128MiB")
	t.Setenv("WASMILL_SERVER", "http://not.ours:1")
	got, err := load(t, yaml, "--http", "127.0.0.1:3", "--shutdown-timeout", "5s", "--recycle-bytes", "0")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.HTTP = "127.0.0.1:3" // flag over variable over file
	want.LogLevel = "error"   // variable over file
	want.Data = "/from/file"  // file over default
	want.MaxBodyBytes, want.MaxConnections = 1<<20, 7
	want.MaintainEvery = 10 * time.Second
	want.MaxInFlightBytes = 128 << 20
	want.ShutdownTimeout, want.RecycleBytes = 5*time.Second, 0
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestConfigFileFromVariable(t *testing.T) {
	name := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(name, []byte("broker-id: seven\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WASMILL_CONFIG", name)
	got, err := load(t, "")
	if err != nil || got.BrokerID != "seven" {
		t.Errorf("broker id %q, error %v", got.BrokerID, err)
	}
}

func TestEveryFaultIsReportedAtOnce(t *testing.T) {
	_, err := load(t, "", "--http", "nowhere", "--log-level", "loud", "--log-format", "xml", "--data", " ",
		"--broker-id", "a b", "--advertise", "me", "--otlp-endpoint", "ftp://x", "--max-body-bytes", "1",
		"--max-module-bytes", "1", "--max-fetch-bytes", "1", "--max-in-flight-bytes", "1", "--max-connections", "0",
		"--wasm-instances", "-1", "--pprof", "x", "--maintain-every", "1ms", "--shutdown-timeout", "1ms")
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range keys() {
		if name == "recycle-bytes" { // every value that the flag takes is fine
			continue
		}
		if !strings.Contains(err.Error(), name+": ") {
			t.Errorf("no fault of %s in:\n%v", name, err)
		}
	}
}

func TestBadFiles(t *testing.T) {
	for _, tc := range []struct{ name, yaml, want string }{
		{"unknown key", "htpp: 127.0.0.1:1\n", `unknown key "htpp"`},
		{"unknown nested key", "log:\n  level: info\n", `unknown key "log"`},
		{"not YAML", "http: [\n", "configuration file"},
		{"wrong type", "max-connections: many\n", "max-connections"},
		{"wrong size", "max-body-bytes: huge\n", "is not a size"},
		{"wrong duration", "maintain-every: soon\n", "maintain-every"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := load(t, tc.yaml)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	if _, err := Load(pflag.NewFlagSet("", pflag.ContinueOnError), filepath.Join(t.TempDir(), "missing.yaml")); err == nil {
		t.Error("a missing file is no error")
	}
}

// Every value must be reachable by a flag, a variable and a key of the file: all three go by the tag.
func TestEveryFieldHasItsFlag(t *testing.T) {
	known := keys()
	fields := reflect.TypeFor[Config]()
	if fields.NumField() != len(known) {
		t.Errorf("%d fields, %d flags", fields.NumField(), len(known))
	}
	for i := range fields.NumField() {
		tag := fields.Field(i).Tag.Get("koanf")
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		Flags(f)
		if f.Lookup(tag) == nil {
			t.Errorf("field %s has no flag --%s", fields.Field(i).Name, tag)
		}
	}
}

// The memory of all requests admits a largest body and a largest fetch.
func TestLimitsFitIntoTheMemoryOfRequests(t *testing.T) {
	for _, tc := range []struct {
		args  []string
		fetch Bytes  // what a fetch may ask for
		fault string // in its place
	}{
		{nil, 16 << 20, ""},
		{[]string{"--max-fetch-bytes", "128MiB"}, 128 << 20, ""},
		{[]string{"--max-fetch-bytes", "129MiB"}, 0, "max-fetch-bytes: 129MiB is more than a quarter of max-in-flight-bytes, 128MiB: answers get no more; lower it, or raise max-in-flight-bytes to 516MiB"},
		{[]string{"--max-fetch-bytes", "512MiB", "--max-in-flight-bytes", "2GiB"}, 512 << 20, ""},
		{[]string{"--max-in-flight-bytes", "4MiB", "--max-body-bytes", "1MiB", "--max-module-bytes", "1MiB"}, 1 << 20, ""},
		{[]string{"--max-in-flight-bytes", "64MiB", "--max-fetch-bytes", "16MiB"}, 16 << 20, ""},
		{[]string{"--max-in-flight-bytes", "63MiB"}, 0, "max-in-flight-bytes: 63MiB must be at least 64MiB: half of it is for bodies, and the largest, 32MiB, needs 32MiB"},
		{[]string{"--max-module-bytes", "33MiB", "--max-in-flight-bytes", "127MiB"}, 0, "the largest, 33MiB, needs 64MiB"},
	} {
		got, err := load(t, "", tc.args...)
		switch {
		case tc.fault == "" && (err != nil || got.MaxFetchBytes != tc.fetch):
			t.Errorf("%v: a fetch may ask for %v instead of %v, %v", tc.args, got.MaxFetchBytes, tc.fetch, err)
		case tc.fault != "" && (err == nil || !strings.Contains(err.Error(), tc.fault)):
			t.Errorf("%v: error %v, want one with %q", tc.args, err, tc.fault)
		}
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "1048576": 1 << 20, "64MiB": 64 << 20, "1 KB": 1000, "3GiB": 3 << 30} {
		var b Bytes
		if err := b.Set(text); err != nil || b != want {
			t.Errorf("%q: %d, %v; want %d", text, b, err, want)
		}
		var again Bytes
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("%q does not read back: %d, %v", b.String(), again, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "99999999EiB"} {
		var b Bytes
		if err := b.Set(text); err == nil {
			t.Errorf("%q is taken as %d", text, b)
		}
	}
}
