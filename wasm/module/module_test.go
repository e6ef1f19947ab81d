package module

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

func TestInspect(t *testing.T) {
	wasm := wasmtest.With(wasmtest.Parts{
		Memory:  [2]int{3, 100},
		Imports: [][4]string{{"wasmill_v1", "now", "", wasmtest.I64}, {"wasi_snapshot_preview1", "fd_write", wasmtest.I32 + wasmtest.I32 + wasmtest.I32 + wasmtest.I32, wasmtest.I32}},
		Fields:  func(c *wasmtest.Code) { c.I32(1) },
	})
	info, err := Inspect(wasm, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if info.ABI != "wasmill-v1" || info.Fields != abi.AllFields || info.Size != len(wasm) || info.MemoryMinBytes != 3<<16 ||
		info.HasInit || !info.HasFields || !info.UsesWASI {
		t.Errorf("got %+v", info)
	}
	if want := []string{"wasmill_v1.now", "wasi_snapshot_preview1.fd_write"}; !slices.Equal(info.Imports, want) {
		t.Errorf("imports %q, want %q", info.Imports, want)
	}
	if want := []string{"wasmill_alloc", "wasmill_process_v1", "wasmill_fields_v1"}; !slices.Equal(info.Exports, want) {
		t.Errorf("exports %q, want %q", info.Exports, want)
	}
}

// section is a module that consists of one section.
func section(id byte, body ...byte) []byte {
	return append([]byte{0, 'a', 's', 'm', 1, 0, 0, 0, id, byte(len(body))}, body...)
}

// lying is a section that announces 100 million entries.
func lying(id byte) []byte { return section(id, 0x80, 0xc2, 0xd7, 0x2f) }

type badModule struct {
	name string
	wasm []byte
	want error
	text string
}

func badModules() []badModule {
	good := wasmtest.Identity()
	with := func(change func(p *wasmtest.Parts)) []byte {
		p := wasmtest.Parts{}
		change(&p)
		return wasmtest.With(p)
	}
	imports := func(list ...[4]string) []byte {
		return with(func(p *wasmtest.Parts) { p.Imports = list })
	}
	command := wasmtest.New()
	command.Func("_start", "", "", 0, func(*wasmtest.Code) {})
	wrongType := wasmtest.New()
	wrongType.Func("wasmill_alloc", wasmtest.I64, wasmtest.I32, 0, func(c *wasmtest.Code) { c.I32(8) })
	wrongType.Func("wasmill_process_v1", wasmtest.I32+wasmtest.I32, wasmtest.I64, 0, func(c *wasmtest.Code) { c.I64(0) })
	return append(badPreambles(),
		badModule{"cut in a section", good[:len(good)-5], ErrTruncated, "upload the file again"},
		badModule{"cut in a section header", good[:9], ErrTruncated, "0 are left"},
		badModule{"no exports", []byte("\x00asm\x01\x00\x00\x00"), ErrMissingExport, "memory, wasmill_alloc(i32) -> i32, wasmill_process_v1(i32, i32) -> i64"},
		badModule{"no process", with(func(p *wasmtest.Parts) { p.NoProcess = true }), ErrMissingExport, "missing export: wasmill_process_v1(i32, i32) -> i64; build it with"},
		badModule{"no alloc", with(func(p *wasmtest.Parts) { p.NoAlloc = true }), ErrMissingExport, "wasmill_alloc"},
		badModule{"no memory", with(func(p *wasmtest.Parts) { p.NoMemory = true }), ErrMissingExport, "missing export: memory"},
		badModule{"a command", command.Bytes(), ErrMissingExport, "-buildmode=c-shared"},
		badModule{"wrong signature", wrongType.Bytes(), ErrWrongSignature, "export wasmill_alloc is (i64) -> i32, it must be (i32) -> i32"},
		badModule{"unknown import", imports([4]string{"env", "abort", wasmtest.I32, ""}), ErrUnknownImport, "env.abort"},
		badModule{"unknown host function", imports([4]string{"wasmill_v1", "kv_get", "", ""}), ErrUnknownImport, "wasmill_v1.kv_get"},
		badModule{"unknown WASI function", imports([4]string{"wasi_snapshot_preview1", "proc_fork", "", ""}), ErrUnknownImport, "proc_fork"},
		badModule{"host function with another type", imports([4]string{"wasmill_v1", "now", "", wasmtest.I32}), ErrWrongSignature, "is () -> i32, it must be () -> i64"},
		badModule{"memory import", section(2, 1, 1, 'e', 1, 'm', 2, 0, 1), ErrUnknownImport, "e.m (not a function)"},
		badModule{"memory over the limit", with(func(p *wasmtest.Parts) { p.Memory = [2]int{1025, 0} }), ErrMemory, "67174400 bytes at the start and the limit is 67108864"},
		badModule{"table over the limit", with(func(p *wasmtest.Parts) { p.Tables = []int{1 << 19, 1<<19 + 1} }), ErrTable, "1048577 elements"},
		badModule{"many tables", with(func(p *wasmtest.Parts) { p.Tables = make([]int, 17) }), ErrTooLarge, "17 tables"},
		badModule{"shared memory", sharedMemory(), ErrMemory, "threads"},
		badModule{"64-bit memory", section(5, 1, 4, 1), ErrMalformed, "64-bit"},
		badModule{"two memories", section(5, 2, 0, 1, 0, 1), ErrTooLarge, "2 memories"},
		badModule{"garbage-collected types", section(1, 1, 0x5f, 0), ErrMalformed, "garbage-collected"},
		badModule{"unknown section", section(14), ErrMalformed, "section 14"},
		badModule{"section twice", append(section(1, 0), 1, 1, 0), ErrMalformed, "appears twice"},
		badModule{"bytes left over", section(1, 0, 0), ErrMalformed, "left over"},
		badModule{"number too long", section(1, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), ErrMalformed, "longer than 32 bits"},
		badModule{"export of a type that is not there", section(7, 1, 13, 'w', 'a', 's', 'm', 'i', 'l', 'l', '_', 'a', 'l', 'l', 'o', 'c', 0, 9), ErrWrongSignature, "must be a function"},
	)
}

func badPreambles() []badModule {
	return []badModule{
		{"nothing", nil, ErrNotWasm, "empty"},
		{"text", []byte("(module)"), ErrNotWasm, "not its text or source"},
		{"ELF", []byte("\x7fELF\x02\x01\x01\x00"), ErrNotWasm, "7f 45 4c 46"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), ErrComponent, "this is a WebAssembly component; build a core module"},
		{"version 2", []byte("\x00asm\x02\x00\x00\x00"), ErrNotWasm, "only version 1"},
		{"half a preamble", []byte("\x00asm\x01"), ErrTruncated, "fewer than"},
	}
}

