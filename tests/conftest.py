"""Fixtures shared by all tests: every ISA this CPU has, both dtypes, and threads that are used however small the work."""

import os

import numpy as np
import pytest
from foreign import needs

import rnnfast
from rnnfast import runtime
from rnnfast._kernels import _testing


def pytest_report_header() -> list[str]:
    config = rnnfast.show_config("dicts")
    return [f"rnnfast: {config['CPU']['name']}, ISAs tested: {', '.join(runtime.PRESENT)}"]


@pytest.fixture(params=runtime.PRESENT)
def isa(request):
    """Each test that asks for it runs once with every ISA."""
    with rnnfast.use_isa(request.param):
        yield request.param


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture(params=["rows", "units"])
def small_work_splits(request):
    """The cost model off: a call takes as many threads as are set, whatever the work, the CPUs and how busy the machine, and
    splits its steps by rows or by units (by units only where a batch has fewer than four rows a thread, or W_hh is large)."""
    rest, exceed = _testing.let_rest(False), _testing.exceed_cpus(True)
    before, threads = _testing.set_cost_model(1, 1 if request.param == "units" else 1e300), rnnfast.get_num_threads()
    yield request.param
    _testing.set_cost_model(*before)
    rnnfast.set_num_threads(threads)
    _testing.let_rest(rest)
    _testing.exceed_cpus(exceed)


# ---- other libraries: a test that asks for one is skipped where it is not installed -----------------------------------------
@pytest.fixture
def torch():
    found = needs("torch", "PyTorch")
    found.set_num_threads(1)
    return found


@pytest.fixture
def keras():
    try:
        import torch  # noqa: F401
    except ImportError:
        backend = "numpy"
    else:
        backend = "torch"
    os.environ.setdefault("KERAS_BACKEND", backend)
    return needs("keras", "Keras")


@pytest.fixture
def onnx():
    return needs("onnx", "ONNX")


@pytest.fixture
def onnxruntime():
    return needs("onnxruntime", "ONNX Runtime")


@pytest.fixture
def safetensors():
    return needs("safetensors.numpy", "safetensors") and needs("safetensors", "safetensors")
