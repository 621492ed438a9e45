#!/usr/bin/env bash
# Which lines the tests run, as a table: Python by coverage.py, C and Cython by gcc's gcov. .ci/coverage.sh [PYTEST ARGUMENTS].
# By default all tests but those of the example programs, which takes ten minutes, since the kernels are hardly optimized.
#   COVERAGE_PYTHON=PYTHON   an environment with what `pip install ".[dev]"` brings, and coverage 7.10 or later; tests that compare with a
#                            framework run if it is there. Without this, an environment without frameworks is made.
#   COVERAGE_OUT=FOLDER      also write FOLDER/missing.txt, the lines that did not run
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- tests --ignore tests/test_examples.py
[ -z "${COVERAGE_OUT:-}" ] || COVERAGE_OUT=$(realpath -m "$COVERAGE_OUT")

python=${COVERAGE_PYTHON:-}
if [ -z "$python" ]; then
    python3 -m venv "$work/venv"
    python=$work/venv/bin/python
    "$python" -m pip install -q "setuptools>=77" "Cython>=3.1" "numpy>=2.0" "coverage>=7.10" \
        pytest pytest-benchmark hypothesis threadpoolctl
fi
# a copy, built in place: counts are written beside the object files, whatever installs and removes the package
mkdir "$work/tree"
git ls-files -z | xargs -0 cp --parents -t "$work/tree"
cd "$work/tree"
# atomic counts: the worker threads share them
RNNFAST_CFLAGS="--coverage -fprofile-update=atomic -O1" RNNFAST_LDFLAGS="--coverage" RNNFAST_EMULATE=1 \
    "$python" setup.py -q build_ext --inplace
export PYTHONPATH="$work/tree/src${PYTHONPATH:+:$PYTHONPATH}" COVERAGE_FILE="$work/.coverage"
# tests that need a fresh process, such as those of Keras's backends, count too (coverage 7.10 and later)
printf '[run]\nbranch = true\nsource = %s\npatch = subprocess\n' "$work/tree/src/rnnfast" >"$work/coveragerc"
export COVERAGE_RCFILE="$work/coveragerc"
"$python" -m coverage run -m pytest -q -p no:cacheprovider "$@" || echo "tests failed: the table tells what ran all the same"
"$python" -m coverage combine -q
"$python" -m coverage json -q -o "$work/python.json"
mkdir "$work/gcov"
cd "$work/gcov"
find "$work/tree/build" -name '*.gcda' -exec gcov --json-format {} + >/dev/null 2>&1
"$python" "$root/.ci/coverage_table.py" "$work/tree" "$work/python.json" "$work/gcov" "${COVERAGE_OUT:-}"
