"""Declarations and traces of cells: what is an error, with its text, file and line; what exists for which options."""

import inspect
import math

import numpy as np
import pytest
from formula_layers import layer

from rnnfast import reference
from rnnfast.formula import ops
from rnnfast.formula.cell import declare
from rnnfast.formula.derive import backward
from rnnfast.formula.evaluate import evaluate
from rnnfast.formula.graph import FULL, ROW
from rnnfast.formula.tracing import trace

other = np.arange(3.0)
outside = []  # a value that one run of a formula leaves to the next


def refused(make, text, line, kind=(TypeError, ValueError, AttributeError, NameError)):
    """The error names this file, the line and the text."""
    with pytest.raises(kind) as caught:
        make()
    found = str(caught.value)
    assert found.startswith(f"{__file__}:{line}: "), found
    assert text in found, found


# ---- declarations ---------------------------------------------------------------------------------------------------------
# fmt: off
FUNCTIONS = [
    (lambda U, x, h: h, {}, "expected x and U as the first two parameters, got (U, x, h)"),
    (lambda x, U, h, /: h, {}, "expected parameters that bind by name, got positional-only x"),
    (lambda x, U, *h: h, {}, "expected parameters that bind by name, got *h"),
    (lambda x, U, h, **more: h, {}, "expected parameters that bind by name, got **more"),
    (lambda x, U, h, c: h, {}, "parameter c: expected a declared name or an option, got c; declare it among states"),
    (lambda x, U, h, *, k: h, {}, "parameter k: expected a declared name or an option"),
    (lambda x, U, h, k=1.0: h, {}, "parameter k: expected a declared name or an option, got k; declare it among states"),
    (lambda x, U, h, *, k=(1, 2): h, {}, "k: expected a bool, int, float, str or None as option, got tuple"),
    (lambda x, U, h, *, training=True: h, {}, "training: expected no default, got True"),
    (lambda x, U, h: h, {"states": "h c"}, "states: expected parameters of the formula, got c, which it lacks"),
    (lambda x, U, h: h, {"vectors": "p"}, "vectors: expected parameters of the formula, got p"),
    (lambda x, U, h: h, {"inputs": "dt"}, "inputs: expected parameters of the formula, got dt"),
    (lambda x, U, h: h, {"draws": {"m": ("normal", "step")}}, "draws: expected parameters of the formula, got m"),
    (lambda x, U, h: h, {"states": ()}, "states: expected at least one name, got none"),
    (lambda x, U, h: h, {"gates": ""}, "gates: expected at least one name, got none"),
    (lambda x, U, h: h, {"gates": "a b a"}, "gates: expected names that differ, got a twice"),
    (lambda x, U, h: h, {"gates": "a-b"}, "gates: expected names that Python allows, without _ in front, got 'a-b'"),
    (lambda x, U, h: h, {"gates": "if"}, "gates: expected names that Python allows, without _ in front, got 'if'"),
    (lambda x, U, h: h, {"gates": "_a"}, "gates: expected names that Python allows, without _ in front, got '_a'"),
    (lambda x, U, h: h, {"gates": 3}, "gates: expected names in a string or a sequence, got int"),
    (lambda x, U, h: h, {"vectors": "h"}, "options and output that differ, got h twice"),
    (lambda x, U, h, *, k=1: h, {"inputs": "k"}, "options and output that differ, got k twice"),
    (lambda x, U, h: h, {"output": "h"}, "options and output that differ, got h twice"),
    (lambda x, U, h, r: h, {"output": "r"}, "parameter r: expected a declared name or an option, got r; it is the output"),
    (lambda x, U, h, dropout: h, {"inputs": "dropout"}, "got one that is an argument of every layer's constructor"),
    (lambda x, U, h, *, params=1: h, {}, "params: expected another name, got one that is an attribute of layers"),
    (lambda x, U, h, weight_ih: h, {"vectors": "weight_ih"}, "got one that is a parameter of every layer"),
    (lambda x, U, h: h, {"states": {"h": "0"}}, "states['h']: expected a number as initial value, got '0'"),
    (lambda x, U, h: h, {"states": {"h": np.nan}}, "states['h']: expected a number as initial value, got nan"),
    (lambda x, U, h, m: h, {"draws": {"m": ("dropout", "step")}}, "draws['m']: expected (\"dropout\" or \"bernoulli\""),
    (lambda x, U, h, m: h, {"draws": {"m": ("normal", "often")}}, "draws['m']: expected (\"dropout\""),
    (lambda x, U, h, m: h, {"draws": {"m": "normal"}}, "draws['m']: expected (\"dropout\""),
    (lambda x, U, h, m: h, {"draws": {"m": ("dropout", "step", "p")}}, "an option whose default is a float, got 'p'"),
    (lambda x, U, h, m, *, p=0: h, {"draws": {"m": ("dropout", "step", "p")}}, "an option whose default is a float, got 'p'"),
    (lambda x, U, h: h, {"draws": "m"}, "draws: expected a mapping of names"),
    (lambda x, U, h: h, {"init": {"p": 1.0}}, "init: expected weight_ih, weight_hh, bias_ih, bias_hh, or the block of a gate"),
    (lambda x, U, h: h, {"init": {"bias_ih.b": 1.0}}, "such as bias_ih.a, got 'bias_ih.b'"),
    (lambda x, U, h: h, {"init": {"bias_ih": "1"}}, "init['bias_ih']: expected a number or a callable of (rng, shape)"),
    (lambda x, U, h: h, {"init": 3}, "init: expected a mapping of names of parameters to values, got int"),
]
# fmt: on


