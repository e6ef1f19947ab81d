package wasmill

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unsafe"
)

// TestLayout holds the structs that lie over the ABI's bytes to its sizes and offsets.
func TestLayout(t *testing.T) {
	var (
		h inputHeader
		d descriptor
		a action
	)
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"input header", unsafe.Sizeof(h), inputHeaderSize},
		{"base_timestamp", unsafe.Offsetof(h.baseTimestamp), 24},
		{"topic_len", unsafe.Offsetof(h.topicLen), 36},
		{"descriptor", unsafe.Sizeof(d), descriptorSize},
		{"headers_count", unsafe.Offsetof(d.headersCount), 24},
		{"timestamp of a descriptor", unsafe.Offsetof(d.timestamp), 32},
		{"offset", unsafe.Offsetof(d.offset), 40},
		{"action", unsafe.Sizeof(a), actionSize},
		{"code", unsafe.Offsetof(a.code), 2},
		{"record", unsafe.Offsetof(a.record), 4},
		{"partition", unsafe.Offsetof(a.partition), 16},
		{"key_ptr", unsafe.Offsetof(a.keyPtr), 20},
		{"headers_count of an action", unsafe.Offsetof(a.headersCount), 44},
		{"timestamp", unsafe.Offsetof(a.timestamp), 48},
		{"message_len", unsafe.Offsetof(a.messageLen), 60},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, the ABI says %d", c.name, c.got, c.want)
		}
	}
}

// batchOf encodes records with a value each, on write, in topic "t".
func batchOf(values ...string) []byte {
	le := binary.LittleEndian
	in := make([]byte, inputHeaderSize+len(values)*descriptorSize)
	le.PutUint32(in[0:], inputHeaderSize)
	le.PutUint32(in[4:], descriptorSize)
	le.PutUint32(in[8:], uint32(len(values)))
	le.PutUint32(in[12:], uint32(AllFields))
	le.PutUint32(in[32:], uint32(len(in)))
	le.PutUint32(in[36:], 1)
	in = append(in, 't')
	for i, v := range values {
		d := in[inputHeaderSize+i*descriptorSize:]
		le.PutUint32(d[4:], nullLength)
		le.PutUint32(d[8:], uint32(len(in)))
		le.PutUint32(d[12:], uint32(len(v)))
		le.PutUint64(d[40:], ^uint64(0))
		in = append(in, v...)
	}
	return in
}

const base = 1024

// answer runs a handler over values and returns the actions that it led to.
func answer(t *testing.T, handle func(r *Record, out *Output), values ...string) []action {
	t.Helper()
	i := NewInstance(Transform{Record: handle}, Host{})
	return actionsOf(t, i, i.Process(batchOf(values...), base))
}

func actionsOf(t *testing.T, i *Instance, result uint64) []action {
	t.Helper()
	out, ok := i.Memory(uint32(result>>32)&0x7FFFFFFF, uint32(result))
	if !ok || result&failedCall != 0 {
		t.Fatalf("result %#x: %q", result, out)
	}
	count := binary.LittleEndian.Uint32(out[8:])
	if len(out) != int(outputHeaderSize+count*actionSize) {
		t.Fatalf("%d actions in %d bytes", count, len(out))
	}
	actions := make([]action, count)
	for n := range actions {
		actions[n] = *(*action)(unsafe.Pointer(&out[outputHeaderSize+n*actionSize]))
	}
	return actions
}

func kinds(actions []action) (s string) {
	for _, a := range actions {
		s += string("?KTER"[a.kind])
		if a.topicLen > 0 {
			s += "'"
		}
	}
	return s
}

