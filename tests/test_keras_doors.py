"""Keras on rnnfast: tests/keras_backend.py and Keras's own tests with rnnfast enabled, on each backend; errors of enable."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERAS_TESTS = ("lstm", "gru", "simple_rnn", "bidirectional", "rnn", "stacked_rnn_cells", "dropout_rnn_cell")
OWN = """
import sys, pytest, keras, rnnfast.keras
if sys.argv[1] == "fused":
    rnnfast.keras.enable()
status = pytest.main(["-q", "-p", "no:cacheprovider", "-W", "ignore", *sys.argv[2:]])
for row in rnnfast.keras.report():
    print("ROW", row.kind, row.fused, row.calls, row.how)
sys.exit(int(status))
"""


def needs(*modules):
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{' and '.join(missing)} not installed (pip install keras torch)")


ON_BACKENDS = [pytest.param("numpy", marks=needs("keras")), pytest.param("torch", marks=needs("keras", "torch"))]


def run(*arguments, backend, folder):
    """In a process whose Keras has this backend, with none of the options that the caller gave pytest."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(map(str, [HERE, *sys.path]))}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=folder, timeout=600
    )


@pytest.mark.parametrize("backend", ON_BACKENDS)
def test_fused_layers_against_keras(backend, tmp_path):
    done = run("-m", "pytest", "-q", "-x", "-W", "ignore", str(HERE / "keras_backend.py"), backend=backend, folder=tmp_path)
    print(done.stdout[-3000:], done.stderr[-1000:])
    assert done.returncode == 0


@pytest.mark.parametrize("backend", ON_BACKENDS)
def test_keras_own_tests_pass_on_the_fused_path(backend, tmp_path):
    folder = Path(importlib.util.find_spec("keras").origin).parent / "src" / "layers" / "rnn"
    files = [str(folder / f"{name}_test.py") for name in KERAS_TESTS]
    if not all(map(os.path.exists, files)):
        pytest.skip("this build of Keras comes without its tests")
    plain, fused = (run("-c", OWN, how, *files, backend=backend, folder=tmp_path) for how in ("plain", "fused"))
    print(fused.stdout[-3000:], fused.stderr[-1000:])
    counts = [re.search(r"\d+ passed(, \d+ skipped)?", done.stdout).group() for done in (plain, fused)]
    assert fused.returncode == plain.returncode == 0 and counts[0] == counts[1]
    rows = re.findall(r"^ROW (\w+) (True|False) (\d+) (.*)$", fused.stdout, re.MULTILINE)
    assert "ROW" not in plain.stdout
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        assert sum(int(calls) for name, was, calls, _ in rows if (name, was) == (kind, "True")) >= 30
    left = {(name, how) for name, was, _, how in rows if was == "False"}
    allowed = {("RNN", "only the layers LSTM, GRU and SimpleRNN run on rnnfast; use one of them instead of RNN around a cell")}
    half = "rnnfast computes in float32 and float64, and the weights are float16; make the layer with dtype='float32'"
    assert left <= allowed | {(name, half) for name in ("LSTM", "GRU", "SimpleRNN")}


@needs("keras", "jax")
def test_another_backend_is_an_error(tmp_path):
    code = "import rnnfast.keras; rnnfast.keras.enable()"
    done = run("-c", code, backend="jax", folder=tmp_path)
    assert done.returncode == 1 and "RuntimeError" in done.stderr
    assert "expected Keras's numpy or torch backend, got jax; set KERAS_BACKEND=torch" in done.stderr


def test_without_keras_the_error_names_the_extra(tmp_path):
    code = "import sys; sys.modules['keras'] = None; import rnnfast.keras; rnnfast.keras.disable(); rnnfast.keras.enable()"
    done = run("-c", code, backend="numpy", folder=tmp_path)
    assert done.returncode == 1 and 'Keras is not installed; pip install "rnnfast[keras]"' in done.stderr


def test_importing_the_module_imports_no_framework(tmp_path):
    code = "import sys, rnnfast.keras; print(rnnfast.keras.report(), {'keras', 'torch'} & set(sys.modules))"
    done = run("-c", code, backend="numpy", folder=tmp_path)
    assert done.stdout.strip() == "no recurrent layer was called since rnnfast.keras.enable() set()"
