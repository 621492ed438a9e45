"""The oracle for cells that are formulas: the formula itself on float64 arrays, step by step. Written to be read; it shares
nothing with tracing, planning and the kernels, and trusts its arguments."""

from typing import Any

import numpy as np


class Blocks:
    """x or U of a formula on arrays. block: from the gate's name to what the attribute is. used: gates that were asked for."""

    def __init__(self, block):
        self._block, self.used = block, set()

    def __getattr__(self, gate):
        self.used.add(gate)
        return self._block(gate)


class Product:
    """U.gate: w (H, H), b (H,)."""

    def __init__(self, w, b):
        self.w, self.b = w, b

    def __matmul__(self, v):
        return v @ self.w.T + self.b


class Direction:
    """A layer in one direction. x_blocks, u_blocks: gate -> its weights (H, I) or (H, H), and its biases (H,)."""

    def __init__(self, net, suffix):
        d, H = net.declaration, net.hidden_size
        params = {name: np.asarray(value, np.float64) for name, value in net.params.items()}
        nothing = np.full(H, np.nan)  # stands for what these options do not use: it would show if a result depended on it
        self.formula, self.fixed = net.formula, {**dict.fromkeys(d.parameters), **net.options}
        self.fixed |= dict.fromkeys((*d.inputs, *d.draws), nothing)
        self.fixed |= {name: params.get(name + suffix, nothing) for name in d.vectors}
        if d.takes_training:
            self.fixed["training"] = False
        x, U = Blocks(lambda gate: np.zeros((1, H))), Blocks(lambda gate: Product(np.zeros((H, H)), 0))
        with np.errstate(all="ignore"):
            self.formula(x, U, **self.fixed | {name: np.zeros((1, H)) for name in d.states_of(net.options)})
        self.x_blocks: dict[str, Any] = {}
        self.u_blocks: dict[str, Any] = {}
        for kind, used, blocks in (("ih", x.used, self.x_blocks), ("hh", U.used, self.u_blocks)):
            gates = [gate for gate in d.gates_of(net.options) if gate in used]
            w = params.get(f"weight_{kind}{suffix}", np.empty((0, H)))
            if len(w) != len(gates) * H:
                raise ValueError(
                    f"weight_{kind}{suffix}: expected {H} rows for each gate that the formula asks for ({' '.join(gates)}), "
                    f"got {len(w)} rows in all; a formula must not ask for gates on which no result depends"
                )
            b = params.get(f"bias_{kind}{suffix}", np.zeros(len(w)))
            for i, gate in enumerate(gates):
                blocks[gate] = w[i * H : (i + 1) * H], b[i * H : (i + 1) * H]

    def step(self, x, values):
        """The results for x (B, I). values: name -> (B, H) or (B, 1) of states, inputs and draws; `training`."""
        x_gates = Blocks(lambda gate: x @ self.x_blocks[gate][0].T + self.x_blocks[gate][1])
        products = Blocks(lambda gate: Product(*self.u_blocks[gate]))
        with np.errstate(all="ignore"):
            found = self.formula(x_gates, products, **self.fixed | values)
        return found if isinstance(found, (tuple, list)) else (found,)


def at_inference(draw, options):
    return {"dropout": 1.0, "bernoulli": options.get(draw.option), "normal": 0.0}[draw.kind]


def all_draws(net, places, T, B, given, training):
    """Name -> (places, T, B, H) of each draw."""
    found, H = {}, net.hidden_size
    for name, draw in net.declaration.draws.items():
        is_random = training and (draw.option is None or net.options[draw.option] > 0)
        value = np.asarray(given.get(name, np.nan) if is_random else at_inference(draw, net.options), np.float64)
        if value.ndim:
            value = value.reshape(places, T if draw.every == "step" else 1, B, H)
        found[name] = np.broadcast_to(value, (places, T, B, H))
    return found


def run(
    net: Any,
    x: Any,
    state: Any = None,
    *,
    lengths: Any = None,
    inputs: Any = None,
    draws: Any = None,
    training: bool = False,
) -> tuple[Any, Any]:
    """The forward pass of a layer whose cell is a formula, computed by that formula on float64 arrays.

    Parameters
    ----------
    net : layer
        Of any dtype; its parameters are converted to float64.
    x : (T, B, I), with batch_first (B, T, I), or (T, I) array_like
    state : array_like or tuple of them, optional
        As in a call of the layer; None, inside the tuple too, stands for the declared initial values.
    lengths : (B,) array_like of int, optional
        The number of steps of each sample.
    inputs : mapping of str to array_like, optional
        (T, B) or (T, B, H) each, with batch_first (B, T) or (B, T, H), unbatched (T,) or (T, H).
    draws : mapping of str to array_like, optional
        With training: (N, B, H), or (N, T, B, H) if drawn at each step, where N is num_layers*num_directions; without N if that
        is 1, and without B if x has none. Time comes before the batch with batch_first too, and is that of x in the reverse
        direction. Draws whose probability is 0 are left out.
    training : bool
        Whether draws have these values, and the formula's `training` is True. There is no dropout between layers.

    Returns
    -------
    y : (T, B, D*H), with batch_first (B, T, D*H), or (T, D*H) float64 ndarray
        Zeros past the end of each sample.
    state : float64 ndarray or tuple of them
        The final state, in the form of `state`.

    Raises
    ------
    ValueError
        If the formula asks for more gates than the layer has parameters for.
    """
    d, H, x = net.declaration, net.hidden_size, np.asarray(x, np.float64)
    unbatched, D = x.ndim == 2, 2 if net.bidirectional else 1
    places = [f"_l{layer}{way}" for layer in range(net.num_layers) for way in ("", "_reverse")[:D]]

    def time_first(a):
        return a[:, None] if unbatched else a.swapaxes(0, 1) if net.batch_first else a

    below = time_first(x)
    T, B, _ = below.shape
    outer = {name: time_first(np.asarray(a, np.float64)) for name, a in (inputs or {}).items()}
    outer = {name: a[..., None] if a.ndim == 2 else a for name, a in outer.items()}  # a number a row
    drawn = all_draws(net, len(places), T, B, draws or {}, training)
    initial = d.states_of(net.options)
    parts = (state,) if len(initial) == 1 else (None,) * len(initial) if state is None else state
    states = {
        name: np.full((len(places), B, H), start) if a is None else np.array(a, np.float64).reshape(len(places), B, H)
        for (name, start), a in zip(initial.items(), parts, strict=True)
    }
    ends = np.full(B, T) if lengths is None else np.asarray(lengths, np.intp)
    for place, suffix in enumerate(places):
        if place % D == 0:
            layer_x, below = below, np.zeros((T, B, D * H))
        direction, columns = Direction(net, suffix), slice(place % D * H, (place % D + 1) * H)
        for s in range(T):
            rows = np.flatnonzero(s < ends)
            at = (ends[rows] - 1 - s if place % D else np.full(len(rows), s)), rows  # time and sample
            values = {name: a[place, rows] for name, a in states.items()}
            values |= {name: a[at] for name, a in outer.items()} | {name: a[place][at] for name, a in drawn.items()}
            if d.takes_training:
                values["training"] = training
            results = direction.step(layer_x[at], values)
            below[(*at, columns)] = results[0]
            for a, value in zip(states.values(), results[len(results) - len(states) :], strict=True):
                a[place, rows] = value
    y = below[:, 0] if unbatched else below.swapaxes(0, 1) if net.batch_first else below
    final = tuple(a[:, 0] if unbatched else a for a in states.values())
    return y, final if len(final) > 1 else final[0]
