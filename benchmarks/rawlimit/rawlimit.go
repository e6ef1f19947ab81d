// Package rawlimit measures what the machine gives without a broker: bytes over loopback TCP into a
// file and back, with the same sizes, connections and durability as a workload. A broker's figures mean
// something only as a ratio to these, taken in the same run.
package rawlimit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options describe a run.
type Options struct {
	Dir         string        // where the file is made; it is removed afterwards
	BatchBytes  int           // one request
	Connections int           // each sends its next request when the last one is answered
	Duration    time.Duration // of the measurement
	FileBytes   int64         // the file is written round and round; its pages were all written before
	Sync        bool          // fdatasync before every answer
}

// Result is what a run did.
type Result struct {
	Bytes   int64
	Batches int64
	Elapsed time.Duration
}

// BytesPerSecond is the rate.
func (r Result) BytesPerSecond() float64 { return float64(r.Bytes) / r.Elapsed.Seconds() }

// Produce copies requests from TCP connections into a preallocated file: read a length and a body,
// write the body at the next place, answer with one byte.
func Produce(ctx context.Context, o Options) (Result, error) {
	f, err := preparedFile(o)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }()
	var at atomic.Int64
	return loopback(ctx, o, func(c net.Conn) error { return copyIn(c, f, &at, o) }, func(c net.Conn, stop <-chan struct{}) (Result, error) {
		return send(c, o, stop)
	})
}

// Fetch copies the file to TCP connections as fast as the system can (sendfile), again and again.
func Fetch(ctx context.Context, o Options) (Result, error) {
	f, err := preparedFile(o)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }()
	return loopback(ctx, o, func(c net.Conn) error { return copyOut(c, f.Name()) }, receive)
}

// preparedFile makes the file with every page written and on disk, as a recycled segment has.
func preparedFile(o Options) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(o.Dir, "rawlimit"), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("raw limit: %w", err)
	}
	block := make([]byte, 1<<20)
	for off := int64(0); off < o.FileBytes && err == nil; off += int64(len(block)) {
		_, err = f.WriteAt(block, off)
	}
	if err = errors.Join(err, f.Sync()); err != nil {
		return nil, fmt.Errorf("raw limit: prepare file: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}

// loopback runs the two ends of every connection for the duration and adds up what the clients did.
func loopback(ctx context.Context, o Options, serve func(net.Conn) error, drive func(net.Conn, <-chan struct{}) (Result, error)) (Result, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Result{}, fmt.Errorf("raw limit: %w", err)
	}
	defer ln.Close()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var total Result
	var errs []error
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	}
	stop := make(chan struct{})
	start := time.Now()
	for range o.Connections {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			return Result{}, fmt.Errorf("raw limit: %w", err)
		}
		server, err := ln.Accept()
		if err != nil {
			return Result{}, fmt.Errorf("raw limit: %w", errors.Join(err, client.Close()))
		}
		wg.Go(func() {
			defer server.Close()
			if err := serve(server); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
				fail(err)
			}
		})
		wg.Go(func() {
			defer client.Close()
			r, err := drive(client, stop)
			if err != nil {
				fail(err)
			}
			mu.Lock()
			defer mu.Unlock()
			total.Bytes += r.Bytes
			total.Batches += r.Batches
		})
	}
	timer := time.NewTimer(o.Duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	close(stop)
	total.Elapsed = time.Since(start)
	wg.Wait()
	return total, errors.Join(errs...)
}

func copyIn(c net.Conn, f *os.File, at *atomic.Int64, o Options) error {
	var head [4]byte
	buf := make([]byte, o.BatchBytes)
	slots := o.FileBytes / int64(o.BatchBytes)
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		body := buf[:binary.LittleEndian.Uint32(head[:])]
		if _, err := io.ReadFull(c, body); err != nil {
			return err
		}
		slot := (at.Add(1) - 1) % slots
		if _, err := f.WriteAt(body, slot*int64(o.BatchBytes)); err != nil {
			return err
		}
		if o.Sync {
			if err := syncData(f); err != nil {
				return err
			}
		}
		if _, err := c.Write(head[:1]); err != nil {
			return err
		}
	}
}

func send(c net.Conn, o Options, stop <-chan struct{}) (r Result, err error) {
	msg := make([]byte, 4+o.BatchBytes)
	binary.LittleEndian.PutUint32(msg, uint32(o.BatchBytes))
	var ack [1]byte
	for {
		select {
		case <-stop:
			return r, nil
		default:
		}
		if _, err := c.Write(msg); err != nil {
			return r, err
		}
		if _, err := io.ReadFull(c, ack[:]); err != nil {
			return r, err
		}
		r.Batches++
		r.Bytes += int64(o.BatchBytes)
	}
}

func copyOut(c net.Conn, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(c, f); err != nil {
			return err
		}
	}
}

func receive(c net.Conn, stop <-chan struct{}) (r Result, err error) {
	buf := make([]byte, 256<<10)
	for {
		select {
		case <-stop:
			return r, nil
		default:
		}
		n, err := c.Read(buf)
		r.Bytes += int64(n)
		if err != nil {
			return r, err
		}
	}
}