@pytest.mark.parametrize(("formula", "changes", "text"), FUNCTIONS)
def test_declaration_errors(formula, changes, text):
    declared = {"gates": "a", "states": "h", **changes}
    refused(lambda: declare(formula, **declared), text, formula.__code__.co_firstlineno)


def test_a_formula_is_a_function():
    with pytest.raises(TypeError, match="cell: expected a function as formula, got ufunc"):
        declare(np.tanh, gates="a", states="h")


def test_declaration():
    """What was said, in one form."""

    def cell(x, U, c, m, h, dt, p, *, rate=0.1, training, clip=None):
        """Doc."""

    d = declare(
        cell, gates=("i", "f"), states={"h": 0, "c": -np.inf}, vectors="p", inputs=["dt"], output="r",
        draws={"m": ["dropout", "sequence", "rate"]}, init={"p": 1, "bias_ih.f": 2.0, "weight_hh": lambda rng, shape: 0},
    )  # fmt: skip
    assert (d.name, d.doc, d.formula, d.gates, d.output) == ("cell", "Doc.", cell, ("i", "f"), "r")
    assert d.states == {"h": 0.0, "c": -np.inf} and d.vectors == ("p",) and d.inputs == ("dt",) and d.takes_training
    assert d.draws["m"] == ("dropout", "sequence", "rate") and d.options == {"rate": 0.1, "clip": None}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rat": 1.0}, "rat: expected an option of cell, which are rate, deep, form, clip, got rat"),
        ({"rate": "1"}, "rate: expected a float like its default 0.1, got '1'"),
        ({"rate": None}, "rate: expected a float like its default 0.1, got None"),
        ({"rate": np.zeros(2)}, "rate: expected a float as option, got ndarray"),
        ({"rate": 1.5}, "rate: expected a probability between 0 and 1, that of m, got 1.5"),
        ({"rate": np.nan}, "rate: expected a probability between 0 and 1"),
        ({"deep": 1}, "deep: expected a bool like its default False, got 1"),
        ({"form": 1}, "form: expected a str like its default 'rate', got 1"),
        ({"clip": []}, "clip: expected a bool, int, float, str or None as option, got list"),
    ],
)
def test_options(options, text):
    def cell(x, U, h, m, *, rate=0.1, deep=False, form="rate", clip=None):
        return np.tanh(x.a + U.a @ h)

    d = declare(cell, gates="a", states="h", draws={"m": ("dropout", "step", "rate")})
    with pytest.raises((TypeError, ValueError)) as caught:
        d.with_defaults(options)
    assert text in str(caught.value)
    chosen = d.with_defaults({"rate": np.float32(1), "clip": np.int64(3)})
    assert chosen == {"rate": 1.0, "deep": False, "form": "rate", "clip": 3} and type(chosen["rate"]) is float


