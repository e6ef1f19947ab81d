#!/bin/sh
# Builds the C examples and writes guests.lock: what they were built from and with.
# Needs clang and wasm-ld (lld); CLANG names another clang. The guests and the lock stand in
# git, so that nobody needs a C compiler to run the tests; guests_test.go fails when a source
# has moved on without them.
set -eu
cd "$(dirname "$0")"

clang=${CLANG:-}
if [ -z "$clang" ]; then
    for c in clang-19 clang; do
        if command -v "$c" >/dev/null; then clang=$c; break; fi
    done
fi
if [ -z "$clang" ]; then
    echo "build.sh: no clang found; install clang and lld (Debian: clang-19 lld-19), or set CLANG" >&2
    exit 1
fi

flags="--target=wasm32-unknown-unknown -std=c11 -O2 -Wall -Wextra -Werror -nostdlib -ffreestanding -mbulk-memory -msimd128 -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=65536"

for name in examples/filter/filter examples/transform/transform examples/router/router conformance/mirror; do
    # shellcheck disable=SC2086 # the flags are words
    "$clang" $flags -o "$name.wasm" "$name.c"
    chmod 644 "$name.wasm"
done

{
    echo "# Written by build.sh. SHA-256 of every source and of the guest that it became."
    echo "toolchain $("$clang" --version | head -n 1)"
    echo "flags $flags"
    for file in build.sh wasmill.h examples/*/*.c conformance/*.c examples/*/*.wasm conformance/*.wasm; do
        echo "sha256 $(sha256sum "$file" | cut -d' ' -f1) $file"
    done
} >guests.lock
