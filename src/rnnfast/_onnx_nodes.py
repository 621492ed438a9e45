"""How the nodes RNN, GRU and LSTM of ONNX are computed, for `rnnfast.onnx_ops` and `rnnfast.onnx`.

With the default activations, and without the attributes that change the equations, a node runs as a compiled cell; every other
combination runs as a formula (src/rnnfast/zoo/_onnx.py), in the same kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rnnfast import cells, functions
from rnnfast._engine import checks, settings
from rnnfast._engine.form import NONE, Form, Inputs
from rnnfast._engine.forward import forward
from rnnfast._kernels._order import order_of
from rnnfast._types import Array
from rnnfast.cells import Cell
from rnnfast.cells.base import AnyVariant, Packed
from rnnfast.declared import FormulaLayer
from rnnfast.zoo import _onnx

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")  # of an LSTM; the others have the first six
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}  # which of them go backwards


class Operator(NamedTuple):
    """activations: the defaults of one direction; function, cell: of rnnfast, compiled for the lower-case activations
    `compiled`; formula: the cell of everything else; prefixes: of its options, one for each activation."""

    gates: int
    activations: tuple[str, ...]
    states: tuple[str, ...]
    function: Callable[..., Any]
    cell: Cell
    compiled: frozenset[tuple[str, ...]]
    formula: type[FormulaLayer]
    prefixes: tuple[str, ...]


RNN = Operator(
    1,
    ("Tanh",),
    ("initial_h",),
    functions.simple_rnn,
    cells.SIMPLE_RNN,
    frozenset({("tanh",), ("relu",), ("sigmoid",)}),
    _onnx.RNN,
    ("f",),
)
GRU = Operator(
    3,
    ("Sigmoid", "Tanh"),
    ("initial_h",),
    partial(functions.gru, gate_order=_onnx.GATE_ORDER["gru"]),
    cells.GRU,
    frozenset({("sigmoid", "tanh")}),
    _onnx.GRU,
    ("f", "g"),
)
LSTM = Operator(
    4,
    ("Sigmoid", "Tanh", "Tanh"),
    ("initial_h", "initial_c"),
    partial(functions.lstm, gate_order=_onnx.GATE_ORDER["lstm"]),
    cells.LSTM,
    frozenset({("sigmoid", "tanh", "tanh")}),
    _onnx.LSTM,
    ("f", "g", "out"),
)


class _Call(NamedTuple):
    """Checked arguments. ways: of each direction, whether it is a reverse one; X as given; W, R, B, P (D, ...); each state
    (D, B, H) or None; lengths (B,) or None; option: of a GRU; changes: options that the formula alone has."""

    op: Operator
    ways: tuple[bool, ...]
    batch_first: bool
    X: Array
    W: Array
    R: Array
    B: Array | None
    P: Array | None
    initial: tuple[Array | None, ...]
    lengths: Any
    option: Mapping[str, Any]
    changes: Mapping[str, Any]


def compute(op: Operator, arguments: Mapping[str, Any], kept: dict[Any, Packed] | None = None) -> tuple[Array, ...]:
    """Y and the last states. arguments: by name the operator's inputs, perhaps without the optional ones, and all its
    attributes; kept: what is packed of the weights, for calls that have the same weights every time."""
    call = _check(op, **arguments)
    found = []
    for d, chosen in enumerate(_activations(op, len(call.ways), arguments)):
        names = tuple([activation.name for activation in chosen])
        option = {"nonlinearity": names[0]} if op is RNN else call.option
        if call.changes or names not in op.compiled:
            options = {**call.option, **call.changes}
            for prefix, (name, alpha, beta) in zip(op.prefixes, chosen, strict=True):
                options.update({prefix: name, f"{prefix}_alpha": alpha, f"{prefix}_beta": beta})
            found.append(_packed(call, d, op.formula.cell.choose(options), kept))
        elif kept is not None:
            found.append(_packed(call, d, checks.variant(op.cell, option), kept))
        else:
            found.append(_live(call, d, option))
    axis = 1 if call.batch_first else 0
    return tuple([_together(parts, axis + (i == 0)) for i, parts in enumerate(zip(*found, strict=True))])


def _together(parts: Sequence[Array], axis: int) -> Array:
    """Those of all directions along a new axis."""
    return parts[0][(slice(None),) * axis + (None,)] if len(parts) == 1 else np.stack(parts, axis)


def _check(
    op: Operator,
    X: Any,
    W: Any,
    R: Any,
    B: Any = None,
    sequence_lens: Any = None,
    initial_h: Any = None,
    initial_c: Any = None,
    P: Any = None,
    **attributes: Any,
) -> _Call:
    direction, hidden_size = attributes["direction"], attributes["hidden_size"]
    ways = DIRECTIONS[checks.one_of("direction", direction, tuple(DIRECTIONS))]
    batch_first, D, G = _switch("layout", attributes["layout"]), len(ways), op.gates
    X, W, R = _of_one_dtype({"X": X, "W": W, "R": R})
    axes, letters = ("batch, time, input", ("B", "T")) if batch_first else ("time, batch, input", ("T", "B"))
    if X.ndim != 3:
        raise ValueError(f"X: expected 3 dimensions ({axes}), got shape {X.shape}")
    batch, T, I = X.shape if batch_first else (X.shape[1], X.shape[0], X.shape[2])
    H = R.shape[2] if R.ndim == 3 else 0
    if W.ndim == 3 and W.shape[:2] == (D, G * H) and I != W.shape[2] > 0:  # in models X is given, and W is not
        raise checks.wrong_shape("X", (*letters, W.shape[2]), axes, X.shape, f"W of shape {W.shape} has {W.shape[2]} inputs")
    for name, array, last, meaning in (("R", R, H or "H", "hidden"), ("W", W, I or "I", "input")):
        expected = (D, G * H or f"{G}*H", last)
        if array.shape != expected:
            rows = f"directions, as {direction!r} has, {f'{G}*' if G > 1 else ''}hidden"
            raise checks.wrong_shape(name, expected, f"{rows}, {meaning}", array.shape, _arranged(name, array, D, G))
    if hidden_size is not None and checks.positive("hidden_size", hidden_size) != H:
        raise checks.wrong_value("hidden_size", f"{H}, as R of shape {R.shape} has", hidden_size)
    B = checks.optional("B", B, (D, 2 * G * H), f"directions, {2 * G}*hidden", X.dtype, "X")
    P = checks.optional("P", P, (D, 3 * H), "directions, 3*hidden", X.dtype, "X")
    shape, axes = ((batch, D, H), "batch, directions, hidden") if batch_first else ((D, batch, H), "directions, batch, hidden")
    initial = []
    for name, state in zip(op.states, (initial_h, initial_c), strict=False):
        state = checks.optional(name, state, shape, axes, X.dtype, "X")
        initial.append(np.ascontiguousarray(state.swapaxes(0, 1)) if batch_first and state is not None else state)
    lengths = checks.lengths(sequence_lens, T, batch, unbatched=False, name="sequence_lens")
    option = {"reset_after": _switch("linear_before_reset", attributes["linear_before_reset"])} if op is GRU else {}
    changes: dict[str, Any] = {} if attributes["clip"] is None else {"clip": _clip(attributes["clip"])}
    if P is not None:
        changes["peephole"] = True
    if op is LSTM and _switch("input_forget", attributes["input_forget"]):
        changes["input_forget"] = True
    return _Call(op, ways, batch_first, X, W, R, B, P, tuple(initial), lengths, option, changes)


def _of_one_dtype(given: Mapping[str, Any]) -> list[Array]:
    """X, W and R. The one that differs from both others is told, which is X where all three do."""
    arrays = {name: checks.float_array(name, value) for name, value in given.items()}
    leader = "W" if arrays["W"].dtype == arrays["R"].dtype else "X"
    for name, array in arrays.items():
        if array.dtype != arrays[leader].dtype:
            checks.float_array(name, given[name], arrays[leader].dtype, leader)
    return list(arrays.values())


def _arranged(name: str, array: Array, D: int, G: int) -> str:
    """How W or R would fit, if it is seen: with an axis for its direction, transposed, or in another operator."""
    if array.ndim == 2 and D == 1:
        return f"pass {name}[None]"
    if name == "R" and array.ndim == 3 and array.size:
        rows, H = array.shape[1:]
        if H == G * rows != rows:
            return "it is transposed: pass R.swapaxes(1, 2)"
        if len(array) == D and rows != G * H and rows % H == 0 and rows // H in (gates := {1: "rnn", 3: "gru", 4: "lstm"}):
            return f"weights with {rows // H} times as many rows as hidden units are those of {gates[rows // H]}"
    return ""


def _live(call: _Call, d: int, option: Mapping[str, Any]) -> tuple[Array, ...]:
    """(y, h, ...) of direction d, by the function of rnnfast."""
    half = call.W.shape[1]
    biases = (None, None) if call.B is None else (call.B[d, :half], call.B[d, half:])
    start = [None if a is None else a[d] for a in call.initial]
    y, state = call.op.function(
        call.X, call.W[d], call.R[d], *biases, *start,
        lengths=call.lengths, reverse=call.ways[d], batch_first=call.batch_first, **option,
    )  # fmt: skip
    return (y, *state) if isinstance(state, tuple) else (y, state)


def _packed(call: _Call, d: int, variant: AnyVariant, kept: dict[Any, Packed] | None) -> tuple[Array, ...]:
    """(y, h, ...) of direction d, by any cell, whose weights are packed for it."""
    x, unbatched = checks.sequence(call.X, call.X.shape[2], batch_first=call.batch_first)
    T, B, I = x.shape
    form = Form(variant, I, call.R.shape[2], 1, 1, call.B is not None, call.batch_first, 0.0, x.dtype, stacked=False)
    form.check_size(T, B)
    start = form.inner_state(B, tuple([None if a is None else a[d] for a in call.initial]))
    isa, packed = settings.here.isa, None
    if kept is not None:
        packed = kept.get((d, variant, isa))
    if packed is None:
        packed = variant.pack(_params(call, d, variant), isa, settings.num_threads, NONE, trainable=False)
        if kept is not None:
            kept[d, variant, isa] = packed
    args = Inputs(x, start, order_of(call.lengths, T), unbatched)
    y, final = forward(form, [packed], args, reverse=call.ways[d])
    return (form.outer(y, unbatched), *[a[0] for a in final])


def _params(call: _Call, d: int, variant: AnyVariant) -> list[Array]:
    """The parameters of direction d as this cell has them."""
    op, H, declared = call.op, call.R.shape[2], call.op.formula.declaration  # whose gates are in ONNX's order
    kinds: dict[str, Array] = {"weight_ih": call.W[d], "weight_hh": call.R[d]}
    if call.B is not None:
        kinds["bias_ih"], kinds["bias_hh"] = np.split(call.B[d], 2)
    assert not callable(declared.gates)
    for kind, array in kinds.items():  # a coupled LSTM has no f
        order = [declared.gates.index(gate) for gate in variant.blocks(kind)]
        kinds[kind] = array.reshape(op.gates, H, -1)[order].reshape(-1, *array.shape[1:])
    if call.P is not None:
        kinds.update(zip(declared.vectors, np.split(call.P[d], 3), strict=True))
    return [kinds[kind] for kind in variant.shapes(1, H) if kind in kinds]


# ---- attributes -----------------------------------------------------------------------------------------------------------
def _switch(name: str, value: Any) -> bool:
    return bool(checks.one_of(name, int(value) if isinstance(value, (bool, np.integer)) else value, (0, 1)))


def _clip(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise checks.wrong_type("clip", "a number > 0 or None", value)
    if not value > 0:
        raise checks.wrong_value("clip", "a number > 0, or None for no limit", value)
    return _onnx.as_float("clip", value)


def _activations(op: Operator, D: int, attributes: Mapping[str, Any]) -> list[tuple[_onnx.Chosen, ...]]:
    """Of each direction."""
    names, each = attributes["activations"], len(op.activations)
    if op is RNN and D == 1 and isinstance(names, (list, tuple)) and list(names) == ["Tanh", "Tanh"]:
        names = None  # the default in the operator's schema, which does not know the direction
    chosen = _onnx.chosen(op.activations * D, each, names, attributes["activation_alpha"], attributes["activation_beta"])
    return [tuple(chosen[i : i + each]) for i in range(0, each * D, each)]
