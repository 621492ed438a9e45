"""Layers of formula cells for tests that need no kernels: what `rnnfast.reference.run` reads of a layer."""

from types import SimpleNamespace

import numpy as np

from rnnfast.formula.tracing import trace


def layer(cls, input_size, hidden_size, num_layers=1, *, bidirectional=False, bias=True, batch_first=False, rng=0, **options):
    """A layer of the cell `cls`, or of a declaration, in float64."""
    d = getattr(cls, "declaration", cls)
    draw, D, H = np.random.default_rng(rng), 2 if bidirectional else 1, hidden_size
    chosen, traced, params = d.with_defaults(options), trace(d, options, training=False, row_inputs=()), {}
    for number in range(num_layers):
        for way in ("", "_reverse")[:D]:
            shapes = {"weight_ih": (len(traced.x_gates) * H, D * H if number else input_size)}
            shapes["weight_hh"] = (len(traced.products) * H, H)
            shapes |= {f"bias_{kind}": (shapes[f"weight_{kind}"][0],) for kind in ("ih", "hh") if bias}
            shapes |= dict.fromkeys(traced.vectors, (H,))
            params |= {f"{name}_l{number}{way}": draw.uniform(-1, 1, shape) for name, shape in shapes.items() if shape[0]}
    return SimpleNamespace(
        declaration=d, formula=d.formula, options=chosen, params=params, input_size=input_size, hidden_size=H,
        num_layers=num_layers, bidirectional=bidirectional, bias=bias, batch_first=batch_first,
    )  # fmt: skip
