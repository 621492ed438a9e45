"""ONNX's operators RNN, GRU and LSTM (opset 22) as functions on NumPy arrays: inputs by position in the operator's order,
attributes by keyword under their ONNX names and with their ONNX defaults. The package onnx is not needed.

In all shapes T is seq_length, B batch_size, I input_size, H hidden_size, and D num_directions, which is 2 for
direction="bidirectional".

Each function hands all its arguments to `compute` by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rnnfast._onnx_nodes import GRU, LSTM, RNN, compute
from rnnfast._types import Array

__all__ = ["gru", "lstm", "rnn"]


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

    Examples
    --------
    >>> X = np.ones((5, 1, 2), np.float32)  # 5 steps of 1 sequence
    >>> W, R = np.full((1, 3, 2), 0.1, np.float32), np.full((1, 3, 3), 0.1, np.float32)
    >>> Y, Y_h = rnnfast.onnx_ops.rnn(X, W, R, activations=["Relu"])
    >>> Y.shape, Y_h.shape
    ((5, 1, 1, 3), (1, 1, 3))
    """
    Y, Y_h = compute(RNN, locals())
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

    Examples
    --------
    >>> X = np.ones((5, 1, 2), np.float32)  # 5 steps of 1 sequence
    >>> W, R = np.full((1, 9, 2), 0.1, np.float32), np.full((1, 9, 3), 0.1, np.float32)
    >>> Y, Y_h = rnnfast.onnx_ops.gru(X, W, R, linear_before_reset=1)
    >>> Y.shape, Y_h.shape
    ((5, 1, 1, 3), (1, 1, 3))
    """
    Y, Y_h = compute(GRU, locals())
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

    Examples
    --------
    >>> X = np.ones((5, 1, 2), np.float32)  # 5 steps of 1 sequence
    >>> W, R = np.full((2, 12, 2), 0.1, np.float32), np.full((2, 12, 3), 0.1, np.float32)
    >>> Y, Y_h, Y_c = rnnfast.onnx_ops.lstm(X, W, R, direction="bidirectional")
    >>> Y.shape, Y_h.shape, Y_c.shape
    ((5, 2, 1, 3), (2, 1, 3), (2, 1, 3))
    """
    Y, Y_h, Y_c = compute(LSTM, locals())
    return Y, Y_h, Y_c
