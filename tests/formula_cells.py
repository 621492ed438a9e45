"""Layers of all cells of the zoo with all their options, random arguments for them, and what a training step gives."""

from dataclasses import dataclass, replace

import numpy as np
from stacks import as_argument, as_tuple

from rnnfast import zoo

OPTIONS = {  # beside the defaults
    "LSTM": [
        {"peephole": True, "clip": 0.7, "cell_clip": 0.6},
        {"coupled": True, "activation": "softsign", "recurrent_activation": "hard_sigmoid", "cell_activation": "elu"},
        {"recurrent_dropout": 0.3},
        {"zoneout_h": 0.2, "zoneout_c": 0.4, "peephole": True},
    ],
    "GRU": [
        {"reset_after": False},
        {"update": "new", "recurrent_activation": "hard_sigmoid", "activation": "leaky_relu", "clip": 0.7},
        {"recurrent_dropout": 0.3, "zoneout": 0.2, "reset_after": False},
    ],
    "SimpleRNN": [
        *({"activation": name} for name in zoo.ACTIVATIONS),
        {"activation": "hard_tanh", "alpha": -0.2, "beta": 0.3},
        {"recurrent_dropout": 0.3},
    ],
    "LayerNormLSTM": [{"carry_normalized": True, "eps": 1e-3}],
    "LayerNormGRU": [{"eps": 1e-3}],
    "JANET": [{"beta": 0.5}],
    "TLSTM": [{"decay": "inverse"}],
    "LiGRU": [{"activation": "tanh"}],
    "MinGRU": [{"positive": False}],
    "MinLSTM": [{"positive": False}],
    "SRU": [{"activation": "tanh"}],
    "IndRNN": [{"activation": "sigmoid"}],
    "LeakyRNN": [{"form": "voltage", "noise": 0.5, "alpha": 0.3, "activation": "softplus"}],
    "CoRNN": [{"implicit": True, "dt": 0.2, "gamma": 1.0, "epsilon": 2.0}],
    "LEM": [{"dt": 0.5}],
    "CfC": [{"mode": "no_gate"}, {"mode": "pure"}],
    "LIF": [{"reset": "zero", "decay": 0.8, "threshold": 0.3, "surrogate": "sigmoid"}],
    "ALIF": [
        {"decay": 0.8, "adaptation_decay": 0.9, "adaptation": 0.5, "threshold": 0.3, "surrogate": "fast_sigmoid"},
    ],
}
VARIANTS = [(name, options) for name in zoo.CELLS for options in ({}, *OPTIONS.get(name, ()))]
# few that have between them all that a cell can have: products in phases, vectors, means, inputs, draws, three and more states
# with an initial value, an output that is no state, no product at all, steps
FEW = [VARIANTS[1], VARIANTS[4]] + [
    (name, OPTIONS.get(name, [{}])[0]) for name in ("LayerNormGRU", "SLSTM", "TLSTM", "MGU", "SRU", "LeakyRNN", "CfC", "ALIF")
]


def make(name, dtype=np.float64, I=3, H=19, **arguments):
    return zoo.CELLS[name](I, H, dtype=dtype, **{"rng": 1, **arguments})


@dataclass
class Data:
    """Arguments of a training step, time first. state, dstate: tuples. draws: with all their axes, (N, [T,] B, H)."""

    x: np.ndarray
    state: tuple
    inputs: dict
    draws: dict
    lengths: np.ndarray | None
    dy: np.ndarray
    dstate: tuple

    def only(self, rows):
        """Of these samples."""
        return replace(
            self,
            x=self.x[:, rows],
            state=tuple(a[:, rows] for a in self.state),
            inputs={k: a[:, rows] for k, a in self.inputs.items()},
            draws={k: a[..., rows, :] for k, a in self.draws.items()},
            lengths=None if self.lengths is None else self.lengths[rows],
            dy=self.dy[:, rows],
            dstate=tuple(a[:, rows] for a in self.dstate),
        )

    def until(self, t):
        """Of the first steps."""
        steps = {k: a[:, :t] if a.ndim == 4 else a for k, a in self.draws.items()}
        inputs = {k: a[:t] for k, a in self.inputs.items()}
        return replace(self, x=self.x[:t], inputs=inputs, draws=steps, lengths=None, dy=self.dy[:t])

    def astype(self, dtype):
        cast = {
            tuple: lambda value: tuple(a.astype(dtype) for a in value),
            dict: lambda value: {k: a.astype(dtype) for k, a in value.items()},
            np.ndarray: lambda value: value.astype(dtype),
        }
        changed = {k: cast[type(v)](v) for k, v in vars(self).items() if k != "lengths"}
        return replace(self, **changed)

    def call(self, net, **more):
        """(y, states...)"""
        y, final = net(self.x, as_argument(self.state), lengths=self.lengths, inputs=self.inputs, **more)
        return y, *as_tuple(final)

    def record(self, net, **more):
        many = len(self.state[0]) > 1
        draws = {k: a if many else a[0] for k, a in self.draws.items()}
        arguments = {"lengths": self.lengths, "inputs": self.inputs, "draws": draws, **more}
        return net.record(self.x, as_argument(self.state), **arguments)

    def train(self, net, **more):
        """Everything by name."""
        y, final, tape = self.record(net, **more)
        g = tape.backward(self.dy, as_argument(self.dstate))
        return self.named(net, y, final, g)

    @staticmethod
    def named(net, y, final, g):
        names = net._form.variant.states
        found = {"y": y, **{f"final {k}": a for k, a in zip(names, as_tuple(final), strict=True)}, "dx": g.x}
        found |= {f"d{k}": a for k, a in zip(names, as_tuple(g.state), strict=True)}
        return found | {f"d {k}": a for k, a in (g.inputs or {}).items()} | dict(g.params)


def data(net, T=6, B=5, *, rows=False, ragged=False, seed=3):
    """rows: inputs of one number a row."""
    rng, variant, H = np.random.default_rng(seed), net._form.variant, net.hidden_size
    N, D, dtype = net._form.places, net._form.directions, net.dtype
    lengths = rng.permutation(np.arange(B) * 5 % (T + 1)) if ragged else None
    drawn = {k: d.draw(rng, d.shape(N, T, B, H), dtype) for k, d in variant.draws.items()}
    return Data(
        x=rng.standard_normal((T, B, net.input_size)),
        state=tuple(rng.uniform(0.1, 1, (N, B, H)) for _ in variant.states),
        inputs={k: rng.uniform(0.1, 1, (T, B) if rows else (T, B, H)) for k in variant.inputs},
        draws=drawn,
        lengths=lengths,
        dy=rng.standard_normal((T, B, D * H)),
        dstate=tuple(rng.standard_normal((N, B, H)) for _ in variant.states),
    ).astype(dtype)


def differing(a, b):
    """Names of the results that are not the same to the last bit."""
    assert a.keys() == b.keys()
    return [name for name in a if not np.array_equal(a[name], b[name], equal_nan=True)]
