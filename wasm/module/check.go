package module

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wasmill/wasmill/wasm/abi"
)

const wasiModule = "wasi_snapshot_preview1"

// hostImports are the functions that a module may import from the broker.
var hostImports = func() map[string]abi.Signature {
	imports := map[string]abi.Signature{}
	for _, f := range abi.HostFunctions {
		imports[f.Name] = f.Signature
	}
	return imports
}()

// wasiImports are the functions of WASI preview 1; their types are checked by the linker.
var wasiImports = strings.Fields(`args_get args_sizes_get clock_res_get clock_time_get environ_get environ_sizes_get
	fd_advise fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights
	fd_filestat_get fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_dir_name fd_prestat_get
	fd_pwrite fd_read fd_readdir fd_renumber fd_seek fd_sync fd_tell fd_write path_create_directory
	path_filestat_get path_filestat_set_times path_link path_open path_readlink path_remove_directory
	path_rename path_symlink path_unlink_file poll_oneoff proc_exit proc_raise random_get sched_yield
	sock_accept sock_recv sock_send sock_shutdown`)

func checkImports(m *binary, _ Limits) error {
	var unknown []string
	for _, i := range m.imports {
		wanted, host := hostImports[i.name]
		switch {
		case i.kind != kindFunction:
			unknown = append(unknown, fmt.Sprintf("%s.%s (not a function)", i.module, i.name))
		case i.module == wasiModule && slices.Contains(wasiImports, i.name):
		case i.module == abi.ImportModule && host:
			got, err := m.signature(i.typeIndex)
			if err != nil {
				return fmt.Errorf("import %s.%s: %w", i.module, i.name, err)
			}
			if got != wanted {
				return fmt.Errorf("%w: import %s.%s is %v, it must be %v", ErrWrongSignature, i.module, i.name, got, wanted)
			}
		default:
			unknown = append(unknown, i.module+"."+i.name)
		}
	}
	if len(unknown) > 0 {
		more := ""
		if len(unknown) > 8 {
			unknown, more = unknown[:8], fmt.Sprintf(" and %d more", len(unknown)-8)
		}
		return fmt.Errorf("%w: %s%s; a transform may import functions of %s and of %s only (see abi-v1.md, section 5)",
			ErrUnknownImport, strings.Join(unknown, ", "), more, abi.ImportModule, wasiModule)
	}
	return nil
}

func checkExports(m *binary, _ Limits) error {
	var missing []string
	if !slices.ContainsFunc(m.exports, func(e exportEntry) bool { return e.name == abi.ExportMemory && e.kind == kindMemory }) {
		missing = append(missing, abi.ExportMemory)
	}
	for _, want := range abi.Exports {
		at := slices.IndexFunc(m.exports, func(e exportEntry) bool { return e.name == want.Name })
		if at < 0 {
			if want.Required {
				missing = append(missing, want.Name+want.Signature.String())
			}
			continue
		}
		if err := m.checkExport(m.exports[at], want.Signature); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		hint := "build it with a Wasmill SDK or export them yourself (see abi-v1.md, section 1)"
		if slices.ContainsFunc(m.exports, func(e exportEntry) bool { return e.name == "_start" }) {
			hint = "this looks like a command with a main function; a transform is a reactor (Go: -buildmode=c-shared, Rust: crate-type cdylib)"
		}
		return fmt.Errorf("%w: %s; %s", ErrMissingExport, strings.Join(missing, ", "), hint)
	}
	return nil
}

func (m *binary) checkExport(e exportEntry, want abi.Signature) error {
	if e.kind != kindFunction || int64(e.index) >= int64(len(m.functions)) {
		return fmt.Errorf("%w: export %s must be a function %v", ErrWrongSignature, e.name, want)
	}
	got, err := m.signature(m.functions[e.index])
	if err != nil {
		return fmt.Errorf("export %s: %w", e.name, err)
	}
	if got != want {
		return fmt.Errorf("%w: export %s is %v, it must be %v", ErrWrongSignature, e.name, got, want)
	}
	return nil
}

func (m *binary) signature(typeIndex uint32) (abi.Signature, error) {
	if int64(typeIndex) >= int64(len(m.types)) {
		return abi.Signature{}, fmt.Errorf("%w: type %d of %d", ErrMalformed, typeIndex, len(m.types))
	}
	return m.types[typeIndex], nil
}

func checkMemory(m *binary, limits Limits) error {
	if len(m.memories) != 1 {
		return fmt.Errorf("%w: it has %d memories, it must have 1 of its own", ErrMemory, len(m.memories))
	}
	mem := m.memories[0]
	if mem.shared {
		return fmt.Errorf("%w: it is shared between threads; build without threads", ErrMemory)
	}
	if need := mem.min * abi.PageSize; need > limits.MaxMemoryBytes {
		return fmt.Errorf("%w: it needs %d bytes at the start and the limit is %d; build it with less or raise the stage's memory limit", ErrMemory, need, limits.MaxMemoryBytes)
	}
	return nil
}
