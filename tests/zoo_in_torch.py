"""A cell of the zoo against the same cell written in PyTorch, step by step; modules that import this are skipped without it."""

from types import SimpleNamespace

import numpy as np
import pytest
from formula_layers import layer
from stacks import as_argument, as_tuple

from rnnfast import reference
from rnnfast.proof.prove import error

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")

T, B, I, H = 7, 4, 3, 5
s, tanh, relu = torch.sigmoid, torch.tanh, torch.relu


def tensor(a):
    return torch.from_numpy(np.asarray(a, np.float64))


class Sums:
    """One layer: p.x("i") = W_i x + b_i; p.u("i", v) = U_i v + b_i; p.a("i") = both, of the first state; p.v.name: a vector.
    x_order, u_order: the gates in the order of their blocks, stated by each test."""

    def __init__(self, net, x_order, u_order):
        self.params = {name.removesuffix("_l0"): tensor(a) for name, a in net.params.items()}
        self.v = SimpleNamespace(**self.params)
        self.x_order, self.u_order = x_order.split(), u_order.split()
        assert self.params.get("weight_ih", torch.empty(0)).shape[0] == H * len(self.x_order)
        assert self.params.get("weight_hh", torch.empty(0)).shape[0] == H * len(self.u_order)

    def block(self, kind, order, gate, v):
        at = slice(order.index(gate) * H, (order.index(gate) + 1) * H)
        return torch.nn.functional.linear(v, self.params[f"weight_{kind}"][at], self.params[f"bias_{kind}"][at])

    def x(self, gate):
        return self.block("ih", self.x_order, gate, self.now)

    def u(self, gate, v):
        return self.block("hh", self.u_order, gate, v)

    def a(self, gate):
        return self.x(gate) + self.u(gate, self.first)


def compare(cell, step, x_order, u_order=None, states=1, inputs=None, draws=None, scale=1.0, **options):
    """step(p, t, *states) returns y and the new states; t has the inputs and draws of the step. inputs: shapes by name; draws:
    a callable of a generator that returns arrays by name; scale: of x."""
    rng = np.random.default_rng(7)
    net = layer(cell, I, H, **options)
    p = Sums(net, x_order, x_order if u_order is None else u_order)
    x = scale * rng.standard_normal((T, B, I))
    given = {name: rng.uniform(0.1, 2, shape) for name, shape in (inputs or {}).items()}
    random = draws(rng) if draws else {}
    begin = [rng.standard_normal((1, B, H)) for _ in range(states)]
    found, final = reference.run(net, x, as_argument(begin), inputs=given, draws=random, training=bool(draws))
    leaves = {"x": tensor(x)} | {f"state {i}": tensor(a) for i, a in enumerate(begin)}
    leaves |= {name: tensor(a) for name, a in given.items()} | {name: p.params[name.removesuffix("_l0")] for name in net.params}
    for leaf in leaves.values():
        leaf.requires_grad_()
    state, y = [leaves[f"state {i}"][0] for i in range(states)], []
    for t in range(T):
        p.now, p.first = leaves["x"][t], state[0]
        at_t = {name: leaves[name][t] if a.ndim == 3 else leaves[name][t][:, None] for name, a in given.items()}
        at_t |= {name: tensor(a[t] if a.ndim == 3 else a) for name, a in random.items()}
        one, *state = step(p, at_t, *state)
        y.append(one)
    expected = [torch.stack(y), *state]
    assert expected[0].abs().max() > 0.1  # it computes something
    as_list = lambda y, final: [y, *(a[0] for a in (final if states > 1 else (final,)))]  # noqa: E731
    for ours, theirs in zip(as_list(found, final), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
    kernels = cell(I, H, dtype=np.float64, **options)
    kernels.load_params(net.params)
    arguments = {"inputs": given or None}
    if not draws:
        for ours, theirs in zip(as_list(*kernels(x, as_argument(begin), **arguments)), expected, strict=True):
            np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
    if kernels._form.variant.draws and not draws:
        return  # inference has no gradients
    y, final, tape = kernels.record(x, as_argument(begin), **arguments, draws=random)
    for ours, theirs in zip(as_list(y, final), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
    d = [rng.standard_normal(a.shape) for a in expected]
    theirs = torch.autograd.grad(expected, list(leaves.values()), list(map(tensor, d)), materialize_grads=True)
    g = tape.backward(d[0], as_argument([a[None] for a in d[1:]]))
    ours = {"x": g.x, **{f"state {i}": a for i, a in enumerate(as_tuple(g.state))}, **(g.inputs or {}), **g.params}
    for name, expected in zip(leaves, theirs, strict=True):
        assert error(ours[name], expected.numpy()) < 1e-9, name
