#!/bin/sh
# Makes packages.jsonl.gz: 5,000 packages of the Debian index, one JSON object a line, taken evenly
# from the list of all names. The same index gives the same lines.
#
# Needs a Debian system whose lists are fresh (`apt-get update`), with apt-cache, awk, sort and gzip.
# Usage: tests/testdata/debian/make.sh [SUITE]      the default suite is bookworm
set -eu
LC_ALL=C
export LC_ALL

suite=${1:-bookworm}
count=5000
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Debian's own packages alone: what the machine has from other sources, or has installed, stays out.
for mirror in "debian $suite" "debian $suite-updates" "debian-security $suite-security"; do
	set -- $mirror
	echo "deb http://deb.debian.org/$1 $2 main"
done >"$work/sources.list"
mkdir "$work/cache"
apt-cache -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
	-o Dir::State::status=/dev/null -o Dir::Cache="$work/cache" dumpavail >"$work/available"

# One line per version: name, version, JSON.
awk '
	function quoted(text) {
		gsub(/\\/, "\\\\", text)
		gsub(/"/, "\\\"", text)
		gsub(/\t/, "\\t", text)
		return "\"" text "\""
	}
	function put() {
		if (field["Package"] == "" || field["Filename"] !~ /^pool\//) return
		printf "%s\t%s\t{\"name\":%s,\"version\":%s,\"section\":%s,\"maintainer\":%s,\"size\":%d,\"homepage\":%s,\"description\":%s}\n",
			field["Package"], field["Version"], quoted(field["Package"]), quoted(field["Version"]), quoted(field["Section"]),
			quoted(field["Maintainer"]), field["Size"], quoted(field["Homepage"]), quoted(field["Description"])
	}
	/^$/ { put(); split("", field); next }
	/^[^ \t]/ { colon = index($0, ":"); field[substr($0, 1, colon - 1)] = substr($0, colon + 2) }
	END { put() }
' "$work/available" >"$work/versions"

# Of every name the newest version, then every k-th name.
sort -t "$(printf '\t')" -k1,1 -k2,2V "$work/versions" |
	awk -F '\t' '$1 != name && NR > 1 { print last } { name = $1; last = $3 } END { print last }' >"$work/packages"
total=$(wc -l <"$work/packages")
if [ "$total" -lt "$count" ]; then
	echo "make.sh: the index has $total packages, $count are needed; run apt-get update first" >&2
	exit 1
fi
awk -v total="$total" -v count="$count" '
	int(NR * count / total) > int((NR - 1) * count / total)
' "$work/packages" >"$work/packages.jsonl"

gzip -9nc "$work/packages.jsonl" >"$here/packages.jsonl.gz"
echo "packages in the index: $total"
echo "packages taken:        $(wc -l <"$work/packages.jsonl")"
echo "SHA-256 of the lines:  $(sha256sum <"$work/packages.jsonl" | cut -d ' ' -f 1)"
