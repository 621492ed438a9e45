"""pytest-benchmark suite over the named shapes: ``pytest bench/ --benchmark-only``.

Forward (frozen layer; one step where T = 1) and training step (record, backward) of every cell and dtype. Figures are of
this machine at this moment: compare runs with ``--benchmark-compare``, and with peers by ``bench/compare.py``.
"""

import numpy as np
import pytest

import rnnfast
from rnnfast.cells import CELLS
from rnnfast.layers import LAYERS
from rnnfast.proof.contenders import Task
from rnnfast.shapes import SHAPES

CASES = [(cell, shape) for shape in SHAPES for cell in CELLS]
IDS = [f"{shape.name}-{cell}" for cell, shape in CASES]


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


def layer_and_x(cell, shape, dtype):
    net = LAYERS[cell](shape.I, shape.H, shape.num_layers, bidirectional=shape.bidirectional, dtype=dtype, rng=0)
    return net, np.random.default_rng(0).standard_normal((shape.T, shape.B, shape.I)).astype(dtype)


def note(benchmark, cell, shape, training):
    """The figures that turn a time into GFLOP/s."""
    config = rnnfast.show_config("dicts")
    benchmark.extra_info.update(
        gflop=Task(cell, shape, training).flops / 1e9, isa=config["CPU"]["isa"], threads=rnnfast.get_num_threads()
    )


@pytest.mark.parametrize(("cell", "shape"), CASES, ids=IDS)
def test_forward(benchmark, cell, shape, dtype):
    net, x = layer_and_x(cell, shape, dtype)
    fast = net.freeze()
    note(benchmark, cell, shape, training=False)
    if shape.T == 1:
        y, state = fast.step(x[0])
        benchmark(fast.step, x[0], state, out=(y, state))
    else:
        benchmark(fast, x)


@pytest.mark.parametrize(
    ("cell", "shape"), [c for c in CASES if c[1].training], ids=[i for i, c in zip(IDS, CASES, strict=True) if c[1].training]
)
def test_training_step(benchmark, cell, shape, dtype):
    net, x = layer_and_x(cell, shape, dtype)
    dy = np.ones((shape.T, shape.B, shape.directions * shape.H), dtype)
    note(benchmark, cell, shape, training=True)
    benchmark(lambda: net.record(x)[2].backward(dy))