# ---- errors of a trace ----------------------------------------------------------------------------------------------------
# fmt: off
FORMULAS = [
    (lambda x, U, h, v, e: h if h > 0 else x.a, "expected no decision on a value, got if"),
    (lambda x, U, h, v, e: h > 0 and x.a > 0, "expected no decision on a value"),
    (lambda x, U, h, v, e: max(x.a, h), "expected no decision on a value"),
    (lambda x, U, h, v, e: 0 < h < 1, "expected no decision on a value"),
    (lambda x, U, h, v, e: math.tanh(x.a), "use np.tanh"),
    (lambda x, U, h, v, e: round(x.a), "use np.tanh"),
    (lambda x, U, h, v, e: x.b + h, "x.b: expected one of the gates a g, got b; declare it among gates"),
    (lambda x, U, h, v, e: x.a + U.b @ h, "U.b: expected one of the gates a g, got b"),
    (lambda x, U, h, v, e: x.a + p_q * h, "name 'p_q' is not defined; if it is a part of the cell, declare it"),  # noqa: F821
    (lambda x, U, h, v, e: x.a + other, "got an array of shape (3,); declare it among vectors (a parameter), inputs"),
    (lambda x, U, h, v, e: x.a * np.random.default_rng().standard_normal((2, 3)), "or draws (random numbers)"),
    (lambda x, U, h, v, e: x.a + U.a, "U.a: expected a product U.a @ v, got U.a without @"),
    (lambda x, U, h, v, e: np.tanh(U.a), "got U.a without @"),
    (lambda x, U, h, v, e: ops.sigmoid(U.a), "got U.a without @"),
    (lambda x, U, h, v, e: other * U.a, "got U.a without @"),
    (lambda x, U, h, v, e: U.a(h), "got U.a without @"),
    (lambda x, U, h, v, e: (x.a, U.a)[1], "got U.a without @"),
    (lambda x, U, h, v, e: x.a + U @ h, "U: expected a gate of it, such as U.a @ h, got U alone"),
    (lambda x, U, h, v, e: x + h, "x: expected a gate of it, such as x.a, got x alone"),
    (lambda x, U, h, v, e: np.tanh(x), "x: expected a gate of it"),
    (lambda x, U, h, v, e: x.a + h @ U.a, "@: expected a block of U on its left, as in U.i @ h"),
    (lambda x, U, h, v, e: x.a + h @ h, "@: expected a block of U on its left"),
    (lambda x, U, h, v, e: x.a + U.a @ v, "U.a @ v: expected v of shape (B, H), got a vector (H,)"),
    (lambda x, U, h, v, e: x.a + U.a @ e, "or give the input as (T, B, H)"),
    (lambda x, U, h, v, e: x.a + U.a @ 2, "U.a @ v: expected v of shape (B, H), got a number"),
    (lambda x, U, h, v, e: x.a + U.a @ x.g, "U.a @ v: expected v that depends on a state or an input of shape (B, H)"),
    (lambda x, U, h, v, e: x.a + U.a @ h + U.a @ (2 * h), "U.a @ v: expected one v for each gate, got a second one"),
    (lambda x, U, h, v, e: np.where(h, x.a, 0), "where: expected a comparison as condition, got a value"),
    (lambda x, U, h, v, e: np.where(x.a > 0), "np.where: expected plain arguments"),
    (lambda x, U, h, v, e: np.mean(x.a), "np.mean: expected ops.mean, which averages the units of each row"),
    (lambda x, U, h, v, e: x.a.mean(), ".mean: expected functions such as np.clip(v, 0, 1), got an attribute of arrays"),
    (lambda x, U, h, v, e: x.a + np.zeros_like(h), "np.zeros_like: expected a number, which counts for every row and unit"),
    (lambda x, U, h, v, e: np.sinh(x.a), "np.sinh: expected one of np.absolute"),
    (lambda x, U, h, v, e: np.tanh(x.a, out=other), "+=, -=, *=, /=, out=: expected v = v + w and the like"),
    (lambda x, U, h, v, e: np.add.reduce(x.a), "np.add: expected a plain call, got .reduce"),
    (lambda x, U, h, v, e: np.asarray(x.a), "expected functions of values, got a conversion to an array"),
    (lambda x, U, h, v, e: x.a == h, "==, !=: expected <"),
    (lambda x, U, h, v, e: x.a // 2, "//, %: expected / and np.floor"),
    (lambda x, U, h, v, e: 2 % x.a, "//, %: expected / and np.floor"),
    (lambda x, U, h, v, e: x.a ** h, "v ** n: expected a number n"),
    (lambda x, U, h, v, e: 2 ** x.a, "n ** v: expected a number as exponent"),
    (lambda x, U, h, v, e: x.a[0], "expected no loop over a value, and no part of it"),
    (lambda x, U, h, v, e: sum(x.a), "expected no loop over a value"),
    (lambda x, U, h, v, e: x.a & h, "& | ~: expected comparisons"),
    (lambda x, U, h, v, e: ~ops.step(x.a, lambda u: u), "& | ~: expected comparisons"),
    (lambda x, U, h, v, e: (x.a > 0) + (h > 0), "add: expected a value that is no comparison; write np.where(mask, 1.0, 0.0)"),
    (lambda x, U, h, v, e: -(x.a > 0), "neg: expected a value that is no comparison"),
    (lambda x, U, h, v, e: ops.step(x.a, 1.0), "ops.step: expected a callable u -> dy/du as surrogate, got float"),
    (lambda x, U, h, v, e: ops.step(x.a, lambda u: "1"), "ops.step: surrogate: expected a value of the formula"),
    (lambda x, U, h, v, e: ops.step(x.a, lambda u: U.g @ h) + h, "got U.g @ v, which nothing else needs"),
    (lambda x, U, h, v, e: ops.step(x.a, lambda u: x.g) + h, "got x.g, which nothing else needs"),
    (lambda x, U, h, v, e: x.a + "1", "expected a value of the formula or a number, got str"),
    (lambda x, U, h, v, e: [outside.append(h), x.a + outside[0]][1], "got one of another run; keep none outside the formula"),
    (lambda x, U, h, v, e: None, "expected 1 result (h), got None; end with return h"),
    (lambda x, U, h, v, e: (x.a, h), "expected 1 result (h) in this order, got 2"),
    (lambda x, U, h, v, e: "h", "result h: expected a value of the formula or a number, got str"),
    (lambda x, U, h, v, e: other, "result h: expected values of the formula and numbers, got an array of shape (3,)"),
    (lambda x, U, h, v, e: 1.0, "result h: expected a value of shape (B, H), got a number; it must depend on"),
    (lambda x, U, h, v, e: v, "result h: expected a value of shape (B, H), got a vector (H,)"),
    (lambda x, U, h, v, e: ops.mean(x.a) * e, "result h: expected a value of shape (B, H), got one number for each row"),
    (lambda x, U, h, v, e: h, "expected at least one gate of x on which a result depends, such as x.a, got none"),
    (lambda x, U, h, v, e: x.a * np.random.default_rng().random(), "expected the same formula each time it runs, got"),
]
# fmt: on


@pytest.mark.parametrize(("formula", "text"), FORMULAS)
def test_trace_errors(formula, text):
    outside.clear()
    d = declare(formula, gates="a g", states="h", vectors="v", inputs="e")
    refused(lambda: trace(d, {}, training=False, row_inputs={"e"}), text, formula.__code__.co_firstlineno)


def test_the_line_is_that_of_the_formula_even_below():
    """An error in a function that the formula calls has the line of the call."""

    def helper(v):
        return v if v > 0 else -v

    def cell(x, U, h):
        a = x.a + U.a @ h
        return helper(a)

    d = declare(cell, gates="a", states="h")
    line = inspect.getsourcelines(cell)[1] + 2
    refused(lambda: trace(d, {}, training=False, row_inputs=()), "expected no decision", line)


@pytest.mark.parametrize(
    ("operator", "text"),
    [
        ("+=", "+=, -=, *=, /=, out=: expected v = v + w"),
        ("//=", "//, %: expected / and np.floor"),
        ("@=", "@: expected a block"),
    ],
)
def test_in_place(operator, text):
    names = {}
    exec(compile(f"def cell(x, U, h):\n    h {operator} x.a\n    return h", __file__, "exec"), names)
    d = declare(names["cell"], gates="a", states="h")
    refused(lambda: trace(d, {}, training=False, row_inputs=()), text, 2)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("gates", {"gates": "a b"}),
        ("vectors", {"vectors": "p"}),
        ("inputs", {"inputs": "p"}),
        ("draws", {"draws": {"p": ("normal", "step")}}),
    ],
)
def test_what_is_declared_is_used(kind, changes):
    """Without options; what is computed for nothing is not used. With options it does not exist for this combination."""
    if kind == "gates":

        def for_nothing(x, U, h):
            _ = x.b + U.b @ h
            return np.tanh(x.a + U.a @ h)

        def optional(x, U, h, *, use=False):
            return np.tanh(x.a + U.a @ h) + (x.b + U.b @ h if use else 0)

    else:

        def for_nothing(x, U, h, p):
            _ = p * h
            return np.tanh(x.a + U.a @ h)

        def optional(x, U, h, p, *, use=False):
            return np.tanh(x.a + U.a @ h) + (p * h if use else 0)

    declared, name = {"gates": "a", "states": "h"} | changes, "b" if kind == "gates" else "p"
    d = declare(for_nothing, **declared)
    text = f"{kind}: expected names on which the results depend, got {name}, which is never used"
    refused(lambda: trace(d, {}, training=True, row_inputs=()), text, for_nothing.__code__.co_firstlineno)
    d = declare(optional, **declared)
    found = [trace(d, {"use": use}, training=True, row_inputs=()) for use in (False, True)]
    there = [{*t.x_gates, *t.products, *t.vectors, *t.inputs, *t.draws} for t in found]
    assert there == [{"a"}, {"a", name}]


