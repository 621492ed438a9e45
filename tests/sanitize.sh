#!/usr/bin/env bash
# Builds rnnfast with AddressSanitizer and UndefinedBehaviorSanitizer in a virtual environment of its own and runs the test
# suite with it: any report fails the run. gcc; pass other pytest arguments to run less. The first lines of a failure name
# the source line. (Leaks are not looked for: the interpreter itself never frees everything.)
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${SANITIZE_VENV:-$(mktemp -d)/venv}
python3 -m venv "$venv"
RNNFAST_CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1" \
RNNFAST_LDFLAGS="-fsanitize=address,undefined" \
    "$venv/bin/pip" install -q ".[test]" pytest-xdist
preload="$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libubsan.so)"
# Python's own allocator would hide overruns of its objects; tests of how much memory there is or is taken need a plain build;
# the C tests are built by other compilers; programs, pages and conversions of weights would take ten minutes and more, and
# call no kernel that the other tests do not
left_out=()
for name in memory csrc "examples*" readme doctests site gallery programs compare bench_cells typing "keras*" "torch*" "onnx*" "weights_*"; do
    left_out+=(--ignore-glob "*/test_$name.py")
done
exec env LD_PRELOAD="$preload" PYTHONMALLOC=malloc OPENBLAS_NUM_THREADS=1 \
    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
    "$venv/bin/python" -m pytest -q -p no:cacheprovider \
    -n 2 --dist loadfile "${left_out[@]}" --deselect tests/test_threads.py::test_memory_that_runs_out "${@:-tests}"
