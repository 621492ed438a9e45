"""Cells without gates, or whose only recurrent weights are vectors."""

from rnnfast.declared import cell
from rnnfast.formula import ops
from rnnfast.zoo.activations import activate


@cell(gates="a", states="h", draws={"m_a": ("dropout", "sequence", "recurrent_dropout")})
def SimpleRNN(x, U, h, m_a, *, activation="tanh", alpha=None, beta=None, recurrent_dropout=0.0):
    """The plain recurrent network (Elman 1990): ``h' = activation(x_a + U_a h)``.

    Parameters
    ----------
    activation : str
        See `ACTIVATIONS`.
    alpha, beta : float, optional
        Parameters of an activation that has some: slope and offset of "hard_sigmoid" (1/6 and 1/2 in PyTorch and Keras 3, 0.2
        and 0.5 in ONNX and Keras 2), low and high of "hard_tanh" (-1 and 1), alpha of "elu" (1), slope of "leaky_relu" (0.01
        in PyTorch and ONNX, 0.2 in Keras 3). None is PyTorch's.
    recurrent_dropout : float
        Dropout of the h that the product sees, with one mask for a whole sequence, as in Keras (Gal & Ghahramani 2016).
    """
    return activate(x.a + U.a @ (h * m_a), activation, alpha, beta)


@cell(gates="n f r s", states="c", vectors="v_f v_r", output="h")
def SRU(x, U, c, v_f, v_r, *, activation="identity"):
    """Simple recurrent unit: no recurrent matrix (Lei et al. 2018).

    ``f = s(x_f + v_f c)``, ``r = s(x_r + v_r c)``, ``c' = f c + (1 - f) x_n``, ``y = r activation(c') + (1 - r) x_s``

    The state is c. Both gates see the c before the step, as in the paper's last version. x_s is the projection that the
    authors' code uses where the input is not as wide as the layer; otherwise they take the input itself, which is the
    identity as that block of weight_ih, and a zero bias.

    Parameters
    ----------
    activation : str
        Of c' in y; "tanh" in the paper's first version. See `ACTIVATIONS`.
    """
    f, r = ops.sigmoid(x.f + v_f * c), ops.sigmoid(x.r + v_r * c)
    c = f * c + (1 - f) * x.n
    return r * activate(c, activation) + (1 - r) * x.s, c


@cell(gates="a", states="h", vectors="u", init={"u": lambda rng, shape: rng.uniform(-0.5, 0.5, shape)})
def IndRNN(x, U, h, u, *, activation="relu"):
    """Independently recurrent network: each unit sees itself alone (Li et al. 2018): ``h' = activation(x_a + u h)``.

    The paper keeps abs(u) below 2**(1/T) for sequences of T steps by clipping it after each step of the optimiser. u is drawn
    from U(-1/2, 1/2), as in haste.

    Parameters
    ----------
    activation : str
        See `ACTIVATIONS`.
    """
    return activate(x.a + u * h, activation)
