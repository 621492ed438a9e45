"""Layers through the reference: stacked and bidirectional layers built from rnnfast.reference's functions, for comparison."""

import numpy as np

from rnnfast import reference
from rnnfast.cells import CELLS
from rnnfast.layers import LAYERS


def make(cell, *, seed=0, **arguments):
    """A layer of the cell with random parameters."""
    return LAYERS[cell](rng=seed, **arguments)


def split_state(cell, state, places):
    """A state argument as one tuple of arrays a place (layer and direction)."""
    letters = CELLS[cell].states
    parts = state if isinstance(state, tuple) else (state,) * len(letters) if state is None else (state,)
    return [tuple(None if a is None else a[i] for a in parts) for i in range(places)]


def run(net, x, state=None, lengths=None, dy=None, dstate=None):
    """What net.record and tape.backward must give, computed in x's dtype: (y, states, dx, dstates, dparams).

    x (T, B, I), or batch first if net is; states: tuple of (num_layers*D, B, H)."""
    cell, D = net.cell.name, 2 if net.bidirectional else 1
    function = getattr(reference, cell)
    options = {name: getattr(net, name) for name in net.cell.options}
    params = {name: value.astype(x.dtype) for name, value in net.params.items()}
    if net.batch_first:
        x = x.swapaxes(0, 1)
        dy = None if dy is None else dy.swapaxes(0, 1)
    initial = split_state(cell, state, net.num_layers * D)
    tapes, finals = [], []
    for layer in range(net.num_layers):
        outs = []
        for d in range(D):
            suffix = f"l{layer}" + ("_reverse" if d else "")
            weights = [params.get(f"{kind}_{suffix}") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            y, final, tape = function(
                x, *weights, *initial[layer * D + d], **options, lengths=lengths, reverse=bool(d), record=True
            )
            outs.append(y)
            finals.append(final if isinstance(final, tuple) else (final,))
            tapes.append((suffix, tape))
        x = np.concatenate(outs, axis=-1)
    y = x.swapaxes(0, 1) if net.batch_first else x

    grads, starts = {}, [None] * len(tapes)
    last = split_state(cell, dstate, len(tapes))
    H = net.hidden_size
    for layer in range(net.num_layers - 1, -1, -1):
        dx = 0
        for d in range(D):
            place = layer * D + d
            suffix, tape = tapes[place]
            part = last[place] if len(last[place]) > 1 else last[place][0]
            g = tape.backward(None if dy is None else dy[..., d * H : (d + 1) * H], part)
            dx = dx + g.x
            starts[place] = tuple(getattr(g, f"{letter}0") for letter in net.cell.states)
            for kind, short in (("weight", "w"), ("bias", "b")):
                for side in ("ih", "hh"):
                    if f"{kind}_{side}_{suffix}" in params:
                        grads[f"{kind}_{side}_{suffix}"] = getattr(g, f"{short}_{side}")
        dy = dx
    dx = dy.swapaxes(0, 1) if net.batch_first else dy
    return (
        y,
        tuple(np.stack(parts) for parts in zip(*finals, strict=True)),
        dx,
        tuple(np.stack(parts) for parts in zip(*starts, strict=True)),
        grads,
    )


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def as_argument(parts):
    return tuple(parts) if len(parts) > 1 else parts[0]


# ---- small layers and random arguments for them
CELL_NAMES = list(CELLS)
VARIANTS = [(cell.name, dict(variant.options)) for cell in CELLS.values() for variant in cell.variants]


def small(cell, dtype=np.float32, I=5, H=19, **arguments):
    """A layer of odd sizes."""
    return make(cell, input_size=I, hidden_size=H, dtype=dtype, **arguments)


def draw(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def states(net, B, seed=5):
    count = net.num_layers * (2 if net.bidirectional else 1)
    parts = [draw(count, B, net.hidden_size, seed=seed + i, dtype=net.dtype) for i in range(len(net.cell.states))]
    return as_argument(parts)


def same(a, b):
    """Bit for bit, through tuples, gradients and mappings."""
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "params"):
        return same((a.x, a.state, *a.params.values()), (b.x, b.state, *b.params.values()))
    return np.array_equal(a, b, equal_nan=True)


def train(net, x, state=None, **arguments):
    y, final, tape = net.record(x, state, **arguments)
    dy = draw(*y.shape, seed=9, dtype=net.dtype)
    return y, final, tape.backward(dy, states(net, y.shape[1], seed=11))


def tuple_map(f, value):
    return tuple(map(f, value)) if isinstance(value, tuple) else f(value)
