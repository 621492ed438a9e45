"""simple_rnn, lstm, gru: one layer in one direction, weights as arguments.

The weights may change from call to call, so they are read at every call and, for longer sequences, packed (copied into the
order in which the kernels read them). If they do not change, load them into a layer, and `freeze` it: it packs them once.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, overload

from rnnfast._engine import checks, settings
from rnnfast._engine.direct import run
from rnnfast._engine.tapes import Tape
from rnnfast._kernels import _fast_path
from rnnfast._types import Array
from rnnfast.cells import GRU, LSTM, SIMPLE_RNN, Cell

Lengths: TypeAlias = Any  # (B,) integers, array_like


def _run(
    cell: Cell,
    options: dict[str, Any],
    x: Any,
    weights: tuple[Any, Any, Any, Any],
    initial: tuple[Any, ...],
    lengths: Lengths,
    reverse: bool,
    record: bool,
    batch_first: bool,
    gate_order: str | None = None,
) -> Any:
    """Checks everything, then runs. Returns (y, state) or (y, state, tape)."""
    variant, isa, threads = checks.variant(cell, options), settings.here.isa, settings.num_threads
    kernel = variant.kernel
    assert kernel is not None
    blocks = None if gate_order is None else checks.gate_order(gate_order, cell.gates)
    if lengths is None and reverse is record is batch_first is False:
        state = initial if len(initial) > 1 else initial[0]
        done = _fast_path.try_live(kernel, isa, weights, 4, blocks, 0, x, state, threads)
        if done is not None:
            return done
    reverse, record, batch_first = (
        checks.flag("reverse", reverse),
        checks.flag("record", record),
        checks.flag("batch_first", batch_first),
    )
    y, final, tape = run(
        variant,
        x,
        weights,
        initial,
        lengths=lengths,
        reverse=reverse,
        record=record,
        batch_first=batch_first,
        blocks=blocks,
    )
    return (y, final) if tape is None else (checks.locked(y), final, tape)


@overload
def simple_rnn(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    *,
    nonlinearity: str = "tanh",
    lengths: Lengths = None,
    reverse: bool = False,
    batch_first: bool = False,
    record: Literal[False] = False,
) -> tuple[Array, Array]: ...
@overload
def simple_rnn(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    *,
    nonlinearity: str = "tanh",
    lengths: Lengths = None,
    reverse: bool = False,
    batch_first: bool = False,
    record: Literal[True],
) -> tuple[Array, Array, Tape]: ...
@overload
def simple_rnn(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    *,
    nonlinearity: str = "tanh",
    lengths: Lengths = None,
    reverse: bool = False,
    batch_first: bool = False,
    record: bool,
) -> tuple[Array, Array] | tuple[Array, Array, Tape]: ...
def simple_rnn(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    *,
    nonlinearity: str = "tanh",
    lengths: Lengths = None,
    reverse: bool = False,
    batch_first: bool = False,
    record: bool = False,
) -> Any:
    """Simple (Elman) recurrent layer over a whole sequence.

    ``h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)`` [1]_

    In the shapes, T is the number of time steps, B of samples in the batch, I of inputs and H of hidden units.

    Parameters
    ----------
    x : (T, B, I), with batch_first (B, T, I), or (T, I) array_like, float32 or float64
        The input. It is not modified. With `record` it is kept by reference, so it must not change before
        ``tape.backward``.
    w_ih, w_hh : (H, I), (H, H) array_like, dtype of x
        The weights, in any memory order: a transposed view is not copied.
    b_ih, b_hh : (H,) array_like, optional
        The biases. None means zeros, for either of them.
    h0 : (B, H) or (H,) array_like, optional
        Initial state; None means zeros. It is (H,) if x is (T, I).
    nonlinearity : {"tanh", "relu", "identity", "sigmoid"}
        The function f in the formula.
    lengths : (B,) array_like of int, optional
        The number of steps of each sample, 0 to T, in any order. Past the end of a sample, y is 0 and x is not read, so NaN in
        the padding is harmless. h_n is the state of each sample after its own last step (h0 for length 0). `lengths` cannot be
        given if x is (T, I).
    reverse : bool
        Go from the last step of each sample to its first; the y of each step stands at the place of its x.
    batch_first : bool
        x and y are (B, T, ...) instead of (T, B, ...). It has no effect if x is (T, I).
    record : bool
        Also return the tape for the backward pass. y is then read-only.

    Returns
    -------
    y : (T, B, H), with batch_first (B, T, H), or (T, H) ndarray, dtype of x
        h of every step.
    h_n : (B, H) or (H,) ndarray
        The last state.
    tape : Tape
        Only with `record`.

    Raises
    ------
    TypeError
        For a dtype that is neither float32 nor float64, for mixed dtypes, and for masked arrays and np.matrix.
    ValueError
        For a shape, length or option that does not fit; the text says which, what was expected and what came.
    MemoryError
        If there is not enough memory.

    References
    ----------
    .. [1] J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990), doi:10.1207/s15516709cog1402_1.

    Examples
    --------
    >>> x = np.ones((5, 1, 2))  # 5 steps of 1 sequence
    >>> w_ih, w_hh = np.full((3, 2), 0.1), np.full((3, 3), 0.1)
    >>> y, h_n = rnnfast.simple_rnn(x, w_ih, w_hh)
    >>> y.shape, h_n.shape
    ((5, 1, 3), (1, 3))
    >>> y, h_n, tape = rnnfast.simple_rnn(x, w_ih, w_hh, record=True)
    >>> g = tape.backward(np.ones_like(y))  # of the loss sum(y)
    >>> g.w_hh.shape
    (3, 3)
    """
    return _run(
        SIMPLE_RNN, {"nonlinearity": nonlinearity}, x, (w_ih, w_hh, b_ih, b_hh), (h0,), lengths, reverse, record, batch_first
    )


@overload
def lstm(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    c0: Any = None,
    *,
    lengths: Lengths = None,
    reverse: bool = False,
    gate_order: str | None = None,
    batch_first: bool = False,
    record: Literal[False] = False,
) -> tuple[Array, tuple[Array, Array]]: ...
@overload
def lstm(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    c0: Any = None,
    *,
    lengths: Lengths = None,
    reverse: bool = False,
    gate_order: str | None = None,
    batch_first: bool = False,
    record: Literal[True],
) -> tuple[Array, tuple[Array, Array], Tape]: ...
@overload
def lstm(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    c0: Any = None,
    *,
    lengths: Lengths = None,
    reverse: bool = False,
    gate_order: str | None = None,
    batch_first: bool = False,
    record: bool,
) -> tuple[Array, tuple[Array, Array]] | tuple[Array, tuple[Array, Array], Tape]: ...
def lstm(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    c0: Any = None,
    *,
    lengths: Lengths = None,
    reverse: bool = False,
    gate_order: str | None = None,
    batch_first: bool = False,
    record: bool = False,
) -> Any:
    """Long short-term memory layer over a whole sequence.

    With ``a = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh`` split into i, f, g, o [1]_::

        i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)
        g       = tanh(a_g)
        c_t     = f c_{t-1} + i g
        h_t     = o tanh(c_t)

    Parameters
    ----------
    x, lengths, reverse, batch_first, record
        As in `simple_rnn`.
    w_ih, w_hh : (4*H, I), (4*H, H) array_like, dtype of x
        The weights, with the blocks of rows in PyTorch's order i, f, g, o, or in that of `gate_order`; in any memory order.
    b_ih, b_hh : (4*H,) array_like, optional
        The biases, with the blocks in the same order. None means zeros, for either of them.
    h0, c0 : (B, H) or (H,) array_like, optional
        Initial states. None means zeros, for either of them.
    gate_order : str, optional
        Another order of the blocks in weights and biases, such as "i f o g" (the four letters in any order). Their gradients
        have the same order.

    Returns
    -------
    y : (T, B, H), with batch_first (B, T, H), or (T, H) ndarray, dtype of x
        h of every step.
    (h_n, c_n) : pair of (B, H) or (H,) ndarray
        The last states.
    tape : Tape
        Only with `record`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As in `simple_rnn`.

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, Neural Computation 9 (1997), doi:10.1162/neco.1997.9.8.1735; the forget gate:
       F. Gers et al., Neural Computation 12 (2000), doi:10.1162/089976600300015015.

    Examples
    --------
    >>> x = np.ones((5, 1, 2))  # 5 steps of 1 sequence
    >>> w_ih, w_hh = np.full((12, 2), 0.1), np.full((12, 3), 0.1)
    >>> y, (h_n, c_n) = rnnfast.lstm(x, w_ih, w_hh)
    >>> y.shape, h_n.shape, c_n.shape
    ((5, 1, 3), (1, 3), (1, 3))
    >>> y, (h_n, c_n), tape = rnnfast.lstm(x, w_ih, w_hh, record=True)
    >>> g = tape.backward(np.ones_like(y))  # of the loss sum(y)
    >>> g.w_hh.shape
    (12, 3)
    """
    return _run(LSTM, {}, x, (w_ih, w_hh, b_ih, b_hh), (h0, c0), lengths, reverse, record, batch_first, gate_order)


@overload
def gru(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    *,
    reset_after: bool = True,
    lengths: Lengths = None,
    reverse: bool = False,
    gate_order: str | None = None,
    batch_first: bool = False,
    record: Literal[False] = False,
) -> tuple[Array, Array]: ...
@overload
def gru(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    *,
    reset_after: bool = True,
    lengths: Lengths = None,
    reverse: bool = False,
    gate_order: str | None = None,
    batch_first: bool = False,
    record: Literal[True],
) -> tuple[Array, Array, Tape]: ...
@overload
def gru(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    *,
    reset_after: bool = True,
    lengths: Lengths = None,
    reverse: bool = False,
    gate_order: str | None = None,
    batch_first: bool = False,
    record: bool,
) -> tuple[Array, Array] | tuple[Array, Array, Tape]: ...
def gru(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    *,
    reset_after: bool = True,
    lengths: Lengths = None,
    reverse: bool = False,
    gate_order: str | None = None,
    batch_first: bool = False,
    record: bool = False,
) -> Any:
    """Gated recurrent unit layer over a whole sequence.

    With W, U, b, b' for the blocks of rows of w_ih, w_hh, b_ih, b_hh that belong to r or z, and W_n, U_n, b_in, b_hn for those
    that belong to n: ``r, z = sigmoid(W x_t + b + U h_{t-1} + b')`` and ``h_t = (1 - z) n + z h_{t-1}`` [1]_ with::

        n = tanh(W_n x_t + b_in + r (U_n h_{t-1} + b_hn))      reset_after=True (PyTorch, Keras, cuDNN)
        n = tanh(W_n x_t + b_in + U_n (r h_{t-1}) + b_hn)      reset_after=False (the paper, ONNX's default)

    Parameters
    ----------
    x, lengths, reverse, batch_first, record
        As in `simple_rnn`.
    w_ih, w_hh : (3*H, I), (3*H, H) array_like, dtype of x
        The weights, with the blocks of rows in PyTorch's order r, z, n, or in that of `gate_order`; in any memory order.
    b_ih, b_hh : (3*H,) array_like, optional
        The biases, with the blocks in the same order. None means zeros, for either of them.
    h0 : (B, H) or (H,) array_like, optional
        Initial state; None means zeros.
    reset_after : bool
        Whether the reset gate acts after the product of U_n and the state, or before it.
    gate_order : str, optional
        Another order of the blocks in weights and biases, such as "z r n". Their gradients have the same order.

    Returns
    -------
    y : (T, B, H), with batch_first (B, T, H), or (T, H) ndarray, dtype of x
        h of every step.
    h_n : (B, H) or (H,) ndarray
        The last state.
    tape : Tape
        Only with `record`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As in `simple_rnn`.

    References
    ----------
    .. [1] K. Cho et al., arXiv:1406.1078 (2014); v1 applies the reset gate after the product, v3 before it.

    Examples
    --------
    >>> x = np.ones((5, 1, 2))  # 5 steps of 1 sequence
    >>> y, h_n = rnnfast.gru(x, np.full((9, 2), 0.1), np.full((9, 3), 0.1))
    >>> y.shape, h_n.shape
    ((5, 1, 3), (1, 3))
    """
    return _run(
        GRU, {"reset_after": reset_after}, x, (w_ih, w_hh, b_ih, b_hh), (h0,), lengths, reverse, record, batch_first, gate_order
    )
