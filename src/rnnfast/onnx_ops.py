"""ONNX's operators RNN, GRU and LSTM (opset 22) as functions on NumPy arrays: inputs by position in the operator's order,
attributes by keyword under their ONNX names and with their ONNX defaults. The package onnx is not needed.

With the default activations, and without the attributes that change the equations, a call runs a compiled cell; every other
combination runs as a formula (src/rnnfast/zoo/_onnx.py), in the same kernels. In all shapes T is seq_length, B batch_size,
I input_size, H hidden_size, and D num_directions, which is 2 for direction="bidirectional".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rnnfast import functions
from rnnfast._engine import checks, settings
from rnnfast._engine.form import NONE, Form, Inputs
from rnnfast._engine.forward import forward
from rnnfast._kernels._order import order_of
from rnnfast._types import Array
from rnnfast.cells.formula import FormulaVariant
from rnnfast.declared import FormulaLayer
from rnnfast.zoo import _onnx

__all__ = ["gru", "lstm", "rnn"]

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}  # which of them go backwards
Activations: TypeAlias = tuple[_onnx.Chosen, ...]  # of one direction


class Operator(NamedTuple):
    """activations: the defaults of one direction; compiled: lower-case activations -> the function of rnnfast that has a
    compiled cell for them; formula: the cell of everything else; prefixes: of its options, one for each activation."""

    gates: int
    activations: tuple[str, ...]
    states: tuple[str, ...]
    compiled: Mapping[tuple[str, ...], Callable[..., Any]]
    formula: type[FormulaLayer]
    prefixes: tuple[str, ...]


RNN = Operator(
    1,
    ("Tanh",),
    ("initial_h",),
    {(name,): partial(functions.simple_rnn, nonlinearity=name) for name in ("tanh", "relu", "sigmoid")},
    _onnx.RNN,
    ("f",),
)
GRU = Operator(
    3,
    ("Sigmoid", "Tanh"),
    ("initial_h",),
    {("sigmoid", "tanh"): partial(functions.gru, gate_order=_onnx.GATE_ORDER["gru"])},
    _onnx.GRU,
    ("f", "g"),
)
LSTM = Operator(
    4,
    ("Sigmoid", "Tanh", "Tanh"),
    ("initial_h", "initial_c"),
    {("sigmoid", "tanh", "tanh"): partial(functions.lstm, gate_order=_onnx.GATE_ORDER["lstm"])},
    _onnx.LSTM,
    ("f", "g", "out"),
)


def rnn(
    X: Any,
    W: Any,
    R: Any,
    B: Any = None,
    sequence_lens: Any = None,
    initial_h: Any = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> tuple[Array, Array]:
    """ONNX's operator RNN: ``H_t = f(X_t W^T + H_{t-1} R^T + Wb + Rb)``, f being Tanh by default.

    Parameters
    ----------
    X : (T, B, I) array_like, float32 or float64
        With layout=1 it is (B, T, I).
    W, R : (D, H, I), (D, H, H) array_like, dtype of X
        Weights of the input and of the state.
    B : (D, 2*H) array_like, optional
        Biases Wb and Rb of each direction; None means zeros.
    sequence_lens : (B,) array_like of int, optional
        The number of steps of each sequence, 0 to T. Past its end Y is 0, X is not read, and Y_h is the state after its own
        last step; a reverse direction begins there. A sequence of length 0 keeps its initial state, as everywhere in rnnfast,
        so that a stream in chunks can have an empty chunk; ONNX Runtime gives zeros for it, and ONNX does not say.
    initial_h : (D, B, H) array_like, optional
        With layout=1 it is (B, D, H). None means zeros.
    activation_alpha, activation_beta : sequence of float, optional
        Parameters of the activations that have some (see `activations`), in their order: an activation without parameters
        takes no value, as ONNX Runtime reads the lists. Where values are missing, the defaults stand. More values than
        activations take are an error, unless there is one for each activation and both readings agree.
    activations : sequence of str, optional
        Names of D activations, in any case: Relu, Tanh, Sigmoid, Softsign, Softplus, LeakyRelu (alpha, 0.01 by default),
        ThresholdedRelu (alpha, 1), Elu (alpha, 1), HardSigmoid (alpha and beta, 0.2 and 0.5), Affine and ScaledTanh (alpha
        and beta, without defaults).
    clip : float, optional
        The arguments of the gates' activations are limited to -clip .. clip.
    direction : {"forward", "reverse", "bidirectional"}
    hidden_size : int, optional
        H. It is only checked, since R has it.
    layout : {0, 1}
        1: batch first, in X and Y, and in the states too.

    Returns
    -------
    Y : (T, D, B, H) ndarray, dtype of X
        h of every step; with layout=1 it is (B, T, D, H).
    Y_h : (D, B, H) ndarray
        The last h; with layout=1 it is (B, D, H).

    Raises
    ------
    TypeError
        For a dtype that is neither float32 nor float64, or for mixed ones; the text has the cast.
    ValueError
        For a shape, a length or an attribute that does not fit; the text says which, what was expected and what came.
    MemoryError

    References
    ----------
    https://onnx.ai/onnx/operators/onnx__RNN.html
    """
    call = _check(RNN, X, W, R, B, sequence_lens, (initial_h,), None, direction, hidden_size, layout)
    Y, Y_h = _run(call, _activations(RNN, call.ways, activations, activation_alpha, activation_beta), clip)
    return Y, Y_h


def gru(
    X: Any,
    W: Any,
    R: Any,
    B: Any = None,
    sequence_lens: Any = None,
    initial_h: Any = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Array, Array]:
    """ONNX's operator GRU: ``z, r = f(...)``, ``h~ = g(...)`` and ``H_t = (1 - z) h~ + z H_{t-1}``.

    Parameters
    ----------
    X, sequence_lens, initial_h, clip, direction, hidden_size, layout
        As in `rnn`.
    W, R : (D, 3*H, I), (D, 3*H, H) array_like, dtype of X
        Weights with the gates in the order z r h.
    B : (D, 6*H) array_like, optional
        Biases Wb and Rb of each direction, with the gates in the same order; None means zeros.
    activations : sequence of str, optional
        f and g of each direction, Sigmoid and Tanh by default; see `rnn`, also for activation_alpha and activation_beta.
    linear_before_reset : {0, 1}
        0: the reset gate multiplies H_{t-1} before the product with R; 1: it multiplies what comes out (PyTorch, Keras).

    Returns
    -------
    Y, Y_h : ndarray
        As of `rnn`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As in `rnn`.

    References
    ----------
    https://onnx.ai/onnx/operators/onnx__GRU.html
    """
    after = _switch("linear_before_reset", linear_before_reset)
    call = _check(GRU, X, W, R, B, sequence_lens, (initial_h,), None, direction, hidden_size, layout)
    chosen = _activations(GRU, call.ways, activations, activation_alpha, activation_beta)
    Y, Y_h = _run(call, chosen, clip, {"reset_after": after}, {"linear_before_reset": after})
    return Y, Y_h


def lstm(
    X: Any,
    W: Any,
    R: Any,
    B: Any = None,
    sequence_lens: Any = None,
    initial_h: Any = None,
    initial_c: Any = None,
    P: Any = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Array, Array, Array]:
    """ONNX's operator LSTM: ``i, o, f = f(...)``, ``C_t = f C_{t-1} + i g(...)`` and ``H_t = o h(C_t)``.

    Parameters
    ----------
    X, sequence_lens, direction, hidden_size, layout
        As in `rnn`.
    W, R : (D, 4*H, I), (D, 4*H, H) array_like, dtype of X
        Weights with the gates in the order i o f c.
    B : (D, 8*H) array_like, optional
        Biases Wb and Rb of each direction, with the gates in the same order; None means zeros.
    initial_h, initial_c : (D, B, H) array_like, optional
        With layout=1 they are (B, D, H). None means zeros, for either of them.
    P : (D, 3*H) array_like, optional
        Peepholes, in the order i o f: P_i and P_f times C_{t-1}, and P_o times C_t, are added to the sums of these gates.
    activations : sequence of str, optional
        f, g and h of each direction, Sigmoid, Tanh and Tanh by default; see `rnn`, also for activation_alpha and
        activation_beta.
    clip : float, optional
        The arguments of f and g are limited to -clip .. clip, and those of h are not, as in ONNX Runtime.
    input_forget : {0, 1}
        1: the forget gate is ``1 - i``, and its own weights are not used.

    Returns
    -------
    Y, Y_h : ndarray
        As of `rnn`.
    Y_c : (D, B, H) ndarray
        The last C; with layout=1 it is (B, D, H).

    Raises
    ------
    TypeError, ValueError, MemoryError
        As in `rnn`.

    References
    ----------
    https://onnx.ai/onnx/operators/onnx__LSTM.html
    """
    coupled, initial = _switch("input_forget", input_forget), (initial_h, initial_c)
    call = _check(LSTM, X, W, R, B, sequence_lens, initial, P, direction, hidden_size, layout)
    chosen = _activations(LSTM, call.ways, activations, activation_alpha, activation_beta)
    changed = {name: True for name, value in (("peephole", P is not None), ("input_forget", coupled)) if value}
    Y, Y_h, Y_c = _run(call, chosen, clip, formula_only=changed)
    return Y, Y_h, Y_c


class _Call(NamedTuple):
    """Checked inputs. ways: of each direction, whether it is a reverse one; X as given; W, R, B, P (D, ...); each state
    (D, B, H) or None; lengths (B,) or None."""

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


def _check(
    op: Operator,
    X: Any,
    W: Any,
    R: Any,
    B: Any,
    sequence_lens: Any,
    initial: tuple[Any, ...],
    P: Any,
    direction: Any,
    hidden_size: Any,
    layout: Any,
) -> _Call:
    ways = DIRECTIONS[checks.one_of("direction", direction, tuple(DIRECTIONS))]
    batch_first, D, G = _switch("layout", layout), len(ways), op.gates
    X = checks.float_array("X", X)
    if X.ndim != 3:
        axes = "batch, time, input" if batch_first else "time, batch, input"
        raise ValueError(f"X: expected 3 dimensions ({axes}), got shape {X.shape}")
    W, R = (checks.float_array(name, a, X.dtype, "X") for name, a in (("W", W), ("R", R)))
    batch, T, I = X.shape if batch_first else (X.shape[1], X.shape[0], X.shape[2])
    H = R.shape[2] if R.ndim == 3 else 0
    rows = f"directions, as {direction!r} has, {f'{G}*' if G > 1 else ''}hidden"
    for name, array, last, meaning in (("R", R, H or "H", "hidden"), ("W", W, I or "I", "input")):
        if array.shape != (D, G * H or f"{G}*H", last):
            raise checks.wrong_shape(name, (D, G * H or f"{G}*H", last), f"{rows}, {meaning}", array.shape)
    if hidden_size is not None and checks.positive("hidden_size", hidden_size) != H:
        raise checks.wrong_value("hidden_size", f"{H}, as R of shape {R.shape} has", hidden_size)
    B = checks.optional("B", B, (D, 2 * G * H), f"directions, {2 * G}*hidden", X.dtype, "X")
    P = checks.optional("P", P, (D, 3 * H), "directions, 3*hidden", X.dtype, "X")
    shape, axes = ((batch, D, H), "batch, directions, hidden") if batch_first else ((D, batch, H), "directions, batch, hidden")
    states = [checks.optional(name, a, shape, axes, X.dtype, "X") for name, a in zip(op.states, initial, strict=True)]
    inner = [a if a is None or not batch_first else np.ascontiguousarray(a.swapaxes(0, 1)) for a in states]
    lengths = checks.lengths(sequence_lens, T, batch, unbatched=False, name="sequence_lens")
    return _Call(op, ways, batch_first, X, W, R, B, P, tuple(inner), lengths)


def _run(
    call: _Call,
    activations: Sequence[Activations],
    clip: Any,
    compiled_options: Mapping[str, Any] = MappingProxyType({}),
    formula_options: Mapping[str, Any] = MappingProxyType({}),
    formula_only: Mapping[str, Any] = MappingProxyType({}),
) -> list[Array]:
    """Y and the last states. activations: of each direction. compiled_options, formula_options: the same option for the
    function and for the formula; formula_only: options that the function does not have."""
    if clip is not None:
        formula_only = {**formula_only, "clip": _clip(clip)}
    found = []
    for d, chosen in enumerate(activations):
        function = call.op.compiled.get(tuple([name for name, _, _ in chosen])) if not formula_only else None
        if function is None:
            options = {**formula_options, **formula_only}
            for prefix, (name, alpha, beta) in zip(call.op.prefixes, chosen, strict=True):
                options |= {prefix: name, f"{prefix}_alpha": alpha, f"{prefix}_beta": beta}
            found.append(_formula(call, d, call.op.formula.cell.choose(options)))
            continue
        biases = (None, None) if call.B is None else np.split(call.B[d], 2)
        start = [None if a is None else a[d] for a in call.initial]
        y, state = function(
            call.X, call.W[d], call.R[d], *biases, *start,
            lengths=call.lengths, reverse=call.ways[d], batch_first=call.batch_first, **compiled_options,
        )  # fmt: skip
        found.append((y, *(state if isinstance(state, tuple) else (state,))))
    axis = 1 if call.batch_first else 0
    return [_together(parts, axis + (i == 0)) for i, parts in enumerate(zip(*found, strict=True))]


def _together(parts: Sequence[Array], axis: int) -> Array:
    """Those of all directions along a new axis."""
    return np.expand_dims(parts[0], axis) if len(parts) == 1 else np.stack(parts, axis)


def _formula(call: _Call, d: int, variant: FormulaVariant) -> tuple[Array, ...]:
    """(y, h, ...) of direction d."""
    op, H, dtype = call.op, call.R.shape[2], call.X.dtype
    gates = op.formula.declaration.gates
    assert not callable(gates)
    kinds: dict[str, Array] = {"weight_ih": call.W[d], "weight_hh": call.R[d]}
    if call.B is not None:
        kinds["bias_ih"], kinds["bias_hh"] = np.split(call.B[d], 2)
    for kind, array in kinds.items():
        if variant.blocks(kind) != gates:  # f is missing where 1 - i stands for it
            used = [gates.index(gate) for gate in variant.blocks(kind)]
            kinds[kind] = array.reshape(op.gates, H, -1)[used].reshape(-1, *array.shape[1:])
    if call.P is not None:
        kinds.update(zip(op.formula.declaration.vectors, np.split(call.P[d], 3), strict=True))
    params = [np.ascontiguousarray(kinds[kind]) for kind in variant.shapes(1, H) if kind in kinds]

    x, unbatched = checks.sequence(call.X, call.X.shape[2], batch_first=call.batch_first)
    T, B, I = x.shape
    form = Form(variant, I, H, 1, 1, call.B is not None, call.batch_first, 0.0, dtype, stacked=False)
    form.check_size(T, B)
    start = form.inner_state(B, tuple([None if a is None else a[d] for a in call.initial]))
    args = Inputs(x, start, order_of(call.lengths, T), unbatched)
    packed = variant.pack(params, settings.here.isa, settings.num_threads, NONE, trainable=False)
    y, final = forward(form, [packed], args, reverse=call.ways[d])
    return (form.outer(y, unbatched), *[a[0] for a in final])


# ---- attributes -----------------------------------------------------------------------------------------------------------
def _switch(name: str, value: Any) -> bool:
    return bool(checks.one_of(name, int(value) if isinstance(value, (bool, np.integer)) else value, (0, 1)))


def _clip(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise checks.wrong_type("clip", "a number > 0 or None", value)
    if not value > 0:
        raise checks.wrong_value("clip", "a number > 0, or None for no limit", value)
    return float(value)


def _activations(op: Operator, ways: tuple[bool, ...], names: Any, alphas: Any, betas: Any) -> list[Activations]:
    """Of each direction."""
    each, D = len(op.activations), len(ways)
    if op is RNN and D == 1 and names is not None and list(names) == ["Tanh", "Tanh"]:
        names = None  # the default in the operator's schema, which does not know the direction
    chosen = _onnx.chosen(op.activations * D, each, names, alphas, betas)
    return [tuple(chosen[i : i + each]) for i in range(0, each * D, each)]
