#!/usr/bin/env bash
# ThreadSanitizer, gcc: the thread team alone (tests/csrc/team.c), then rnnfast built with it in a virtual environment of its
# own under tests/test_threads.py (or other pytest arguments). Any report fails the run and is printed.
# Python and NumPy are not instrumented: what only they do is not watched, and their calls into libc are not judged.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# reports go to files: pytest keeps the output, and forked children leave without an exit status of the sanitizer's
export TSAN_OPTIONS="log_path=$work/report die_after_fork=0 ignore_noninstrumented_modules=1"
finish() {
    if compgen -G "$work/report*" >/dev/null; then cat "$work"/report*; exit 1; fi
}

gcc -fsanitize=thread -g -O1 -std=c11 -D_POSIX_C_SOURCE=200809L -pthread -Icsrc tests/csrc/team.c csrc/team.c csrc/memory.c \
    -o "$work/team"
"$work/team" || { finish; exit 1; }
finish

python3 -m venv "$work/venv"
RNNFAST_CFLAGS="-fsanitize=thread -fno-omit-frame-pointer -g -O1" RNNFAST_LDFLAGS="-fsanitize=thread" \
    "$work/venv/bin/pip" install -q ".[test]"
# the sanitizer's own thread keeps its affinity, and its memory is beyond any limit a test sets
env LD_PRELOAD="$(gcc -print-file-name=libtsan.so)" OPENBLAS_NUM_THREADS=1 "$work/venv/bin/python" -m pytest -q \
    -p no:cacheprovider --deselect tests/test_threads.py::test_workers_follow_the_affinity_of_the_caller \
    --deselect tests/test_threads.py::test_brief_calls_follow_the_affinity \
    --deselect tests/test_threads.py::test_a_forked_child_follows_its_own_affinity \
    --deselect tests/test_threads.py::test_memory_that_runs_out "${@:-tests/test_threads.py}" || { finish; exit 1; }
finish
