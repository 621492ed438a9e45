"""LSTM and its relatives."""

import numpy as np

from rnnfast._engine import checks
from rnnfast.declared import cell
from rnnfast.formula import ops
from rnnfast.zoo.activations import activate, kept, limited, normalized


@cell(
    gates="i f g o",
    states="h c",
    vectors="p_i p_f p_o",
    draws={f"m_{gate}": ("dropout", "sequence", "recurrent_dropout") for gate in "ifgo"}
    | {f"z_{state}": ("bernoulli", "step", f"zoneout_{state}") for state in "hc"},
)
def LSTM(
    x, U, h, c, p_i, p_f, p_o, m_i, m_f, m_g, m_o, z_h, z_c, *,
    peephole=False, coupled=False, activation="tanh", recurrent_activation="sigmoid", cell_activation=None,
    clip=None, cell_clip=None, recurrent_dropout=0.0, zoneout_h=0.0, zoneout_c=0.0,
):  # fmt: skip
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000) with the options of its variants.

    ``i, f, o = s(x_k + U_k h)``, ``g = tanh(x_g + U_g h)``, ``c' = f c + i g``, ``h' = o tanh(c')``: that of PyTorch and Keras.

    Parameters
    ----------
    peephole : bool
        Gates see the cell: ``p_i c`` and ``p_f c`` are added to the sums of i and f, ``p_o c'`` to that of o (Gers &
        Schmidhuber 2000). ONNX's P has the order p_i, p_o, p_f.
    coupled : bool
        ``f = 1 - i``, and there is no gate f (Greff et al. 2015; ONNX's input_forget). TensorFlow's cell has ``i = 1 - f``:
        negate the parameters of its f to get those of i.
    activation, recurrent_activation : str
        Of g, and of i, f, o; see `ACTIVATIONS`.
    cell_activation : str, optional
        Of c' in h'; None means that of g, as in Keras.
    clip : float, optional
        The sums of all gates are limited to -clip .. clip (ONNX).
    cell_clip : float, optional
        c' is limited to -cell_clip .. cell_clip before o sees it (TensorFlow).
    recurrent_dropout : float
        Dropout of the h that the products see, with one mask per gate for a whole sequence, as in Keras (Gal & Ghahramani
        2016).
    zoneout_h, zoneout_c : float
        The probabilities with which units keep h and c of the step before; at inference the mean of both (Krueger et al. 2017).
        h' is made of the c' before its zoneout, as in the paper.
    """

    def gate(a, p=None, c=None, how=recurrent_activation):
        return activate(limited(a if p is None or not peephole else a + p * c, clip), how)

    i = gate(x.i + U.i @ (h * m_i), p_i, c)
    f = 1 - i if coupled else gate(x.f + U.f @ (h * m_f), p_f, c)
    g = gate(x.g + U.g @ (h * m_g), how=activation)
    c_new = limited(f * c + i * g, cell_clip)
    o = gate(x.o + U.o @ (h * m_o), p_o, c_new)
    h_new = o * activate(c_new, activation if cell_activation is None else cell_activation)
    return kept(h, h_new, z_h) if zoneout_h else h_new, kept(c, c_new, z_c) if zoneout_c else c_new


@cell(
    gates="i f g o",
    states="h c",
    vectors="gx_i gx_f gx_g gx_o gh_i gh_f gh_g gh_o b_i b_f b_g b_o g_c b_c",
    init={**{f"g{of}_{gate}": 1.0 for of in "xh" for gate in "ifgo"}, **{f"b_{k}": 0.0 for k in "ifgoc"}, "g_c": 1.0},
)
def LayerNormLSTM(
    x, U, h, c, gx_i, gx_f, gx_g, gx_o, gh_i, gh_f, gh_g, gh_o, b_i, b_f, b_g, b_o, g_c, b_c, *,
    carry_normalized=False, eps=1e-5,
):  # fmt: skip
    """LSTM with layer normalisation (Ba, Kiros & Hinton 2016).

    The gates' sums are ``LN(x) + LN(U h) + b``, where each LN is over all four gates of a row together and has a gain per
    unit and gate (gx, gh); ``c' = f c + i g``, ``h' = o tanh(LN(c'))``. The carried c' is not normalised: that is the paper
    and haste. The layer's own biases are added before normalising; those papers and libraries have none there: bias=False.

    Parameters
    ----------
    carry_normalized : bool
        ``c' = LN(f c + i g)`` is carried, as in PyTorch's custom_lstms.py and TensorFlow Addons.
    eps : float
        Added to the variances: 1e-5 in PyTorch, 1e-3 in TensorFlow Addons.
    """
    from_x = normalized([x.i, x.f, x.g, x.o], [gx_i, gx_f, gx_g, gx_o], eps)
    from_h = normalized([U.i @ h, U.f @ h, U.g @ h, U.o @ h], [gh_i, gh_f, gh_g, gh_o], eps)
    a_i, a_f, a_g, a_o = (a + u + b for a, u, b in zip(from_x, from_h, (b_i, b_f, b_g, b_o), strict=True))
    c = ops.sigmoid(a_f) * c + ops.sigmoid(a_i) * np.tanh(a_g)
    normed = ops.layer_norm(c, g_c, b_c, eps)
    return ops.sigmoid(a_o) * np.tanh(normed), normed if carry_normalized else c


@cell(gates="f g", states="h")
def JANET(x, U, h, *, beta=1.0):
    """LSTM with the forget gate alone (van der Westhuizen & Lasenby 2018).

    ``a = x_f + U_f h``, ``h' = s(a) h + (1 - s(a - beta)) tanh(x_g + U_g h)``

    The paper initialises the bias of f to log(U(1, T - 1)) for sequences of T steps; here it is drawn as every other parameter.

    Parameters
    ----------
    beta : float
        How much more the gate adds than it forgets; 1 in the paper.
    """
    a = x.f + U.f @ h
    return ops.sigmoid(a) * h + (1 - ops.sigmoid(a - beta)) * np.tanh(x.g + U.g @ h)


@cell(gates="m i f g o", states="h c")
def MultiplicativeLSTM(x, U, h, c):
    """LSTM whose recurrent matrix depends on the input (Krause et al. 2016).

    ``m = x_m (U_m h)``, then LSTM with m in the place of h.
    """
    m = x.m * (U.m @ h)
    i, f, o = ops.sigmoid(x.i + U.i @ m), ops.sigmoid(x.f + U.f @ m), ops.sigmoid(x.o + U.o @ m)
    c = f * c + i * np.tanh(x.g + U.g @ m)
    return o * np.tanh(c), c


@cell(gates="i f z o", states={"h": 0, "c": 0, "n": 0, "m": -np.inf})
def SLSTM(x, U, h, c, n, m):
    """The scalar LSTM of xLSTM, with an exponential input gate (Beck et al. 2024).

    With ``a_k = x_k + U_k h`` and ``l = log(s(a_f))``: ``m' = max(l + m, a_i)``, ``i = exp(a_i - m')``, ``f = exp(l + m -
    m')``, ``c' = f c + i tanh(a_z)``, ``n' = f n + i``, ``h' = s(a_o) c' / n'``.

    The recurrent matrices are dense; those of the paper have a block for each head, which is the same with zeros elsewhere. The
    library xlstm treats the first step apart; here the initial m of -inf does that, row by row.
    """
    a_i, log_f = x.i + U.i @ h, ops.log_sigmoid(x.f + U.f @ h)
    m_new = np.maximum(log_f + m, a_i)
    i, f = np.exp(a_i - m_new), np.exp(log_f + m - m_new)
    c = f * c + i * np.tanh(x.z + U.z @ h)
    n = f * n + i
    return ops.sigmoid(x.o + U.o @ h) * (c / n), c, n, m_new


@cell(gates="i f g o d", states="h c", inputs="dt")
def TLSTM(x, U, h, c, dt, *, decay="log"):
    """Time-aware LSTM, for steps at irregular times (Baytas et al. 2017).

    ``c_S = tanh(U_d c)`` is the part of the cell that time fades: LSTM with ``c - c_S + c_S w(dt)`` in the place of c. The
    input dt is the time since the step before.

    Parameters
    ----------
    decay : {"log", "inverse"}
        ``w(dt) = 1 / log(e + dt)``, for long times, or ``1 / dt``, for short ones.
    """
    weight = 1 / np.log(np.e + dt) if checks.one_of("decay", decay, ("log", "inverse")) == "log" else 1 / dt
    short = np.tanh(U.d @ c)
    c = c - short + short * weight
    i, f, o = ops.sigmoid(x.i + U.i @ h), ops.sigmoid(x.f + U.f @ h), ops.sigmoid(x.o + U.o @ h)
    c = f * c + i * np.tanh(x.g + U.g @ h)
    return o * np.tanh(c), c


@cell(gates="f i n", states="h")
def MinLSTM(x, U, h, *, positive=True):
    """The smallest LSTM, whose gates see the input alone (Feng et al. 2024).

    ``f, i = s(x_f), s(x_i)``, ``h' = (f h + i g(x_n)) / (f + i)``. f / (f + i) is computed through logarithms, as in the
    paper's own code, so that small gates are no 0 / 0.

    Parameters
    ----------
    positive : bool
        ``g(v) = v + 1/2`` for v >= 0, else ``s(v)``, of the paper's main version; otherwise ``g(v) = v``, that of its simple
        one.
    """
    f = ops.sigmoid(ops.log_sigmoid(x.f) - ops.log_sigmoid(x.i))
    n = np.where(x.n >= 0, x.n + 0.5, ops.sigmoid(x.n)) if positive else x.n
    return f * h + (1 - f) * n