# ---- what a trace contains ------------------------------------------------------------------------------------------------
def test_order_and_axes():
    """Gates in declared order, on the side where they are used; inputs (T, B) or (T, B, H)."""

    def cell(x, U, c, h, p, dt):
        c = p * c + dt * np.tanh(x.d + U.a @ (x.b * h))
        return c * ops.sigmoid(U.c @ c), h + x.a, c

    d = declare(cell, gates="a b c d", states="h c", vectors="p", inputs="dt", output="r")
    t = trace(d, {}, training=False, row_inputs={"dt"})
    assert (list(t.x_gates), list(t.products), list(t.states)) == (["a", "b", "d"], ["a", "c"], ["h", "c"])
    assert t.builder.nodes[t.inputs["dt"]].axes == ROW and t.output is not None and len(t.new) == 2
    full = trace(d, {}, training=False, row_inputs=())
    assert full.builder.nodes[full.inputs["dt"]].axes == FULL
    assert trace(d, {}, training=False, row_inputs=["dt"]) == t


def test_callables_of_options():
    """Gates and states that depend on options; a state that is not there is None."""

    def cell(x, U, h, c=None, *, memory=True, gate="a"):
        a = getattr(x, gate) + getattr(U, gate) @ h
        return (np.tanh(a + c), a) if memory else np.tanh(a)

    d = declare(
        cell,
        gates=lambda gate: gate,
        states=lambda memory: {"h": 0, "c": 1} if memory else "h",
        init={"bias_ih.a": 1.0},
    )
    assert list(trace(d, {}, training=False, row_inputs=()).states) == ["h", "c"]
    assert list(trace(d, {"memory": False}, training=False, row_inputs=()).states) == ["h"]
    line = cell.__code__.co_firstlineno
    refused(lambda: trace(d, {"gate": "b"}, training=False, row_inputs=()), "init: expected weight_ih", line)
    lacking = declare(cell, gates="a", states=lambda memory: "h c m")
    refused(
        lambda: trace(lacking, {}, training=False, row_inputs=()), "states: expected parameters of the formula, got m", line
    )
    wrong = declare(lambda x, U, h, c: h, gates="a", states=lambda: "h")
    text, line = "parameter c: expected None as its default", wrong.formula.__code__.co_firstlineno
    refused(lambda: trace(wrong, {}, training=False, row_inputs=()), text, line)


