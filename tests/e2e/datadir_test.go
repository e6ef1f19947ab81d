package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
)

// refuses runs serve, which must end by itself with an error that says all of says.
func refuses(t *testing.T, o harness.Options, says ...string) {
	t.Helper()
	b := harness.Launch(t, o)
	if b.Await(t) {
		t.Fatal("the broker is ready instead of refusing")
	}
	b.Wait(t)
	if code := b.ExitCode(); code <= 0 {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(b.Stdout(), "ready") {
		t.Errorf("it said %q", b.Stdout())
	}
	for _, s := range says {
		if !strings.Contains(b.Log(), s) {
			t.Errorf("the error does not say %q: %s", s, b.Log())
		}
	}
}

// contents is every file below a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTwoBrokersOnOneDirectory(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	refuses(t, harness.Options{Data: b.Data}, "in use by another broker", b.Data, "--data")
	w.check(t, b)
	w.survive(t, b) // SIGKILL leaves no lock behind
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	address := strings.TrimPrefix(b.URL, "http://")
	data := filepath.Join(t.TempDir(), "other")
	refuses(t, harness.Options{HTTP: address, Data: data}, "is in use", address, "--http")
	if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a broker that cannot listen made its directory: %v", err)
	}
	w.check(t, b)
}

func TestUnusableDirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{file, filepath.Join(file, "data"), "/proc/wasmill-data"} {
		refuses(t, harness.Options{Data: data}, data, "--data")
	}
	if got, err := os.ReadFile(file); string(got) != "precious" {
		t.Errorf("the file now holds %q, %v", got, err)
	}
}

func TestDataOfANewerFormat(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	b.Stop(t)
	name := filepath.Join(b.Data, "wasmill.json")
	old, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for text, says := range map[string]string{
		`{"format":2,"created_by":"v9.9.9"}`: "newer version of",
		`{"format":`:                         "wasmill.json",
		``:                                   "wasmill.json",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		before := contents(t, b.Data)
		refuses(t, harness.Options{Data: b.Data}, says, b.Data, "--data")
		after := contents(t, b.Data)
		for path, content := range before {
			if after[path] != content {
				t.Errorf("%s was touched", path)
			}
		}
		if len(after) != len(before) {
			t.Errorf("%d files instead of %d", len(after), len(before))
		}
	}
	if err := os.WriteFile(name, old, 0o600); err != nil {
		t.Fatal(err)
	}
	w.check(t, b.Restart(t))
}

// flip changes one bit in the middle of the only place where a partition's files hold marker, and
// returns the file and the position.
func flip(t *testing.T, data, topicName, marker string) (file string, position int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(data, "partitions", topicName+".*", "0", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, []byte(marker))
		if at < 0 {
			continue
		}
		if file != "" || bytes.Contains(b[at+1:], []byte(marker)) {
			t.Fatalf("%q is there twice", marker)
		}
		file, position = name, int64(at+len(marker)/2)
		b[position] ^= 0x10
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if file == "" {
		t.Fatalf("%q is in none of %q", marker, names)
	}
	return file, position
}

// numbered writes records value-0 to value-(n-1), each in a batch and so a frame of its own.
func numbered(t *testing.T, c *client.Client, name string, n int) []string {
	t.Helper()
	topic(t, c, name, 1)
	var all []string
	for i := range n {
		v := fmt.Sprintf("value-%04d-of-%s", i, name)
		if at := produce(t, c, name, 0, v); at != int64(i) {
			t.Fatalf("record %d has offset %d", i, at)
		}
		all = append(all, v)
	}
	return all
}

