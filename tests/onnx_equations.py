"""ONNX's operators RNN, GRU and LSTM in plain NumPy and float64, step by step, as their documentation has the equations: what
the tests of rnnfast.onnx_ops compare with; and inputs for them."""

import numpy as np


def sigmoid(v):
    return 0.5 * (1 + np.tanh(v / 2))


ACTIVATIONS = {  # name -> (function of v, alpha, beta; alpha and beta where a node gives none)
    "Affine": (lambda v, a, b: a * v + b, None, None),
    "Relu": (lambda v, a, b: np.maximum(v, 0), 0, 0),
    "LeakyRelu": (lambda v, a, b: np.where(v >= 0, v, a * v), 0.01, 0),
    "ThresholdedRelu": (lambda v, a, b: np.where(v >= a, v, 0), 1.0, 0),
    "Tanh": (lambda v, a, b: np.tanh(v), 0, 0),
    "ScaledTanh": (lambda v, a, b: a * np.tanh(b * v), None, None),
    "Sigmoid": (lambda v, a, b: sigmoid(v), 0, 0),
    "HardSigmoid": (lambda v, a, b: np.minimum(np.maximum(a * v + b, 0), 1), 0.2, 0.5),
    "Elu": (lambda v, a, b: np.where(v >= 0, v, a * (np.exp(np.minimum(v, 0)) - 1)), 1.0, 0),
    "Softsign": (lambda v, a, b: v / (1 + np.abs(v)), 0, 0),
    "Softplus": (lambda v, a, b: np.logaddexp(0, v), 0, 0),
}
WITH_ALPHA = ("Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu")
WITH_BETA = ("Affine", "ScaledTanh", "HardSigmoid")
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def chosen(names, alphas, betas):
    """A function of v for each name; the lists are consumed by the activations that take a value."""
    alphas, betas = list(alphas or []), list(betas or [])
    known, found = {name.lower(): name for name in ACTIVATIONS}, []
    for name in [known[name.lower()] for name in names]:
        function, alpha, beta = ACTIVATIONS[name]
        if name in WITH_ALPHA and alphas:
            alpha = alphas.pop(0)
        if name in WITH_BETA and betas:
            beta = betas.pop(0)
        found.append(lambda v, f=function, a=alpha, b=beta: f(v, a, b))
    return found


def step(op, functions, clipped, x, h, c, W, R, Wb, Rb, P, linear_before_reset, input_forget):
    """One sequence, one step: h (H,), c (H,)."""
    if op == "RNN":
        (f,) = functions
        return f(clipped(W @ x + R @ h + Wb + Rb)), c
    if op == "GRU":
        f, g = functions
        (xz, xr, xn), (Rz, Rr, Rn), (bz, br, bn) = np.split(W @ x + Wb, 3), np.split(R, 3), np.split(Rb, 3)
        z, r = f(clipped(xz + Rz @ h + bz)), f(clipped(xr + Rr @ h + br))
        n = g(clipped(xn + r * (Rn @ h + bn) if linear_before_reset else xn + Rn @ (r * h) + bn))
        return (1 - z) * n + z * h, c
    f, g, out = functions
    i, o, forget, new = np.split(W @ x + R @ h + Wb + Rb, 4)
    p_i, p_o, p_f = np.split(P, 3)
    i = f(clipped(i + p_i * c))
    forget = 1 - i if input_forget else f(clipped(forget + p_f * c))
    c = forget * c + i * g(clipped(new))
    return f(clipped(o + p_o * c)) * out(c), c


def run(
    op, X, W, R, B=None, sequence_lens=None, initial_h=None, initial_c=None, P=None, *, activation_alpha=None,
    activation_beta=None, activations=None, clip=None, direction="forward", hidden_size=None, input_forget=0, layout=0,
    linear_before_reset=0,
):  # fmt: skip
    """(Y, Y_h) or (Y, Y_h, Y_c) in float64."""
    X, W, R = (np.asarray(a, np.float64) for a in (X, W, R))
    X = X.swapaxes(0, 1) if layout else X
    (T, batch, _), (D, _, H), G = X.shape, R.shape, GATES[op]
    Wb, Rb = np.zeros((2, D, G * H)) if B is None else np.split(np.asarray(B, np.float64), 2, axis=1)
    P = np.zeros((D, 3 * H)) if P is None else np.asarray(P, np.float64)
    starts = [None if a is None else np.asarray(a, np.float64) for a in (initial_h, initial_c)]
    h0, c0 = (np.zeros((D, batch, H)) if a is None else a.swapaxes(0, 1) if layout else a for a in starts)
    lengths = [T] * batch if sequence_lens is None else sequence_lens
    functions = chosen(activations or DEFAULTS[op] * D, activation_alpha, activation_beta)

    def clipped(v):
        return v if clip is None else np.minimum(np.maximum(v, -clip), clip)

    Y, Y_h, Y_c = np.zeros((T, D, batch, H)), h0.copy(), c0.copy()
    for d in range(D):
        own = functions[d * len(DEFAULTS[op]) : (d + 1) * len(DEFAULTS[op])]
        for b in range(batch):
            h, c, steps = h0[d, b], c0[d, b], list(range(lengths[b]))
            for t in steps[::-1] if direction == "reverse" or d == 1 else steps:
                h, c = step(op, own, clipped, X[t, b], h, c, W[d], R[d], Wb[d], Rb[d], P[d], linear_before_reset, input_forget)
                Y[t, d, b] = h
            Y_h[d, b], Y_c[d, b] = h, c
    if layout:
        Y, Y_h, Y_c = Y.transpose(2, 0, 1, 3), Y_h.swapaxes(0, 1), Y_c.swapaxes(0, 1)
    return (Y, Y_h, Y_c) if op == "LSTM" else (Y, Y_h)


def inputs(op, rng, dtype, *, T=5, batch=3, I=4, H=6, D=1, layout=0, scale=0.7):
    """Inputs of the operator by name, all of them."""

    def draw(*shape):
        return (scale * rng.standard_normal(shape)).astype(dtype)

    G, state = GATES[op], (batch, D, H) if layout else (D, batch, H)
    found = {
        "X": draw(*((batch, T) if layout else (T, batch)), I),
        "W": draw(D, G * H, I),
        "R": draw(D, G * H, H),
        "B": draw(D, 2 * G * H),
        "sequence_lens": rng.integers(0, T + 1, batch).astype(np.int32),
        "initial_h": draw(*state),
    }
    return {**found, "initial_c": draw(*state), "P": draw(D, 3 * H)} if op == "LSTM" else found