def test_training_and_draws():
    """Draws are inputs in training if their probability is not 0; otherwise the mean of what they would be."""
    seen = []

    def cell(x, U, h, m, z, xi, *, p=0.0, q=0.0, training):
        seen.append(training)
        return z * h + (1 - z) * np.tanh(x.a + U.a @ (m * h)) + xi

    draws = {"m": ("dropout", "sequence", "p"), "z": ("bernoulli", "step", "q"), "xi": ("normal", "step")}
    d = declare(cell, gates="a", states="h", draws=draws)
    assert list(trace(d, {"p": 0.5}, training=True, row_inputs=()).draws) == ["m", "xi"] and seen == [True, True, False, False]
    assert list(trace(d, {"q": 1}, training=True, row_inputs=()).draws) == ["z", "xi"]
    t = trace(d, {"p": 0.5, "q": 0.25}, training=False, row_inputs=())
    assert not t.draws and t.builder.nodes[t.products["a"]].args == (t.states["h"],)  # a mask of 1 costs nothing
    assert {0.25, 0.75} == {t.builder.number_of(i) for i in range(len(t.builder.nodes))} - {None, 1.0, 0.5, 0.0}


def test_training_changes_no_parameters():
    def cell(x, U, h, *, training):
        return np.tanh((x.a if training else x.b) + U.a @ h)

    d = declare(cell, gates="a b", states="h")
    text = "expected the same gates and vectors in training and inference, got x.a U.a and x.b U.a"
    refused(lambda: trace(d, {}, training=True, row_inputs=()), text, cell.__code__.co_firstlineno)


