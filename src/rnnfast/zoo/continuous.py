"""Cells that follow a differential equation."""

import numpy as np

from rnnfast._engine import checks
from rnnfast.declared import cell
from rnnfast.formula import ops
from rnnfast.zoo.activations import activate


@cell(gates="a", states="v", draws={"xi": ("normal", "step")}, output="r")
def LeakyRNN(x, U, v, xi, *, form="rate", alpha=0.2, noise=0.0, activation="tanh"):
    """Leaky recurrent network, the model of rates in neuroscience, also known as CTRNN (Song, Yang & Wang 2016).

    form "rate": ``v' = (1 - alpha) v + alpha f(x_a + U_a v) + e``, ``y = v'``;
    form "voltage": ``v' = (1 - alpha) v + alpha (x_a + U_a f(v)) + e``, ``y = f(v')``;
    ``e = sqrt(2 alpha) noise xi`` in training, where xi are standard normal numbers, and 0 at inference. The state is v.

    Parameters
    ----------
    form : {"rate", "voltage"}
    alpha : float
        Length of a step over the time constant, dt / tau.
    noise : float
        Its standard deviation, sigma.
    activation : str
        f; see `ACTIVATIONS`.
    """
    if checks.one_of("form", form, ("rate", "voltage")) == "rate":
        drive = activate(x.a + U.a @ v, activation)
    else:
        drive = x.a + U.a @ activate(v, activation)
    v = (1 - alpha) * v + alpha * drive
    if noise:
        v = v + np.sqrt(2 * alpha) * noise * xi
    return (v if form == "rate" else activate(v, activation)), v


@cell(gates="a b", states="h z")
def CoRNN(x, U, h, z, *, dt=0.042, gamma=2.7, epsilon=4.7, implicit=False):
    """Coupled oscillators (Rusch & Mishra 2021).

    ``z' = z + dt (tanh(x_a + U_a h + U_b z) - gamma h - epsilon z)``, ``h' = h + dt z'``

    h is the position of each oscillator, z its speed. The defaults of the options are those that the paper used for sequential
    MNIST.

    Parameters
    ----------
    dt, gamma, epsilon : float
        Length of a step, squared frequency, damping.
    implicit : bool
        The damping acts on z' instead of z, the paper's other variant: ``z' = (z + dt (tanh(...) - gamma h)) / (1 + dt
        epsilon)``.
    """
    force = np.tanh(x.a + U.a @ h + U.b @ z) - gamma * h
    z = (z + dt * force) / (1 + dt * epsilon) if implicit else z + dt * (force - epsilon * z)
    return h + dt * z, z


@cell(gates="s t z h", states="h z")
def LEM(x, U, h, z, *, dt=1.0):
    """Long expressive memory: two states with steps of learned length (Rusch et al. 2022).

    ``s = dt s(x_s + U_s h)``, ``t = dt s(x_t + U_t h)``, ``z' = (1 - s) z + s tanh(x_z + U_z h)``,
    ``h' = (1 - t) h + t tanh(x_h + U_h z')``

    Parameters
    ----------
    dt : float
        The longest step.
    """
    s, t = dt * ops.sigmoid(x.s + U.s @ h), dt * ops.sigmoid(x.t + U.t @ h)
    z = ops.lerp(z, np.tanh(x.z + U.z @ h), s)
    return ops.lerp(h, np.tanh(x.h + U.h @ z), t), z


@cell(gates="b f g s t", states="h", vectors="A w", inputs="dt", init={"A": 1.0, "w": 0.0})
def CfC(x, U, h, A, w, dt, *, mode="default"):
    """Closed-form continuous-time network, for steps at irregular times (Hasani et al. 2022).

    ``b = 1.7159 tanh(0.666 (x_b + U_b h))``, the backbone, as wide as the layer; then with ``f = tanh(U_f b)``,
    ``g = tanh(U_g b)`` and ``T = s(dt U_s b + U_t b)``: ``h' = (1 - T) f + T g``. The input dt is the time since the step
    before.

    Parameters
    ----------
    mode : {"default", "no_gate", "pure"}
        "no_gate": ``h' = f + T g``. "pure": ``h' = A - A exp(-dt (abs(w) + abs(U_f b))) U_f b``, with vectors A and w. As in
        the authors' library ncps.
    """
    b = 1.7159 * np.tanh(0.666 * (x.b + U.b @ h))
    if checks.one_of("mode", mode, ("default", "no_gate", "pure")) == "pure":
        rate = U.f @ b
        return A - A * np.exp(-dt * (abs(w) + abs(rate))) * rate
    f, g, T = np.tanh(U.f @ b), np.tanh(U.g @ b), ops.sigmoid(dt * (U.s @ b) + U.t @ b)
    return f + T * g if mode == "no_gate" else ops.lerp(f, g, T)
