package abi

import "strconv"

// MaxNameBytes bounds the name of a topic.
const MaxNameBytes = 249

// ByKey as a record's partition leaves the choice to the broker.
const ByKey int32 = -1

// NameFault says why a topic cannot have a name; empty when it can. Kafka's rules: 1 to 249 letters,
// digits, dots, underscores and hyphens, and not "." or "..". Views, modules and derivations keep to
// them as well. It allocates nothing for a legal name.
func NameFault[T string | []byte](name T) string {
	switch n := len(name); {
	case n == 0:
		return "it is empty"
	case n > MaxNameBytes:
		return "it is longer than " + strconv.Itoa(MaxNameBytes) + " bytes"
	case name[0] == '.' && (n == 1 || n == 2 && name[1] == '.'):
		return "it is a directory's name"
	}
	for i := range len(name) {
		if c := name[i]; !isNameByte(c) {
			return "it contains " + strconv.QuoteToASCII(string(rune(c))) + "; only a-z, A-Z, 0-9, '.', '_' and '-' are allowed"
		}
	}
	return ""
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}