def test_options_are_told_apart():
    """True, 1 and 1.0 are equal in Python, and so are 0.0 and -0.0; as options they are not."""
    seen = []

    def cell(x, U, h, *, k=None):
        seen.append(repr(k))
        return np.tanh(x.a + U.a @ h)

    d = declare(cell, gates="a", states="h")
    for k in (True, 1, 1.0, 0.0, -0.0, True, 1, 1.0, 0.0, -0.0):
        trace(d, {"k": k}, training=False, row_inputs=())
    assert seen[::2] == ["True", "1", "1.0", "0.0", "-0.0"]


def test_masks_mean_the_same_on_arrays():
    """What a trace accepts of comparisons gives the same numbers there and on arrays."""

    def cell(x, U, h):
        above, below = x.a > h, np.logical_not(x.a >= 0.5) & ~(h < -1)
        return (
            above * h + (1 - below) * x.a + np.where(above | below, 2.0, h) + (h - above) + 0.5 * (above & below)
            + (above * below) * x.a + ops.clip(h, -0.5, 0.5) + np.clip(x.a, None, 0.3) + np.clip(x.a, min=-0.2) + np.square(h)
            + np.power(h, 3) + np.minimum(x.a, h) + 1 / (1 + h**2) + np.float64(2) * x.a + np.float32(0.5) ** 2 * h
            + ops.step(h, abs) * ops.mean(x.a)
        )  # fmt: skip

    t = trace(declare(cell, gates="a", states="h"), {}, training=False, row_inputs=())
    rng = np.random.default_rng(0)
    x, h = rng.standard_normal((2, 6, 8))
    h[0, 0], x[1, 1] = np.nan, np.nan

    class Gates:
        a = x

    expected = cell(Gates, None, h)
    leaves = {t.x_gates["a"]: x, t.states["h"]: h, t.builder.input("size", "1/H", (False, False)): 1 / 8}
    np.testing.assert_allclose(evaluate(t.builder, t.new, leaves)[t.new[0]], expected, rtol=1e-14, atol=1e-14)
    assert np.isfinite(expected).any() and np.isnan(expected[0, 0])


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (ops.elu, 1.0),
        (lambda v: ops.elu(v, 0.3), 0.3),
        (ops.leaky_relu, 0.01),
        (ops.relu, 0.0),
        (ops.softsign, 1.0),
        (ops.log_sigmoid, 0.5),
        (lambda v: ops.clip(v, 0, 1), 1.0),
        (lambda v: np.minimum(v, 0), 0.5),
        (lambda v: ops.step(v, lambda u: 3 + u), 3.0),
    ],
)
def test_slopes_at_zero(function, slope):
    """Where two branches meet, the derivative is the documented one."""
    t = trace(declare(lambda x, U, h: function(x.a), gates="a", states="h"), {}, training=False, row_inputs=())
    gradient = backward(t.builder, {t.new[0]: t.builder.number(1.0)}, t.surrogates)[t.x_gates["a"]]
    np.testing.assert_allclose(evaluate(t.builder, [gradient], {t.x_gates["a"]: np.zeros((1, 1))})[gradient], slope)