func TestDecisionsAboutOneRecord(t *testing.T) {
	for _, c := range []struct {
		name, want string // K keep, T route, E emit, R reject; ' to another topic
		handle     func(r *Record, out *Output)
	}{
		{"nothing said", "", func(r *Record, out *Output) {}},
		{"keep", "K", func(r *Record, out *Output) { out.Keep() }},
		{"keep twice", "K", func(r *Record, out *Output) { out.Keep(); out.Keep() }},
		{"keep what was changed", "E", func(r *Record, out *Output) { r.SetValue(nil); out.Keep() }},
		{"drop takes back", "", func(r *Record, out *Output) { out.Keep(); out.Route("x"); out.Drop() }},
		{"keep after drop", "K", func(r *Record, out *Output) { out.Keep(); out.Drop(); out.Keep() }},
		{"reject voids", "R", func(r *Record, out *Output) { out.Keep(); out.Reject(1, "m"); out.Route("x"); out.Emit(Emission{}) }},
		{"reject twice", "R", func(r *Record, out *Output) { out.Reject(1, "m"); out.Reject(2, "n"); out.Drop() }},
		{"route", "T'", func(r *Record, out *Output) { out.Route("x") }},
		{"route home", "K", func(r *Record, out *Output) { out.Route("t"); out.Route("") }},
		{"route to another partition", "T", func(r *Record, out *Output) { out.RouteTo("t", 1) }},
		{"route to this partition", "K", func(r *Record, out *Output) { out.RouteTo("t", 0) }},
		{"keep here, changed there", "KE'", func(r *Record, out *Output) { out.Keep(); r.SetKey(nil); out.Route("x") }},
		{"emit here and there", "EE'", func(r *Record, out *Output) { out.Emit(Emission{Topic: "t"}); out.EmitTo(3, Emission{Topic: "x"}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := kinds(answer(t, c.handle, "a")); got != c.want {
				t.Errorf("actions %q, want %q", got, c.want)
			}
		})
	}
}

func TestUnchangedPartsAreInherited(t *testing.T) {
	actions := answer(t, func(r *Record, out *Output) {
		r.SetTimestamp(9)
		out.Keep()
	}, "a")
	a := actions[0]
	if a.flags != flagInheritKey|flagInheritValue|flagInheritHeaders|flagTimestamp || a.timestamp != 9 {
		t.Errorf("flags %b, timestamp %d", a.flags, a.timestamp)
	}
}

func TestPartsOfTheInputAreNotCopied(t *testing.T) {
	in := batchOf("hello")
	i := NewInstance(Transform{Record: func(r *Record, out *Output) {
		r.SetValue(r.Value()[1:3])
		out.Keep()
	}}, Host{})
	a := actionsOf(t, i, i.Process(in, base))[0]
	if at := bytes.Index(in, []byte("ello")); a.valuePtr != base+uint32(at) || a.valueLen != 2 {
		t.Errorf("value at %d, %d bytes; want %d, 2", a.valuePtr, a.valueLen, base+at)
	}
}

func TestHandlersMayReuseTheirBuffers(t *testing.T) {
	var buf []byte
	i := NewInstance(Transform{Record: func(r *Record, out *Output) {
		buf = append(append(buf[:0], r.Value()...), '!')
		r.SetValue(buf)
		out.Keep()
	}}, Host{})
	for n, a := range actionsOf(t, i, i.Process(batchOf("a", "b"), base)) {
		if got, _ := i.Memory(a.valuePtr, a.valueLen); string(got) != string("ab"[n])+"!" {
			t.Errorf("record %d: value %q", n, got)
		}
	}
}

func TestFailedCallsCarryTheirReason(t *testing.T) {
	for _, c := range []struct {
		name, want string
		transform  Transform
		input      []byte
	}{
		{"no transform", errNoTransform.Error(), Transform{}, batchOf("a")},
		{"two transforms", errNoTransform.Error(), Transform{Record: func(*Record, *Output) {}, Batch: func(*Batch) error { return nil }}, batchOf("a")},
		{"an error", "no", Transform{Batch: func(*Batch) error { return errors.New("no") }}, batchOf("a")},
		{"a panic", "panic: oh", Transform{Record: func(*Record, *Output) { panic("oh") }}, batchOf("a")},
		{"an index out of range", "panic: runtime error: index out of range [5] with length 1", Transform{Record: func(r *Record, _ *Output) { _ = r.Value()[len(r.Value())+4] }}, batchOf("a")},
		{"another panic", "panic: a value that is neither a string nor an error", Transform{Record: func(*Record, *Output) { panic(1) }}, batchOf("a")},
		{"headers without their field", "panic: wasmill: headers changed without FieldHeaders in Transform.Fields", Transform{Record: func(r *Record, _ *Output) { r.SetHeader("a", nil) }}, maskedBatch()},
		{"All twice", "panic: wasmill: Batch.All ranged over twice", Transform{Batch: func(b *Batch) error {
			for range b.All() {
			}
			for range b.All() {
			}
			return nil
		}}, batchOf("a")},
		{"a short input", errInput.Error(), Transform{Record: func(*Record, *Output) {}}, batchOf("a")[:90]},
		{"no input", errInput.Error(), Transform{Record: func(*Record, *Output) {}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := NewInstance(c.transform, Host{})
			result := i.Process(c.input, base)
			message, _ := i.Memory(uint32(result>>32)&0x7FFFFFFF, uint32(result))
			if result&failedCall == 0 || string(message) != c.want {
				t.Errorf("result %#x, message %q, want %q", result, message, c.want)
			}
		})
	}
}

func maskedBatch() []byte {
	in := batchOf("a")
	binary.LittleEndian.PutUint32(in[12:], uint32(FieldValue))
	return in
}

func TestReadingAhead(t *testing.T) {
	i := NewInstance(Transform{Batch: func(b *Batch) error {
		last := b.At(b.Len() - 1)
		for r, out := range b.All() {
			if string(r.Value()) != string(last.Value()) || r.Index() == last.Index() {
				out.Keep()
			}
		}
		return nil
	}}, Host{})
	actions := actionsOf(t, i, i.Process(batchOf("a", "b", "a"), base))
	if len(actions) != 2 || actions[0].record != 1 || actions[1].record != 2 {
		t.Errorf("actions %+v", actions)
	}
}

// TestSteadyStateAllocatesNothing: keep, drop, change, route and reject reuse every buffer.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	value := []byte("new value")
	i := NewInstance(Transform{Record: func(r *Record, out *Output) {
		switch r.Index() % 5 {
		case 0:
			out.Keep()
		case 1:
			r.SetValue(value)
			r.SetHeader("h", value)
			out.Keep()
		case 2:
			out.Route("elsewhere")
		case 3:
			out.Reject(1, "no")
		}
	}}, Host{})
	in := batchOf(strings.Split(strings.Repeat("value,", 100), ",")...)
	i.Process(in, base)
	if n := testing.AllocsPerRun(50, func() { i.Process(in, base) }); n != 0 {
		t.Errorf("%v allocations per batch", n)
	}
}