// A damaged last frame is what a torn write looks like: it is cut off, what is before it stays, and
// writing goes on there.
func TestGarbledTail(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"kill", "stop"} {
		t.Run("after "+end, func(t *testing.T) {
			b := harness.Start(t, harness.Options{})
			w := newWitness(t, b)
			all := numbered(t, b.Client(t), "orders", 20)
			if end == "kill" {
				b.Kill(t)
			} else {
				b.Stop(t)
			}
			file, _ := flip(t, b.Data, "orders", all[19])
			again := harness.Start(t, harness.Options{Data: b.Data})
			if end == "stop" {
				// After an orderly stop a snapshot says that the frame was committed: then this is
				// no torn write but damage, and silence would lose what was acknowledged.
				notServed(t, again, filepath.Dir(file), "ends at", "offset 19", "verify its log")
				w.check(t, again)
				verified := harness.Run(t, nil, "log", "verify", "--live", "--data", b.Data)
				if !strings.Contains(verified.Stdout+verified.Stderr, filepath.Base(file)) {
					t.Errorf("log verify does not name the file: %s%s", verified.Stdout, verified.Stderr)
				}
				return
			}
			c := again.Client(t)
			expectValues(t, "orders", values(rows(t, c, "orders", 0)), all[:19]...)
			if at := produce(t, c, "orders", 0, "next"); at != 19 {
				t.Errorf("the next record has offset %d", at)
			}
			w.check(t, again)
			again = w.survive(t, again)
			expectValues(t, "orders", values(rows(t, again.Client(t), "orders", 0)), append(all[:19:19], "next")...)
		})
	}
}

// Damage that no crash can do is reported with file and position, and never skipped in silence.
func TestGarbledMiddle(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"kill", "stop"} {
		t.Run("after "+end, func(t *testing.T) {
			b := harness.Start(t, harness.Options{})
			w := newWitness(t, b)
			all := numbered(t, b.Client(t), "orders", 40)
			if end == "kill" {
				b.Kill(t)
			} else {
				b.Stop(t)
			}
			file, _ := flip(t, b.Data, "orders", all[20])
			verified := harness.Run(t, nil, "log", "verify", "--data", b.Data, "--json")
			if verified.Code != 1 || !strings.Contains(verified.Stdout+verified.Stderr, filepath.Base(file)) {
				t.Errorf("log verify ended with %d: %s %s", verified.Code, verified.Stdout, verified.Stderr)
			}
			again := harness.Start(t, harness.Options{Data: b.Data})
			notServed(t, again, file, "byte", "verify its log")
			w.check(t, again)
		})
	}
}

// notServed checks that the damaged partition of "orders" answers everything with what is wrong with it,
// and the topic's description too.
func notServed(t *testing.T, b *harness.Broker, says ...string) {
	t.Helper()
	c := b.Client(t)
	_, err := c.FetchPartition(deadline(t), client.PartitionFetch{Topic: "orders"})
	_, refused := c.ProduceValue(deadline(t), "orders", client.Value{Value: []byte("x")})
	info := must(c.Topic(deadline(t), "orders"))(t)
	if !client.IsCode(err, errcode.CorruptMessage) || !client.IsCode(refused, errcode.StorageFailed) {
		t.Fatalf("fetch: %v; produce: %v", err, refused)
	}
	for _, s := range says {
		for _, text := range []string{err.Error(), refused.Error(), info.State[0].Error} {
			if !strings.Contains(text, s) {
				t.Errorf("%q is not said: %s", s, text)
			}
		}
	}
	for _, args := range [][]string{{"consume", "orders"}, {"produce", "orders", "--file", os.DevNull, "--format", "raw"}} {
		r := harness.Run(t, nil, append(args, "--server", b.URL)...)
		if r.Code == 0 || !strings.Contains(r.Stderr, "wasmill log verify") {
			t.Errorf("wasmill %s ends with %d and does not name the command to run: %s", args[0], r.Code, r.Stderr)
		}
	}
}

func TestFreePortIsTaken(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	host, port, err := net.SplitHostPort(strings.TrimPrefix(b.URL, "http://"))
	if err != nil || host != "127.0.0.1" || port == "0" {
		t.Errorf("ready on %s: %v", b.URL, err)
	}
}
