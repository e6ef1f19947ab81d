package tests

import (
	"net/mail"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wasmill/wasmill/tests/testdata/debian"
)

// packageFaults lists what is wrong with the packages of the data set; empty is what the demo needs.
func packageFaults(packages []debian.Package) map[string]int {
	faults := map[string]int{}
	sections := map[string]int{}
	last := ""
	for _, p := range packages {
		check := func(ok bool, fault string) {
			if !ok {
				faults[fault]++
			}
		}
		check(p.Name > last, "not sorted by name, or twice")
		last = p.Name
		check(p.Version != "", "no version")
		check(p.Section != "" && !strings.ContainsAny(p.Section, " /"), "no plain section")
		check(p.Size > 0, "no size")
		check(p.Homepage == "" || strings.Contains(p.Homepage, "://"), "homepage is no URL")
		check(p.Description != "", "no description")
		check(utf8.ValidString(p.Maintainer+p.Description+p.Homepage), "not UTF-8")
		check(hasAddress(p.Maintainer), "maintainer without an e-mail address")
		sections[p.Section]++
	}
	for _, s := range []string{"libs", "python", "games", "net", "utils", "web", "mail"} {
		if sections[s] < 20 {
			faults["too few packages in section "+s]++
		}
	}
	if len(packages) != debian.Count {
		faults["wrong number of packages"]++
	}
	return faults
}

// hasAddress wants an address in angle brackets at the end. The name before it may hold characters
// that a mail header would have quoted.
func hasAddress(maintainer string) bool {
	open := strings.LastIndexByte(maintainer, '<')
	if open < 1 || !strings.HasSuffix(maintainer, ">") {
		return false
	}
	address, err := mail.ParseAddress(maintainer[open:])
	return err == nil && strings.Contains(address.Address, "@")
}

func TestDebianPackages(t *testing.T) {
	packages, err := debian.Packages() // checks the hash, and that there are no other fields
	if err != nil {
		t.Fatal(err)
	}
	for fault, n := range packageFaults(packages) {
		t.Errorf("%s: %d times", fault, n)
	}
	empty := 0
	for _, p := range packages {
		if p.Homepage == "" {
			empty++
		}
	}
	if empty == 0 || empty > debian.Count/5 {
		t.Errorf("%d packages have no homepage; a few are expected", empty)
	}
}

func TestBadPackagesAreFound(t *testing.T) {
	faults := packageFaults([]debian.Package{
		{Name: "b", Version: "1", Section: "libs", Maintainer: "B <b@example.org>", Size: 1, Description: "fine"},
		{Name: "a", Section: "non free/x", Maintainer: "nobody", Homepage: "nowhere", Description: "\xff"},
		{Name: "c", Maintainer: "C <c>"},
	})
	for _, want := range []string{
		"not sorted by name, or twice", "no version", "no plain section", "no size", "homepage is no URL", "no description",
		"not UTF-8", "maintainer without an e-mail address", "wrong number of packages", "too few packages in section games",
	} {
		if faults[want] == 0 {
			t.Errorf("%q was not found", want)
		}
	}
}
