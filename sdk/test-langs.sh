#!/bin/sh
# Builds the Rust, AssemblyScript and C guests - examples, conformance guests, and new
# projects from the templates - with the real toolchains, and runs them through the engine:
#
#     sdk/test-langs.sh [c] [rust] [ts]        all three by default
#
# Needs, per language:
#   c      clang and wasm-ld; CLANG names another clang
#   ts     node and npm; the AssemblyScript compiler is installed from the npm registry
#   rust   cargo with the target wasm32-unknown-unknown; CARGO names another cargo,
#          CARGO_FLAGS adds flags, such as -Zbuild-std=std,panic_abort where the target's
#          standard library must be built from source
# A language whose toolchain is missing fails the script: name those that are to be tested.
set -eu
cd "$(dirname "$0")"
sdk=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GUESTS="$work/guests"
: "${CARGO:=cargo}" "${CARGO_FLAGS:=}"

project() { # project LANG: writes a new project to $work/LANG/my-transform
    go run ./newproject -lang "$1" -name my-transform "$work/$1/my-transform"
    mkdir -p "$GUESTS/$1"
}

test_c() {
    project c
    make -C "$work/c/my-transform" build ${CLANG:+CLANG="$CLANG"}
    cp "$work/c/my-transform/my-transform.wasm" "$GUESTS/c/project.wasm"
    cp -r c "$work/c/sdk"
    "$work/c/sdk/build.sh"
    cp "$work/c/sdk/conformance/mirror.wasm" "$GUESTS/c/"
}

test_rust() {
    project rust
    make -C "$work/rust/my-transform" build CARGO="$CARGO" CARGO_FLAGS="$CARGO_FLAGS"
    cp "$work/rust/my-transform/my-transform.wasm" "$GUESTS/rust/project.wasm"
    cp -r rust "$work/rust/sdk"
    # shellcheck disable=SC2086 # the flags are words
    (cd "$work/rust/sdk" && RUSTFLAGS="-C link-arg=-zstack-size=65536" \
        "$CARGO" build --offline --release --examples --target wasm32-unknown-unknown $CARGO_FLAGS)
    for name in filter transform router mirror; do
        cp "$work/rust/sdk/target/wasm32-unknown-unknown/release/examples/$name.wasm" "$GUESTS/rust/"
    done
}

test_ts() {
    project ts
    make -C "$work/ts/my-transform" build
    cp "$work/ts/my-transform/my-transform.wasm" "$GUESTS/ts/project.wasm"
    cp -r assemblyscript "$work/ts/my-transform/sdk"
    for name in filter transform router mirror; do
        (cd "$work/ts/my-transform/sdk" && npx asc "examples/$name.ts" -O3 --runtime incremental \
            --enable bulk-memory --exportStart _initialize --use abort=wasmill/abort -o "$GUESTS/ts/$name.wasm")
    done
}

for lang in ${*:-c rust ts}; do
    case $lang in
    c | rust | ts) "test_$lang" ;;
    *) echo "test-langs.sh: no language $lang; there are c, rust and ts" >&2 && exit 2 ;;
    esac
done
cd "$sdk/.."
ls -l "$GUESTS"/*
go test -count=1 -tags langs ./sdk/langs "-v"
