"""mypy --strict on a typed example and on the package, and the stubs against the compiled modules."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import rnnfast
from rnnfast._kernels import _backward, _call, _capi, _code, _core, _fast_path, _forward, _order, _testing, _weights

ROOT = Path(__file__).parent.parent


def mypy(*arguments):
    pytest.importorskip("mypy", reason="mypy is not installed (pip install '.[dev]')")
    return subprocess.run([sys.executable, "-m", "mypy", *arguments], capture_output=True, text=True, cwd=ROOT)


def test_typed_example():
    done = mypy("--strict", "tests/typed_example.py")
    assert done.returncode == 0, done.stdout
    subprocess.run([sys.executable, "tests/typed_example.py"], check=True, cwd=ROOT, capture_output=True)


def test_the_package_itself():
    done = mypy("src/rnnfast")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", [_core, _weights, _code, _order, _forward, _backward, _call, _fast_path, _capi, _testing])
def test_stubs_name_what_is_there(module):
    """Every public function and class of a compiled module stands in its stub, and nothing else does."""
    import ast

    folder = Path(rnnfast.__file__).parent / "_kernels"
    stub = ast.parse((folder / f"{module.__name__.rpartition('.')[2]}.pyi").read_text())
    written = {node.name for node in stub.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    there = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isclass(value) or callable(value)) and value.__module__ == module.__name__
    }
    assert written == there


def test_py_typed():
    assert (Path(rnnfast.__file__).parent / "py.typed").exists()
