"""The examples in docstrings run, and print what stands under them; every public function and class that can be called has one.
They begin with ``import numpy as np``, ``import rnnfast`` and ``from rnnfast import nn, ops``."""

import doctest
import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

import rnnfast
from rnnfast import nn, ops

PACKAGE = Path(rnnfast.__file__).parent
OPTIONAL = ("keras", "onnx", "safetensors", "torch")  # an example that imports one that is missing is skipped
WITHOUT = {"Gradients", "History", "Module", "Optimizer", "Tape"}  # what others return, and what subclasses share
WITHOUT |= {"register_threadpoolctl"}  # in README, which has threadpoolctl


def with_examples():
    """(name, doctest) of each docstring, or (module, the optional package that keeps it from being imported)."""
    for file in sorted(PACKAGE.rglob("*.py")):
        if ">>>" not in file.read_text(encoding="utf-8"):
            continue
        name = ".".join(["rnnfast", *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as missing:
            yield pytest.param(missing, id=name)
            continue
        for found in doctest.DocTestFinder(exclude_empty=True).find(module, name, extraglobs={}):
            if found.examples:
                yield pytest.param(found, id=found.name)


@pytest.mark.parametrize("found", list(with_examples()))
def test_example(found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    threads = rnnfast.get_num_threads()
    try:
        if isinstance(found, ModuleNotFoundError):
            raise found
        found.globs = {"np": np, "rnnfast": rnnfast, "nn": nn, "ops": ops}
        doctest.DebugRunner(verbose=False).run(found)
    except doctest.DocTestFailure as failure:
        pytest.fail(f"{failure.example.source}expected {failure.example.want}got {failure.got}")
    except (doctest.UnexpectedException, ModuleNotFoundError) as problem:
        error = problem.exc_info[1] if isinstance(problem, doctest.UnexpectedException) else problem
        if isinstance(error, ModuleNotFoundError) and error.name in OPTIONAL:
            pytest.skip(f"{error.name} is not installed")
        raise error from None
    finally:
        rnnfast.set_num_threads(threads)


def test_every_public_name_has_an_example():
    missing = []
    for module in (rnnfast, nn, ops, rnnfast.weights, rnnfast.onnx_ops):
        for name in module.__all__:
            thing = getattr(module, name)
            if name not in WITHOUT and callable(thing) and ">>>" not in (inspect.getdoc(thing) or ""):
                missing.append(f"{module.__name__}.{name}")
    assert not missing
