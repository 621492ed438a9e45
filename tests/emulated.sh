#!/usr/bin/env bash
# The C tests (tests/csrc) built and run without Python: emulated.sh [WAY ...], all three by default.
#   gcc, clang   native, with each compiler
#   aarch64      cross-compiled, under qemu's user emulation
# All with the ISAs that stand in for wider ones (RF_EMULATE, csrc/isa/list.h). A way whose tools are not there says so and
# passes.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# try WAY COMPILER [RUNNER]
try() {
    local way=$1 cc=$2 runner=${3:-} tool program
    for tool in $cc $runner; do
        command -v "$tool" >/dev/null || { echo "$way skipped: no $tool here"; return; }
    done
    local flags=(-O2 -std=c11 -D_POSIX_C_SOURCE=200809L -DRF_EMULATE "-I$root/csrc" -ffp-contract=off -fno-math-errno)
    flags+=(-pthread -Wall -Wextra -Werror ${runner:+-static})
    echo "$way:"
    mkdir "$work/$way"
    (cd "$work/$way" && "$cc" "${flags[@]}" -c "$root"/csrc/*.c "$root"/csrc/*/*.c)
    for program in kernels ops programs team; do
        "$cc" "${flags[@]}" "tests/csrc/$program.c" "$work/$way"/*.o -lm -o "$work/$way/$program"
        $runner "$work/$way/$program" ${runner:+$([ "$program" != team ] || echo no-forks)}
    done
    for unit in "$work/$way"/*_f32.o; do # each ISA that was compiled in
        isa=$(basename "$unit" _f32.o)
        grep -q "rf_kernels_$isa" "$unit" || continue
        for dtype in F32 F64; do
            "$cc" "${flags[@]}" "-DRF_ISA=$isa" "-DRF_ISA_HEADER=\"isa/$isa.h\"" "-DRF_$dtype" \
                tests/csrc/operations.c "$work/$way"/*.o -lm -o "$work/$way/operations"
            $runner "$work/$way/operations"
        done
    done
}

newest_clang=$(compgen -c | grep -xE 'clang(-[0-9]+)?' | sort -V | tail -n 1 || true)
[ $# -gt 0 ] || set -- gcc clang aarch64
for way in "$@"; do
    case $way in
    gcc) try gcc gcc ;;
    clang) try clang "${newest_clang:-clang}" ;;
    aarch64) try aarch64 aarch64-linux-gnu-gcc qemu-aarch64 ;;
    *) echo "no such way: $way" >&2 && exit 2 ;;
    esac
done