# ---- the reference --------------------------------------------------------------------------------------------------------
def test_the_reference_refuses_gates_without_parameters():
    """Its own reading of a formula, and the number of rows of the weights, must agree."""

    def cell(x, U, h, *, use=False):
        b = x.b
        return np.tanh(x.a + U.a @ h) + (b if use else 0)

    net = layer(declare(cell, gates="a b", states="h"), 3, 4)
    with pytest.raises(
        ValueError, match=r"weight_ih_l0: expected 4 rows for each gate that the formula asks for \(a b\), got 4"
    ):
        reference.run(net, np.zeros((2, 1, 3)))


def test_the_reference_with_inputs_in_every_form():
    """(T, B), (T, B, H), batch first, unbatched, lengths, the reverse direction: against sums written out."""

    def cell(x, U, v, dt, e):
        return v + dt * e + 0 * x.a

    d = declare(cell, gates="a", states="v", inputs="dt e")
    rng, H = np.random.default_rng(1), 4
    x, dt, e = np.zeros((5, 3, 2)), rng.standard_normal((5, 3)), rng.standard_normal((5, 3, H))
    lengths, both = [5, 0, 3], dt[..., None] * e
    net = layer(d, 2, H, bidirectional=True)
    y, v = reference.run(net, x, lengths=lengths, inputs={"dt": dt, "e": e})
    for b, n in enumerate(lengths):
        np.testing.assert_allclose(y[:n, b, :H], np.cumsum(both[:n, b], 0), atol=1e-14)
        np.testing.assert_allclose(y[:n, b, H:], np.cumsum(both[:n, b][::-1], 0)[::-1], atol=1e-14)
        assert not y[n:, b].any()
        np.testing.assert_allclose(v[:, b], [both[:n, b].sum(0)] * 2, atol=1e-14)
    turned = {"dt": dt.T, "e": e.swapaxes(0, 1)}
    first = layer(d, 2, H, bidirectional=True, batch_first=True)
    other_y, other_v = reference.run(first, x.swapaxes(0, 1), lengths=lengths, inputs=turned)
    np.testing.assert_array_equal(other_y, y.swapaxes(0, 1))
    np.testing.assert_array_equal(other_v, v)
    one, last = reference.run(net, x[:, 0], v[:, 2], inputs={"dt": dt[:, 0], "e": e[:, 0]})
    np.testing.assert_allclose(one[:, :H], y[:, 0, :H] + v[0, 2], atol=1e-14)
    np.testing.assert_allclose(last, v[:, 0] + v[:, 2], atol=1e-14)
