package metadata

import (
	"slices"
	"strings"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

// moduleFields are the record fields that a module may declare, in the order in which they are stored.
var moduleFields = []string{"key", "value", "headers", "timestamp"}

const maxABILength = 64

func (c AddModule) apply(next *Image, at time.Time) (Result, error) {
	if err := CheckName(errcode.InvalidModule, "module", c.Name); err != nil {
		return Result{}, err
	}
	if !isHash(c.SHA256) {
		return Result{}, errcode.New(errcode.InvalidModule, "module %s: %q is not a SHA-256 in lower-case hex", c.Name, clip(c.SHA256))
	}
	if c.Size < 1 {
		return Result{}, errcode.New(errcode.InvalidModule, "module %s: its size is %d bytes", c.Name, c.Size)
	}
	if c.ABI == "" || len(c.ABI) > maxABILength {
		return Result{}, errcode.New(errcode.InvalidModule, "module %s: %q does not name an ABI", c.Name, clip(c.ABI))
	}
	fields, err := canonicalFields(c.Name, c.Fields)
	if err != nil {
		return Result{}, err
	}
	if newest := next.Module(c.Name, 0); newest != nil && newest.SHA256 == c.SHA256 {
		return Result{Module: newest}, nil
	}
	m := &Module{
		Name:      c.Name,
		Version:   int(next.count(countModule, c.Name)),
		SHA256:    c.SHA256,
		Size:      c.Size,
		ABI:       c.ABI,
		Fields:    fields,
		CreatedAt: at,
	}
	versions := append(slices.Clone(next.modules[c.Name]), m)
	next.modules = with(next.modules, c.Name, versions)
	return Result{Changed: true, Created: true, Module: m}, nil
}

func (c DeleteModule) apply(next *Image, _ time.Time) (Result, error) {
	m, err := next.mustModule(c.Name, c.Version)
	if err != nil {
		return Result{}, err
	}
	if users := next.moduleUsers(c.Name, c.Version); len(users) > 0 {
		what := c.Name
		if c.Version != 0 {
			what = ModuleRef(c.Name, c.Version)
		}
		return Result{}, errcode.New(errcode.ModuleInUse, "module %s is used by %s: let those name another version first", what, listed(users)).
			With("used_by", users)
	}
	var left []*Module
	if c.Version != 0 {
		left = slices.DeleteFunc(slices.Clone(next.modules[c.Name]), func(m *Module) bool { return m.Version == c.Version })
	}
	if len(left) == 0 {
		next.modules = without(next.modules, c.Name)
	} else {
		next.modules = with(next.modules, c.Name, left)
	}
	return Result{Changed: true, Module: m}, nil
}

// mustModule is a version of a module, 0 for the newest, or UNKNOWN_MODULE.
func (i *Image) mustModule(name string, version int) (*Module, error) {
	if m := i.Module(name, version); m != nil {
		return m, nil
	}
	if newest := i.Module(name, 0); newest != nil {
		return nil, errcode.New(errcode.UnknownModule, "module %s has no version %d; the newest is %d", name, version, newest.Version).
			With("newest_version", newest.Version)
	}
	return nil, errcode.New(errcode.UnknownModule, "there is no module %q: upload it first", clip(name))
}

// canonicalFields sorts the fields that a module reads and removes duplicates.
func canonicalFields(module string, fields []string) ([]string, error) {
	for _, f := range fields {
		if !slices.Contains(moduleFields, f) {
			return nil, errcode.New(errcode.InvalidModule, "module %s: %q is not a field of a record; the fields are %s",
				module, clip(f), strings.Join(moduleFields, ", "))
		}
	}
	kept := make([]string, 0, len(moduleFields))
	for _, f := range moduleFields {
		if slices.Contains(fields, f) {
			kept = append(kept, f)
		}
	}
	return kept, nil
}

// isHash reports whether s is 64 digits of lower-case hex.
func isHash(s string) bool {
	const digits = "0123456789abcdef"
	return len(s) == 64 && strings.Trim(s, digits) == ""
}

// listed joins the first names of a list for an error's text. The error's fields have all of them.
func listed(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}
