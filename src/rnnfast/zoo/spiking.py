"""Spiking neurons: their outputs are 0 and 1, and backward takes a surrogate for the derivative of the step."""

from rnnfast._engine import checks
from rnnfast.declared import cell
from rnnfast.formula import ops
from rnnfast.zoo.activations import SURROGATES


@cell(gates="a", states="s v")
def LIF(x, U, s, v, *, decay=0.9, threshold=1.0, reset="subtract", surrogate="atan"):
    """Leaky integrate-and-fire neurons with recurrent connections, as snnTorch's RLeaky (Eshraghian et al. 2023).

    ``v' = decay v + x_a + U_a s - threshold [v > threshold]``, ``s' = [v' > threshold]``

    s are the spikes, y. No gradient goes through the reset, as in snnTorch.

    Parameters
    ----------
    decay : float
        Share of v that is left after a step (snnTorch's beta).
    threshold : float
    reset : {"subtract", "zero"}
        "zero": the whole v' of a neuron that was above the threshold is set to 0 for this step, its input too.
    surrogate : {"atan", "fast_sigmoid", "sigmoid", "triangular"}
        Stands for the derivative of the step; see `SURROGATES`.
    """
    drive = decay * v + x.a + U.a @ s
    subtract = checks.one_of("reset", reset, ("subtract", "zero")) == "subtract"
    v = drive - threshold * (v > threshold) if subtract else drive * (1 - (v > threshold))
    return ops.step(v - threshold, slope(surrogate)), v


@cell(gates="a", states="s v a")
def ALIF(
    x, U, s, v, a, *, decay=0.95, adaptation_decay=0.995, adaptation=1.8, threshold=1.0, surrogate="triangular"
):  # fmt: skip
    """Leaky integrate-and-fire neurons whose threshold rises with each spike (Bellec et al. 2018, in the form of 2020).

    ``v' = decay v + x_a + U_a s - threshold s``, ``a' = adaptation_decay a + s``,
    ``s' = [v' > threshold + adaptation a']``

    s are the spikes, y. No gradient goes through the reset (the term ``threshold s``); it does through a.

    Parameters
    ----------
    decay, adaptation_decay : float
        Shares of v and a that are left after a step: exp(-dt / tau).
    adaptation : float
        How much a spike raises the threshold.
    threshold : float
        At rest. The surrogate gets (v' - threshold - adaptation a') / threshold.
    surrogate : {"atan", "fast_sigmoid", "sigmoid", "triangular"}
        Stands for the derivative of the step; see `SURROGATES`.
    """
    v = decay * v + x.a + U.a @ s - threshold * ops.stop_gradient(s)
    a = adaptation_decay * a + s
    return ops.step((v - threshold - adaptation * a) / threshold, slope(surrogate)), v, a


def slope(surrogate):
    return SURROGATES[checks.one_of("surrogate", surrogate, tuple(SURROGATES))]
