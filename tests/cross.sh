#!/usr/bin/env bash
# The C tests (tests/csrc) built with the cross compiler `zig cc` (Clang; pip install ziglang) for systems that are not this one,
# and run where an emulator for them is installed: cross.sh [WAY ...], all by default.
#   windows   x86-64, under wine
#   musl      x86-64 Linux with musl, natively
#   aarch64   AArch64 Linux with glibc, under qemu's user emulation; with musl too
#   macos     arm64 and x86-64, linked only: nothing here can run them
# Says of each what was run, what was skipped, and why. PYTHON (default: python3) names the interpreter with ziglang.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
zig=("${PYTHON:-python3}" -m ziglang cc)
"${zig[@]}" --version >"$work/version" 2>&1 || { echo "everything skipped: no ziglang in ${zig[0]} (pip install ziglang)"; exit 0; }

# build TARGET ISAS: the programs of tests/csrc in $work/TARGET
build() {
    local target=$1 isas=$2 unit program isa dtype
    local flags=(-target "$target" -O2 -std=c11 -D_POSIX_C_SOURCE=200809L -DRF_EMULATE "-I$root/csrc" -ffp-contract=off)
    flags+=(-fno-math-errno -Wall -Wextra -Werror)
    mkdir "$work/$target"
    for unit in csrc/*.c csrc/*/*.c; do # zig cc -c takes one
        "${zig[@]}" "${flags[@]}" -c "$unit" -o "$work/$target/$(basename "$unit" .c).o"
    done
    for program in kernels ops programs team; do
        "${zig[@]}" "${flags[@]}" "tests/csrc/$program.c" "$work/$target"/*.o -lm -o "$work/$target/$program.exe"
    done
    for isa in $isas; do
        for dtype in F32 F64; do
            "${zig[@]}" "${flags[@]}" "-DRF_ISA=$isa" "-DRF_ISA_HEADER=\"isa/$isa.h\"" "-DRF_$dtype" tests/csrc/operations.c \
                "$work/$target"/*.o -lm -o "$work/$target/operations_${isa}_$dtype.exe"
        done
    done
}

# try TARGET ISAS [RUNNER ...]: builds, and runs what was built; RUNNER `none`: only builds
try() {
    local target=$1 isas=$2 program
    shift 2
    build "$target" "$isas"
    if [ "${1:-}" = none ]; then
        echo "$target: built and linked; not run: there is no emulator of macOS"
    elif [ $# -gt 0 ] && ! command -v "$1" >/dev/null; then
        echo "$target: built and linked; not run: no $1 here"
    else
        echo "$target:"
        for program in "$work/$target"/*.exe; do
            "$@" "$program" $([ "$program" != "$work/$target/team.exe" ] || [ "${1:-}" != qemu-aarch64 ] || echo no-forks)
        done
    fi
}

x86="scalar avx2 avx512 avx512_pairs"
arm="scalar neon"
[ $# -gt 0 ] || set -- windows musl aarch64 macos
for way in "$@"; do
    case $way in
    windows)
        export WINEDEBUG=-all WINEPREFIX=$work/wine
        ! command -v wine >/dev/null || wine cmd /c exit >/dev/null 2>&1 # makes its folder, and says so
        try x86_64-windows-gnu "$x86" wine
        ! command -v wineserver >/dev/null || wineserver -w # the folder must outlive it
        ;;
    musl) try x86_64-linux-musl "$x86" ;;
    aarch64)
        try aarch64-linux-musl "$arm" qemu-aarch64
        try aarch64-linux-gnu "$arm" qemu-aarch64 -L /usr/aarch64-linux-gnu
        ;;
    macos)
        try aarch64-macos "$arm" none
        try x86_64-macos "$x86" none
        ;;
    *) echo "no such way: $way" >&2 && exit 2 ;;
    esac
done
