package broker_test

import (
	"context"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

// withMemory opens a broker whose requests have total bytes of memory.
func withMemory(t *testing.T, total int64) (*broker.Broker, *admission.Controller) {
	t.Helper()
	memory, err := admission.New(total)
	if err != nil {
		t.Fatal(err)
	}
	return openWith(t, broker.Options{DataDir: t.TempDir(), Admission: memory}), memory
}

// impatient is a context that waits for nothing.
func impatient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// occupy takes all of a budget and returns how to give it back.
func occupy(t *testing.T, b *admission.Budget) (empty func()) {
	t.Helper()
	if !b.TryAcquire(b.Limit()) {
		t.Fatalf("%d of %d bytes are in use", b.InUse(), b.Limit())
	}
	return func() { b.Release(b.Limit()) }
}

func wantOverloaded(t *testing.T, err error) {
	t.Helper()
	wantCode(t, err, errcode.Overloaded)
	if wait := errcode.From(err).Fields["retry_after_ms"]; wait != int64(1000) {
		t.Errorf("retry_after_ms is %v", wait)
	}
}

func wantNothingHeld(t *testing.T, memory *admission.Controller) {
	t.Helper()
	for _, u := range memory.Usage() {
		if u.InUse != 0 {
			t.Errorf("%d bytes of %s are still held", u.InUse, u.Budget)
		}
	}
}

// TestFullBudgetsRefuse: without memory nothing is written or read, and nothing of what was held for a
// refused request stays behind.
func TestFullBudgetsRefuse(t *testing.T) {
	b, memory := withMemory(t, admission.DefaultTotal)
	createTopic(t, b, "orders", 1)
	produce(t, b, "orders", 0, "first")
	compressed := recordtest.Build(t, record.BuilderOptions{Codec: record.CodecZstd}, recordtest.Values(strings.Repeat("compressed ", 100))...)

	empty := occupy(t, memory.Unpack)
	_, err := b.ProduceBatches(impatient(t), "orders", 0, compressed)
	wantOverloaded(t, err)
	empty()

	empty = occupy(t, memory.Appends)
	result, err := b.ProduceBatches(impatient(t), "orders", 0, compressed)
	if err == nil {
		err = result.Partitions[0].Error
	}
	wantOverloaded(t, err)
	empty()

	empty = occupy(t, memory.Answers)
	_, err = b.Fetch(impatient(t), fetchOf("orders", 0, 0))
	wantOverloaded(t, err)
	empty()

	wantNothingHeld(t, memory)
	got, _ := read(t, b, "orders", 0, 0)
	wantValues(t, got, "first")
	if _, err := b.ProduceBatches(t.Context(), "orders", 0, compressed); err != nil {
		t.Error(err)
	}
	wantNothingHeld(t, memory)
}

// TestAnswersHoldWhatTheyHave: an answer that waits for its reader holds its own bytes, not those that
// were asked for, and one that is larger than all memory for answers is given to a reader that is alone.
func TestAnswersHoldWhatTheyHave(t *testing.T) {
	b, memory := withMemory(t, 256<<10)
	createTopic(t, b, "orders", 1)
	produce(t, b, "orders", 0, "small")
	produce(t, b, "orders", 0, strings.Repeat("x", 100<<10))
	req := fetchOf("orders", 0, 0)
	req.Partitions[0].MaxBytes = 1 << 30
	req.Partitions[0].Offset = 1
	large, err := b.Fetch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(large.Partitions[0].Batches); n < 100<<10 || large.Held != memory.Answers.Limit() || memory.Answers.InUse() != large.Held {
		t.Errorf("an answer of %d bytes holds %d, %d are in use of %d", n, large.Held, memory.Answers.InUse(), memory.Answers.Limit())
	}
	large.Release()
	large.Release() // once is enough
	wantNothingHeld(t, memory)

	req.Partitions[0].Offset, req.Partitions[0].MaxBytes = 0, 100
	small, err := b.Fetch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if n := int64(len(small.Partitions[0].Batches)); small.Held != n || memory.Answers.InUse() != n {
		t.Errorf("an answer of %d bytes holds %d", n, small.Held)
	}
	small.Release()
	wantNothingHeld(t, memory)
}

// TestAnswersLargerThanTheirShare: a first batch that is larger than what was asked for is given all the
// same, and holds its bytes if there is room for them, else the share; either way it gives back what it holds.
func TestAnswersLargerThanTheirShare(t *testing.T) {
	b, memory := withMemory(t, admission.DefaultTotal)
	createTopic(t, b, "orders", 1)
	produce(t, b, "orders", 0, strings.Repeat("x", 100<<10))
	req := fetchOf("orders", 0, 0)
	req.Partitions[0].MaxBytes = 1000
	for _, free := range []int64{memory.Answers.Limit(), 2000} {
		occupied := memory.Answers.Limit() - free
		if !memory.Answers.TryAcquire(occupied) {
			t.Fatal("answers are held")
		}
		resp, err := b.Fetch(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		want := int64(len(resp.Partitions[0].Batches))
		if want < 100<<10 {
			t.Errorf("%d bytes were read, %v", want, resp.Partitions[0].Err)
		}
		if free < want {
			want = 1000
		}
		if resp.Held != want || memory.Answers.InUse() != occupied+want {
			t.Errorf("with %d bytes free the answer holds %d, want %d; %d are in use", free, resp.Held, want, memory.Answers.InUse()-occupied)
		}
		resp.Release()
		memory.Answers.Release(occupied)
		wantNothingHeld(t, memory)
	}
}
