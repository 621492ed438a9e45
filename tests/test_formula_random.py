"""Random formulas through layers: kernels against the formula, gradients by check_cell, bits however a result is computed."""

import numpy as np
import pytest
from formula_cells import data, differing
from stacks import same
from test_formula_stored import as_loaded
from test_plan import random_formula

import rnnfast
from rnnfast._kernels import _testing
from rnnfast.declared import class_of

pytest.importorskip("hypothesis", reason="hypothesis is not installed (pip install '.[dev]')")
from hypothesis import example, given, settings
from hypothesis import strategies as st

NAMES = ["h", "c", "s"]


class Used:
    """x or U of a formula. All that is made of it is in `seen`, so that nothing is asked for in vain."""

    def __init__(self, of, seen, *, products):
        self._of, self._seen, self._products = of, seen, products

    def __getattr__(self, gate):
        found = getattr(self._of, gate)
        if not self._products:
            self._seen.append(found)
        return Operand(found, self._seen) if self._products else found


class Operand:
    def __init__(self, block, seen):
        self.block, self.seen = block, seen

    def __matmul__(self, v):
        self.seen.append(self.block @ v)
        return self.seen[-1]


def random_cell(seed, output):
    """A layer class: up to three states, vectors, inputs, a draw, products of products, means, masks."""
    whole = random_formula(seed, output)

    def formula(x, U, h, c, s, p, q, dt, e, m, *, share=0.25):
        seen = []  # e may be the operand of a product, so it must vary with the units
        found = whole(Used(x, seen, products=False), Used(U, seen, products=True), h, c, s, p, q, dt, e + 0.5 * s, m)
        return tuple(value + 0.125 * sum(seen) for value in found)  # so do results

    formula.__name__ = formula.__qualname__ = f"Random{seed}"
    return rnnfast.cell(
        gates="a b c d e f",
        states=lambda share: NAMES,
        vectors="p q",
        inputs="dt e",
        draws={"m": ("dropout", "step", "share")},
        output="y" if output else None,
    )(formula)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), output=st.booleans())
@example(seed=1008, output=False)  # nothing but numbers a row is kept for backward
@example(seed=1140, output=False)
@example(seed=502, output=False)  # one product is the gradient of a state and of a vector
def test_random_cells(seed, output):
    cls = random_cell(seed, output)
    net = cls(3, 9, num_layers=2, bidirectional=True, dtype=np.float64, rng=seed)
    rng = np.random.default_rng(seed)
    state = tuple(rng.standard_normal((2, 2, 5)) for _ in NAMES)
    rnnfast.check_cell(cls, x=rng.standard_normal((3, 2, 2)), state=state, lengths=[3, 2])
    for rows in (False, True):
        d = data(net, 4, 6, rows=rows, ragged=True, seed=seed)
        whole = d.train(net)
        assert not differing(d.train(net, checkpoint_every=2), whole)
        one = d.only([2]).train(net)
        for key, value in one.items():
            assert key in net.params or np.array_equal(value, whole[key][:, [2]], equal_nan=True), key
        called = [d.call(net)]
        for most in (0, 1 << 40):  # what does not depend on states in the steps, and ahead of them
            before = _testing.hoist_up_to(most)
            called += [d.call(net), d.call(net.freeze()), d.only([2]).call(net)]
            _testing.hoist_up_to(before)
        assert all(same(found, called[0]) for found in (*called[1:3], *called[4:6])) and same(called[3], called[6])
        assert all(np.array_equal(a, b[:, [2]], equal_nan=True) for a, b in zip(called[3], called[0], strict=True))
        again = class_of({**as_loaded(net), "home": ["nowhere", "R"]})(3, 9, num_layers=2, bidirectional=True, dtype=np.float64)
        again.load_params(net.params)
        assert not differing(d.train(again), whole)


@pytest.mark.parametrize("seed", range(6))
def test_random_cells_on_threads_and_isas(seed, isa, dtype, small_work_splits):
    cls = random_cell(seed, False)
    net = cls(3, 37, num_layers=2, bidirectional=True, dtype=dtype, rng=seed)
    d = data(net, 4, 7, rows=bool(seed % 2), ragged=True, seed=seed)
    results = []
    for threads in (1, 2, 3):
        rnnfast.set_num_threads(threads)
        results.append(d.train(net))
    assert not differing(results[1], results[0]) and not differing(results[2], results[0])
