"""Hypothesis: whatever is passed to the functions, the outcome is right numbers or a TypeError or ValueError with a text."""

import numpy as np
import pytest

import rnnfast
from rnnfast import reference
from rnnfast.proof.prove import error

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed (pip install '.[dev]')")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hnp  # noqa: E402

SMALL = st.integers(0, 4)
NUMBERS = st.floats(-2, 2, width=32)


@st.composite
def views(draw, shape):
    """An array of the shape, in one of many memory layouts."""
    a = draw(hnp.arrays(np.float64, shape, elements=NUMBERS))
    order = draw(st.permutations(range(len(shape))))
    a = np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))
    for axis in range(len(shape)):
        if draw(st.booleans()):
            a = np.flip(np.flip(a, axis).copy(), axis)
    return a


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_layout_and_lengths(data):
    T, B, I, H = data.draw(SMALL), data.draw(SMALL), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 20))
    x, h0 = data.draw(views((T, B, I))), data.draw(views((B, H)))
    w_ih, w_hh, b = data.draw(views((3 * H, I))), data.draw(views((3 * H, H))), data.draw(views((3 * H,)))
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=B, max_size=B))
    options = {"reset_after": data.draw(st.booleans()), "reverse": data.draw(st.booleans()), "lengths": lengths}
    got = rnnfast.gru(x, w_ih, w_hh, b, b, h0, **options)
    expected = reference.gru(x, w_ih, w_hh, b, b, h0, **options)
    for a, e in zip(got, expected, strict=True):
        assert a.shape == e.shape and error(a, e) < 1e-12


ANYTHING = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=3),
    st.booleans(),
    hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)),
    st.lists(st.floats() | st.none(), max_size=3),
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["x", "w_ih", "w_hh", "b_ih", "b_hh", "h0", "c0", "lengths", "reverse", "gate_order", "batch_first"]),
        ANYTHING,
        min_size=1,
    )
)
def test_anything_is_right_or_a_clear_error(changes):
    good = {
        "x": np.zeros((2, 3, 1)),
        "w_ih": np.ones((4, 1)),
        "w_hh": np.ones((4, 1)),
        "b_ih": np.zeros(4),
        "b_hh": np.zeros(4),
    }
    try:
        y, state = rnnfast.lstm(**{**good, **changes})
    except (TypeError, ValueError) as problem:
        assert ": expected" in str(problem)
    else:
        assert isinstance(y, np.ndarray) and len(state) == 2
