package main

import (
	"bytes"
	"unicode/utf8"
)

// What counts as an address is what people and mail programs write in running text:
// letters, digits and a few signs, an @, and a domain of at least two labels whose last one
// is no number. Letters outside ASCII count as letters. Quoted local parts ("a b"@x.org) and
// domains in brackets are not recognised.

// appendRedacted appends text with every address replaced. What hangs together like
// a@b.cd@e.fg is replaced as one, since the rest would read as an address again.
func appendRedacted(dst, text, replacement []byte) (_ []byte, found bool) {
	from := 0 // text before from is in dst
	for at := 0; ; at++ {
		next := bytes.IndexByte(text[at:], '@')
		if next < 0 {
			break
		}
		at += next
		start := localStart(text, from, at)
		chained := found && start == from
		for start < at && text[start] == '.' {
			start++
		}
		end := domainEnd(text, at+1)
		if end == at+1 || start == at && !chained {
			continue
		}
		if !chained {
			dst = append(append(dst, text[from:start]...), replacement...)
		}
		from, at, found = end, end-1, true
	}
	return append(dst, text[from:]...), found
}

// localStart finds where the run of characters of a local part before the @ begins.
func localStart(text []byte, from, at int) int {
	start := at
	for start > from {
		r, n := utf8.DecodeLastRune(text[from:start])
		if !isLocal(r, n) {
			break
		}
		start -= n
	}
	return start
}

// domainEnd finds where the domain that begins at start ends; start when there is none.
func domainEnd(text []byte, start int) int {
	good := start
	for at, labels := start, 1; ; labels++ {
		end, letters := label(text, at)
		if end == at {
			return good
		}
		if labels > 1 && letters && end-at > 1 {
			good = end
		}
		if end == len(text) || text[end] != '.' {
			return good
		}
		at = end + 1
	}
}

// label reads one label of a domain: letters, digits and inner hyphens.
func label(text []byte, start int) (end int, letters bool) {
	end = start
	for i := start; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		letter := isLetter(r, n)
		hyphen := r == '-' && i > start
		if !letter && !hyphen && (r < '0' || r > '9') {
			break
		}
		i += n
		letters = letters || letter
		if !hyphen {
			end = i
		}
	}
	return end, letters
}

func isLocal(r rune, n int) bool {
	switch r {
	case '.', '_', '%', '+', '-', '!', '#', '$', '\'', '*', '^', '~':
		return true
	}
	return r >= '0' && r <= '9' || isLetter(r, n)
}

// isLetter takes every character outside ASCII for a letter but the blocks of punctuation.
func isLetter(r rune, n int) bool {
	switch {
	case r < utf8.RuneSelf:
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	case r == utf8.RuneError && n == 1, // a broken byte
		r <= 0xBF, r == 0xD7, r == 0xF7, // Latin-1 signs
		r >= 0x2000 && r <= 0x206F, r >= 0x3000 && r <= 0x303F, r >= 0xFF00 && r <= 0xFF0F:
		return false
	}
	return true
}
