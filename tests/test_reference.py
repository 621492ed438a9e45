"""The reference by itself: the worked example, and its gradients against central finite differences in float64."""

import numpy as np
import pytest

import rnnfast
from rnnfast import reference
from rnnfast.cells import CELLS
from rnnfast.proof.prove import error, make_case

VARIANTS = [(cell, dict(variant.options)) for cell in CELLS.values() for variant in cell.variants]
IDS = [f"{cell.name} {option}" for cell, option in VARIANTS]


@pytest.mark.parametrize("module", [reference, rnnfast], ids=["reference", "rnnfast"])
def test_worked_example(module):
    """All weights 1, no bias, linear activation, two inputs, two hidden, two outputs."""
    x = np.array([(1.0, 1.0), (1.0, 1.0), (2.0, 2.0)])
    ones = np.ones((2, 2))
    hidden, last = module.simple_rnn(x, ones, ones, nonlinearity="identity")
    assert hidden.tolist() == [[2, 2], [6, 6], [16, 16]]
    assert last.tolist() == [16, 16]
    assert (hidden @ ones.T).tolist() == [[4, 4], [12, 12], [32, 32]]


def loss(case, module, arrays):
    """sum(dy * y) + sum(dstate * state) at the given arguments."""
    y, state = getattr(module, case.cell.name)(**arrays, **case.options, lengths=case.lengths, reverse=case.reverse)
    states = state if isinstance(state, tuple) else (state,)
    alive = np.ones(y.shape[:2], bool)
    if case.lengths is not None:
        alive = np.arange(len(y))[:, None] < case.lengths
    return float((case.dy * y * alive[..., None]).sum() + sum((d * a).sum() for d, a in zip(case.dstate, states, strict=True)))


@pytest.mark.parametrize("ragged", [False, True], ids=["all", "ragged"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize(("cell", "options"), VARIANTS, ids=IDS)
@pytest.mark.parametrize("module", [reference, rnnfast], ids=["reference", "rnnfast"])
def test_gradients_against_finite_differences(module, cell, options, reverse, ragged):
    case = make_case(cell, options, 4, 3, 2, 5, seed=3, reverse=reverse, ragged=ragged)
    found = case.call(module, np.float64)
    arrays = {"x": case.x, **case.weights, **case.initial}
    step = 1e-6
    for name, value in arrays.items():
        numeric = np.empty_like(value)
        for i in np.ndindex(value.shape):
            high, low = value.copy(), value.copy()
            high[i] += step
            low[i] -= step
            numeric[i] = (loss(case, module, {**arrays, name: high}) - loss(case, module, {**arrays, name: low})) / (2 * step)
        assert error(found[f"d{name}"], numeric) < 1e-7, name


def test_reference_takes_any_float_dtype():
    case = make_case(CELLS["gru"], {}, 3, 2, 2, 3, seed=0)
    for dtype in (np.float16, np.longdouble):
        assert case.call(reference, dtype)["y"].dtype == dtype


def test_reference_tape_is_used_once():
    case = make_case(CELLS["lstm"], {}, 3, 2, 2, 3, seed=0)
    *_, tape = reference.lstm(case.x, **case.weights, record=True)
    tape.backward(case.dy)
    with pytest.raises(RuntimeError, match="record again"):
        tape.backward(case.dy)
