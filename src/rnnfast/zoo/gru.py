"""GRU and its relatives."""

import numpy as np

from rnnfast._engine import checks
from rnnfast.declared import cell
from rnnfast.formula import ops
from rnnfast.zoo.activations import activate, kept, limited, normalized


@cell(
    gates="r z n",
    states="h",
    draws={
        **{f"m_{gate}": ("dropout", "sequence", "recurrent_dropout") for gate in "rzn"},
        "z_h": ("bernoulli", "step", "zoneout"),
    },
)
def GRU(
    x, U, h, m_r, m_z, m_n, z_h, *,
    reset_after=True, update="old", activation="tanh", recurrent_activation="sigmoid", clip=None,
    recurrent_dropout=0.0, zoneout=0.0,
):  # fmt: skip
    """Gated recurrent unit (Cho et al. 2014) with the options of its variants.

    ``r, z = s(x_k + U_k h)``, ``n = tanh(x_n + r (U_n h))``, ``h' = n + z (h - n)``: that of PyTorch, Keras and ONNX.

    Parameters
    ----------
    reset_after : bool
        False: ``n = tanh(x_n + U_n (r h))`` (ONNX's default, Keras's reset_after=False).
    update : {"old", "new"}
        Which of the two z multiplies. "new": ``h' = h + z (n - h)``, as in many papers. Negating the parameters of z turns
        one into the other.
    activation, recurrent_activation : str
        Of n, and of r and z; see `ACTIVATIONS`.
    clip : float, optional
        The sums of all gates are limited to -clip .. clip (ONNX).
    recurrent_dropout : float
        Dropout of the h that the products see, with one mask per gate for a whole sequence, as in Keras (Gal & Ghahramani
        2016).
    zoneout : float
        The probability with which units keep h of the step before; at inference the mean of both (Krueger et al. 2017).
    """
    r = activate(limited(x.r + U.r @ (h * m_r), clip), recurrent_activation)
    z = activate(limited(x.z + U.z @ (h * m_z), clip), recurrent_activation)
    recurrent = r * (U.n @ (h * m_n)) if reset_after else U.n @ (r * (h * m_n))
    n = activate(limited(x.n + recurrent, clip), activation)
    h_new = n + z * (h - n) if checks.one_of("update", update, ("old", "new")) == "old" else h + z * (n - h)
    return kept(h, h_new, z_h) if zoneout else h_new


@cell(
    gates="r z n",
    states="h",
    vectors="gx_r gx_z gx_n gh_r gh_z gh_n b_r b_z b_n b_h",
    init={**{f"g{of}_{gate}": 1.0 for of in "xh" for gate in "rzn"}, **{f"b_{k}": 0.0 for k in "rznh"}},
)
def LayerNormGRU(x, U, h, gx_r, gx_z, gx_n, gh_r, gh_z, gh_n, b_r, b_z, b_n, b_h, *, eps=1e-5):
    """GRU with layer normalisation (Ba, Kiros & Hinton 2016), in the form of haste and of speech transducers.

    GRU with ``LN(x)`` and ``LN(U h)`` in the place of x and U h, where each LN is over all three gates of a row together and
    has a gain per unit and gate (gx, gh), and shifts b; b_h stands beside U_n h, inside the product with r. The layer's own
    biases are added before normalising; those libraries have none there: bias=False.

    Parameters
    ----------
    eps : float
        Added to the variances.
    """
    x_r, x_z, x_n = normalized([x.r, x.z, x.n], [gx_r, gx_z, gx_n], eps)
    h_r, h_z, h_n = normalized([U.r @ h, U.z @ h, U.n @ h], [gh_r, gh_z, gh_n], eps)
    r, z = ops.sigmoid(x_r + h_r + b_r), ops.sigmoid(x_z + h_z + b_z)
    n = np.tanh(x_n + b_n + r * (h_n + b_h))
    return n + z * (h - n)


@cell(gates="f n", states="h")
def MGU(x, U, h):
    """Minimal gated unit: one gate that forgets and updates (Zhou et al. 2016).

    ``f = s(x_f + U_f h)``, ``n = tanh(x_n + U_n (f h))``, ``h' = (1 - f) h + f n``
    """
    f = ops.sigmoid(x.f + U.f @ h)
    n = np.tanh(x.n + U.n @ (f * h))
    return h + f * (n - h)


@cell(gates="z n", states="h")
def LiGRU(x, U, h, *, activation="relu"):
    """Light GRU, for speech: no reset gate, relu (Ravanelli et al. 2018).

    ``z = s(x_z + U_z h)``, ``n = relu(x_n + U_n h)``, ``h' = z h + (1 - z) n``

    The paper's batch normalisation of W x is no part of the step: at inference it is a factor and a shift, which multiply into
    weight_ih and bias_ih.

    Parameters
    ----------
    activation : str
        Of n; see `ACTIVATIONS`.
    """
    z = ops.sigmoid(x.z + U.z @ h)
    n = activate(x.n + U.n @ h, activation)
    return n + z * (h - n)


@cell(gates="z n", states="h")
def MinGRU(x, U, h, *, positive=True):
    """The smallest GRU, whose gate sees the input alone (Feng et al. 2024).

    ``h' = (1 - z) h + z g(x_n)`` with ``z = s(x_z)``

    Parameters
    ----------
    positive : bool
        ``g(v) = v + 1/2`` for v >= 0, else ``s(v)``, of the paper's main version; otherwise ``g(v) = v``, that of its simple
        one.
    """
    n = np.where(x.n >= 0, x.n + 0.5, ops.sigmoid(x.n)) if positive else x.n
    return h + ops.sigmoid(x.z) * (n - h)
