package metadata

import (
	"strconv"
	"strings"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/wasm/abi"
)

// CheckName refuses a name that breaks the rules, with the given code. What says what is being named: the
// rules for topics hold for every name.
func CheckName(code errcode.Code, what, name string) error {
	if fault := abi.NameFault(name); fault != "" {
		return errcode.New(code, "%s name %q is not legal: %s", what, clip(name), fault)
	}
	return nil
}

// clip shortens a name for an error's text.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// collisionKey is equal for names that differ in '.' and '_' only. Metric systems cannot distinguish
// them, and Kafka refuses the second such name too.
func collisionKey(name string) string { return strings.ReplaceAll(name, ".", "_") }

// ParseModuleRef splits "name" or "name@version". The version is 0 when there is none: the newest.
func ParseModuleRef(ref string) (name string, version int, err error) {
	name, number, found := strings.Cut(ref, "@")
	if found {
		v, convErr := strconv.ParseInt(number, 10, 32)
		if convErr != nil || v < 1 {
			return "", 0, errcode.New(errcode.UnknownModule, "module reference %q: the version after '@' must be a number from 1", clip(ref))
		}
		version = int(v)
	}
	if err := CheckName(errcode.UnknownModule, "module", name); err != nil {
		return "", 0, err
	}
	return name, version, nil
}

// ModuleRef is "name@version".
func ModuleRef(name string, version int) string { return name + "@" + strconv.Itoa(version) }