func sharedMemory() []byte {
	wasm := wasmtest.With(wasmtest.Parts{Memory: [2]int{1, 2}})
	return bytes.Replace(wasm, []byte{5, 4, 1, 1, 1, 2}, []byte{5, 4, 1, 3, 1, 2}, 1)
}

func TestInspectRefuses(t *testing.T) {
	for _, c := range badModules() {
		_, err := Inspect(c.wasm, Limits{})
		if !errors.Is(err, c.want) || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %q, want %v with %q in it", c.name, err, c.want, c.text)
		}
	}
	if _, err := Inspect(make([]byte, 11), Limits{MaxBytes: 10}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a module over the size limit: %v", err)
	}
}

func TestInspectRefusesSegments(t *testing.T) {
	const many = "\xff\xff\xff\xff\x0f" // 2^32-1
	for name, c := range map[string]struct {
		wasm []byte
		want error
		text string
	}{
		"constant without end": {section(6, 1, 0x7f, 0, 0x41, 0x80), ErrTruncated, "are left"},
		"long constant":        {section(6, append([]byte{1, 0x7f, 0}, bytes.Repeat([]byte{0x41, 0}, 40)...)...), ErrMalformed, "more than 16 instructions"},
		"call in a constant":   {section(6, 1, 0x7f, 0, 0x10, 0, 0x0b), ErrMalformed, "instruction 0x10"},
		"element form":         {section(9, 1, 8), ErrMalformed, "form 8"},
		"element count":        {section(9, append([]byte{1, 1, 0}, many...)...), ErrMalformed, "4294967295 elements are announced"},
		"data form":            {section(11, 1, 3), ErrMalformed, "form 3"},
		"data size":            {section(11, append([]byte{1, 1}, many...)...), ErrTruncated, "are left"},
		"bodies":               {section(10, 1, 2, 0, 0x0b), ErrMalformed, "1 function bodies for 0 functions"},
		"body size":            {append(section(3, 1, 0), section(10, append([]byte{1}, many...)...)[8:]...), ErrTruncated, "are left"},
		"locals":               {append(section(3, 1, 0), section(10, 1, 8, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0x0b)[8:]...), ErrTooLarge, "4294967295 locals"},
	} {
		_, err := Inspect(c.wasm, Limits{})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want %v with %q in it", name, err, c.want, c.text)
		}
	}
	for form, body := range [][]byte{ // every form of element segment, with two entries
		{0, 0x41, 0, 0x0b, 2, 1, 2}, {1, 0, 2, 1, 2}, {2, 0, 0x41, 0, 0x0b, 0, 2, 1, 2}, {3, 0, 2, 1, 2},
		{4, 0x41, 0, 0x0b, 2, 0xd2, 1, 0x0b, 0xd2, 2, 0x0b}, {5, 0x70, 2, 0xd0, 0x70, 0x0b, 0xd2, 2, 0x0b},
		{6, 0, 0x41, 0, 0x0b, 0x70, 1, 0xd2, 1, 0x0b}, {7, 0x70, 1, 0xd2, 1, 0x0b},
	} {
		if _, err := Inspect(section(9, append([]byte{1}, body...)...), Limits{}); !errors.Is(err, ErrMissingExport) {
			t.Errorf("element form %d: %v, want to get as far as the exports", form, err)
		}
	}
}

func TestWithoutCustom(t *testing.T) {
	plain := wasmtest.Commands(0)
	name := append([]byte{0, 6, 4}, "nameX"...)
	with := slices.Concat(plain[:8], name, plain[8:], name)
	if got := WithoutCustom(with); !bytes.Equal(got, plain) {
		t.Errorf("got %d bytes, want %d", len(got), len(plain))
	}
	if _, err := Inspect(with, Limits{}); err != nil {
		t.Error(err)
	}
}

// A few bytes that announce millions of entries must cost a few bytes.
func TestLyingCountsAllocateNothing(t *testing.T) {
	for _, id := range []byte{1, 2, 3, 4, 5, 6, 7, 9, 10, 11} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Inspect(lying(id), Limits{})
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("section %d: %v", id, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("section %d: %d bytes were allocated for %d", id, n, len(lying(id)))
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(wasmtest.Identity())
	f.Add(wasmtest.Commands(1))
	for _, c := range badModules() {
		f.Add(c.wasm)
	}
	f.Fuzz(func(t *testing.T, wasm []byte) {
		info, err := Inspect(wasm, Limits{})
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%v is not an ErrInvalid", err)
			}
			return
		}
		if info.MemoryMinBytes > DefaultLimits().MaxMemoryBytes || info.Size != len(wasm) || len(info.Exports) < 2 {
			t.Errorf("accepted with %+v", info)
		}
	})
}
