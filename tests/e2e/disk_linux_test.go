package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
)

// smallDisk mounts a file system of its own. Without the right to, the test is skipped: the
// same faults are injected below the broker in the tests of core/partition and raftstore/log.
func smallDisk(t *testing.T, options string) (dir string, ok bool) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Log("no right to mount a small disk: run this test as root")
		return "", false
	}
	if err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir, true
}

// fill takes all the space that is left on a disk, and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// On a full disk reads go on and writes are answered 507 with nothing lost; when there is space again,
// writes succeed without a restart.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk, ok := smallDisk(t, "size=24m")
	if !ok {
		return
	}
	b := harness.Start(t, harness.Options{Data: filepath.Join(disk, "data")})
	w := newWitness(t, b)
	c := b.ClientWith(t, client.Options{Retries: -1})
	topic(t, c, "orders", 1)
	free := fill(t, disk)
	want := refusal{code: errcode.DiskFull, says: []string{"orders/0", "reads go on", "retry"}}
	acked, refusals := 0, 0
	for refusals < 5 {
		body := batch(t, record.BuilderOptions{}, fmt.Sprintf("%06d", acked)+strings.Repeat("x", 30_000))
		a := call(t, b, "POST", "/v1/topics/orders/records?partition=0", body, "Content-Type", typeBatches)
		if a.Status == 200 {
			acked++
			continue
		}
		want.expect(t, a)
		refusals++
	}
	t.Logf("%d records were acknowledged before the disk was full", acked)
	intact := func(b *harness.Broker, n int) {
		t.Helper()
		got := rows(t, b.Client(t), "orders", 0)
		if len(got) != n {
			t.Fatalf("%d records instead of the %d acknowledged", len(got), n)
		}
		for i, r := range got {
			if r.Offset != int64(i) || !strings.HasPrefix(r.Value, fmt.Sprintf("%06d", i)) {
				t.Fatalf("record %d is %.20q at offset %d", i, r.Value, r.Offset)
			}
		}
	}
	intact(b, acked)
	for partition, bytes := range w.bytes {
		if got := raw(t, c, witnessTopic, partition); string(got) != string(bytes) {
			t.Errorf("%s/%d changed", witnessTopic, partition)
		}
	}
	a := call(t, b, "POST", "/v1/topics", []byte(`{"name":"another","partitions":4}`), "Content-Type", typeJSON)
	t.Logf("creating a topic on a full disk: %d %s", a.Status, a.Body)

	free()
	for range 3 {
		produce(t, c, "orders", 0, fmt.Sprintf("%06d", acked))
		acked++
	}
	intact(b, acked)
	w.check(t, b)
	b = w.survive(t, b)
	intact(b, acked)
}

// A broker that starts on a full disk serves what is there.
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk, ok := smallDisk(t, "size=24m")
	if !ok {
		return
	}
	b := harness.Start(t, harness.Options{Data: filepath.Join(disk, "data")})
	w := newWitness(t, b)
	b.Kill(t)
	free := fill(t, disk)
	again := b.Relaunch(t)
	if !again.Await(t) {
		again.Wait(t)
		if !strings.Contains(again.Log(), "no space left") || again.ExitCode() <= 0 {
			t.Errorf("exit code %d: %s", again.ExitCode(), again.Log())
		}
		t.Logf("it does not start: %s", again.Log())
		free()
		w.check(t, again.Restart(t))
		return
	}
	for partition, bytes := range w.bytes {
		if got := raw(t, again.Client(t), witnessTopic, partition); string(got) != string(bytes) {
			t.Errorf("%s/%d changed", witnessTopic, partition)
		}
	}
	free()
	w.check(t, again)
}

// A read-only disk is an unwritable directory even for root.
func TestReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	disk, ok := smallDisk(t, "size=16m")
	if !ok {
		return
	}
	data := filepath.Join(disk, "data")
	b := harness.Start(t, harness.Options{Data: data})
	w := newWitness(t, b)
	b.Stop(t)
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	refuses(t, harness.Options{Data: data}, data, "read-only file system", "--data")
	refuses(t, harness.Options{Data: filepath.Join(disk, "new")}, "read-only file system", "--data")
	remount(0)
	w.check(t, b.Restart(t))
}