// TestMemoryIsGivenBack: one huge batch must not make the instance large for good.
func TestMemoryIsGivenBack(t *testing.T) {
	huge := make([]byte, 3*retainedBytes)
	i := NewInstance(Transform{Record: func(r *Record, out *Output) {
		if string(r.Value()) == "huge" {
			r.SetValue(huge)
		} else {
			r.SetValue([]byte("small"))
		}
		out.Keep()
	}}, Host{})
	i.Process(batchOf("a", "huge", "huge"), base)
	a := actionsOf(t, i, i.Process(batchOf("a"), base))[0]
	if got, _ := i.Memory(a.valuePtr, a.valueLen); string(got) != "small" {
		t.Errorf("value %q", got)
	}
	held := 0
	for _, region := range i.guest.space.regions {
		held += len(region)
	}
	if held > retainedBytes+1<<20 {
		t.Errorf("%d bytes are held after a huge batch", held)
	}
}

func TestHostFunctions(t *testing.T) {
	long := strings.Repeat("x", 1000)
	metrics := map[string]int64{}
	var logged string
	host := Host{
		Log:       func(l Level, m string) { logged = m },
		Now:       func() int64 { return 7 },
		Random:    func(b []byte) { b[0] = 9 },
		AddMetric: func(name string, delta int64) { metrics[name] += delta },
		Config: func(key string) (string, bool) {
			return map[string]string{"short": "s", "long": long}[key], key != "none"
		},
	}
	i := NewInstance(Transform{Init: func([]byte) error {
		var b [1]byte
		Random(b[:])
		AddMetric("n", 2)
		Log(LevelWarn, "hi")
		short, _ := Config("short")
		text, _ := Config("long")
		if _, ok := Config("none"); ok || short != "s" || text != long || Now() != 7 || b[0] != 9 {
			return errors.New("wrong answers")
		}
		return nil
	}, Record: func(*Record, *Output) {}}, host)
	if err := i.Init(nil); err != nil || logged != "hi" || metrics["n"] != 2 {
		t.Errorf("%v, %q, %v", err, logged, metrics)
	}
	if Now() != 0 {
		t.Error("the host is still there after the call")
	}
}

func FuzzProcessNeverCorrupts(f *testing.F) {
	f.Add(batchOf("a", "b"))
	f.Add(batchOf())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		i := NewInstance(Transform{Record: func(r *Record, out *Output) {
			for h := range r.Headers() {
				_ = h
			}
			r.SetKey(r.Value())
			out.Keep()
		}}, Host{})
		result := i.Process(in, base)
		if _, ok := i.Memory(uint32(result>>32)&0x7FFFFFFF, uint32(result)); !ok {
			t.Fatalf("result %#x names no memory", result)
		}
	})
}
