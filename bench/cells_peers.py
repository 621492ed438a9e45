"""Who races in cells.py: layers of rnnfast, and the cells of cells_steps.py in JAX and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

import rnnfast
from cells_steps import STEPS, Cell, Kit
from peers import configure_jax
from rnnfast import reference, zoo
from rnnfast._types import Array
from rnnfast.proof.contenders import Contender, Result, Task, Work, layer_work, modes
from rnnfast.proof.prove import error
from rnnfast.proof.race import SAME

OPTIONS: dict[str, dict[str, Any]] = {  # of zoo.LSTM
    "LSTM peephole": {"peephole": True},
    "LSTM zoneout": {"zoneout_h": 0.1, "zoneout_c": 0.1},
    "LSTM recurrent dropout": {"recurrent_dropout": 0.1},
}
CHECKED = 5  # steps: in more of them, rounding may decide whether a spiking cell spikes


class Given(NamedTuple):
    """What every contender of a task computes with. inputs: (T, B) each; state: (B, H) each."""

    net: Any
    x: Array
    inputs: dict[str, Array]
    state: tuple[Array, ...]

    @property
    def initial(self) -> Any:
        """In the form that the layer takes."""
        arrays = tuple([a[None] for a in self.state])
        return arrays if len(arrays) > 1 else arrays[0]


def given(task: Task, kinds: Any = zoo) -> Given:
    """kinds: where the layer's class is. The task's cell is its name, or one of OPTIONS."""
    shape, rng = task.shape, np.random.default_rng(3)
    make = getattr(kinds, task.cell.partition(" ")[0])
    sizes = shape.I, shape.H, shape.num_layers
    net = make(*sizes, bidirectional=shape.bidirectional, dtype=task.dtype, rng=7, **OPTIONS.get(task.cell, {}))
    for name, a in net.params.items():
        if name.startswith("gh_"):  # at the 1 they begin with, a wide cell is chaotic: its float32 results drift from float64's
            a[...] = 0.25
    variant = net._form.variant
    x = rng.standard_normal((shape.T, shape.B, shape.I)).astype(task.dtype)
    inputs = {name: rng.uniform(0.1, 2, x.shape[:2]).astype(task.dtype) for name in variant.inputs}
    state = tuple([rng.uniform(0.5, 1, (shape.B, shape.H)).astype(task.dtype) for _ in variant.states])
    return Given(net, x, inputs, state)


# ---- rnnfast ---------------------------------------------------------------------------------------------------------------
def layer_task(task: Task, threads: int, *, compiled: bool = False, with_state: bool = False) -> Work:
    """A layer of the zoo, or the compiled one of that name. with_state: from a given state, whose gradients are computed."""
    rnnfast.set_num_threads(threads)
    g = given(task, rnnfast if compiled else zoo)
    return layer_work(g.net, task, g.x, g.inputs or None, g.initial if with_state else None)


def costed_task(task: Task, threads: int, *, plain: bool = False) -> Work:
    """A cell's time beside that of the plain compiled LSTM, which computes something else: so the results that are compared are
    the sizes of y, and the cell's inference is compared with its formula on float64 arrays before."""
    rnnfast.set_num_threads(threads)
    g = given(task._replace(cell="LSTM"), rnnfast) if plain else given(task)
    if not plain and not task.training:
        part = slice(CHECKED)
        inputs = {name: a[part] for name, a in g.inputs.items()}
        found, expected = g.net(g.x[part], inputs=inputs or None)[0], reference.run(g.net, g.x[part], inputs=inputs)[0]
        if not error(found, expected) <= SAME:
            raise ValueError(f"{task.cell}: y differs from the formula's by {error(found, expected):.1e}")
    work = layer_work(g.net, task, g.x, g.inputs or None)

    def run() -> Callable[[], Result]:
        y = work()[0]
        return lambda: [np.array(y.shape, task.dtype)]

    return run


# ---- what JAX and PyTorch share --------------------------------------------------------------------------------------------
def arranged(cell: Cell, m: Any, g: Given, params: dict[str, Any], x: Any, inputs: Any) -> Kit:
    """The kit of all steps at once. params: by the layer's names without _l0, in PyTorch's layout."""
    variant, H = g.net._form.variant, g.net.hidden_size
    x_gates, h_gates = variant.x_gates, variant.h_gates

    def rows(name: str, gates: tuple[str, ...], group: list[str]) -> Any:
        """The blocks of these gates, which are neighbours."""
        first = gates.index(group[0])
        return params[name][first * H : (first + len(group)) * H]

    xs, weights = [], []
    for gates in cell.groups:
        group, apart = gates.split(), gates in cell.apart
        products = group[0] in h_gates
        if group[0] in x_gates:
            bias = rows("bias_ih", x_gates, group)
            if products and not apart:
                bias = bias + rows("bias_hh", h_gates, group)
            xs.append(x @ rows("weight_ih", x_gates, group).T + bias)
        else:
            xs.append(None)
        bias = rows("bias_hh", h_gates, group) if apart else None
        weights.append((rows("weight_hh", h_gates, group).T, bias) if products else (None, None))
    vectors = {name: params[name] for name in variant.vectors}
    return cell.before(Kit(m, xs, weights, vectors, {name: t[..., None] for name, t in inputs.items()}))


def plain_names(net: Any) -> list[str]:
    return [name.removesuffix("_l0") for name in net.params]


# ---- JAX -------------------------------------------------------------------------------------------------------------------
def jax_functions() -> Any:
    from jax import nn
    from jax import numpy as jnp

    def layer_norm(a: Any, gain: Any, shift: Any) -> Any:
        centred = a - a.mean(-1, keepdims=True)
        a = gain * (centred / jnp.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5))
        return a if shift is None else a + shift

    return SimpleNamespace(
        sigmoid=nn.sigmoid,
        log_sigmoid=nn.log_sigmoid,
        relu=nn.relu,
        tanh=jnp.tanh,
        exp=jnp.exp,
        log=jnp.log,
        maximum=jnp.maximum,
        where=jnp.where,
        layer_norm=layer_norm,
        join=jnp.concatenate,
        split=lambda a, n: jnp.split(a, n, axis=-1),
        addmm=lambda base, a, w: base + a @ w,
    )


def jax_task(task: Task, threads: int, *, unroll: int = 1) -> Work:
    """One compiled program with a lax.scan, so many steps unrolled; training by value_and_grad, parameters as arguments; else
    they are part of the program."""
    configure_jax(task, threads)
    import jax
    from jax import lax

    cell, g, m = STEPS[task.cell], given(task), jax_functions()

    def forward(x: Any, params: Any, state: Any, inputs: Any) -> Any:
        whole = arranged(cell, m, g, params, x, inputs)

        def step(state: Any, at: Any) -> Any:
            y, *state = cell.step(whole._replace(x=at[0], t=at[1]), *state)
            return tuple(state), y

        return lax.scan(step, state, (whole.x, whole.t), unroll=unroll)[1]

    names = plain_names(g.net)
    # two-dimensional weights are kept transposed in memory, as a program of its own would have them
    params = {name: jax.numpy.asarray(np.ascontiguousarray(a.T)) for name, a in zip(names, g.net.params.values(), strict=True)}
    x, state, inputs = jax.tree.map(jax.numpy.asarray, (g.x, g.state, g.inputs))

    def turned(params: Any) -> Any:
        return {name: a.T for name, a in params.items()}

    if task.training:

        def loss(x: Any, params: Any, state: Any) -> Any:
            y = forward(x, turned(params), state, inputs)
            return y.sum(), y

        gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))

        def train() -> Callable[[], Result]:
            (_, y), (dx, dparams, dstate) = jax.block_until_ready(gradients(x, params, state))
            last = [np.asarray(d)[None] for d in dstate]
            return lambda: [np.asarray(y), np.asarray(dx), *(np.asarray(dparams[name]).T for name in names), *last]

        return train
    program = jax.jit(lambda x, state, inputs: forward(x, turned(params), state, inputs))

    def infer() -> Callable[[], Result]:
        y = program(x, state, inputs).block_until_ready()
        return lambda: [np.asarray(y)]

    return infer


# ---- PyTorch ---------------------------------------------------------------------------------------------------------------
def torch_functions() -> Any:
    import torch
    from torch.nn import functional

    return SimpleNamespace(
        sigmoid=torch.sigmoid,
        log_sigmoid=functional.logsigmoid,
        relu=torch.relu,
        tanh=torch.tanh,
        exp=torch.exp,
        log=torch.log,
        maximum=torch.maximum,
        where=torch.where,
        layer_norm=lambda a, gain, shift: functional.layer_norm(a, gain.shape, gain, shift),
        join=torch.cat,
        split=lambda a, n: a.chunk(n, -1),
        addmm=torch.addmm,
    )


def torch_task(task: Task, threads: int) -> Work:
    """A module whose time loop is Python: inference under inference_mode, training by autograd."""
    import torch

    modes.close()
    torch.set_num_threads(threads)
    cell, g, m = STEPS[task.cell], given(task), torch_functions()
    names = plain_names(g.net)

    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, a in zip(names, g.net.params.values(), strict=True):
                self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(a.copy())))

        def forward(self, x: Any, state: Any, inputs: Any) -> Any:
            whole = arranged(cell, m, g, dict(self.named_parameters()), x, inputs)
            xs = [[None] * len(x) if a is None else a.unbind() for a in whole.x]
            ts = {name: a.unbind() for name, a in whole.t.items()}
            y = []
            for t in range(len(x)):
                kit = whole._replace(x=[a[t] for a in xs], t={name: a[t] for name, a in ts.items()})
                one, *state = cell.step(kit, *state)
                y.append(one)
            return torch.stack(y)

    net = Layer()
    x, inputs = torch.from_numpy(g.x), {name: torch.from_numpy(a) for name, a in g.inputs.items()}
    state = [torch.from_numpy(a) for a in g.state]
    if task.training:
        dy = torch.ones((*g.x.shape[:2], task.shape.H), dtype=x.dtype)
        asked = [a.requires_grad_() for a in (x, *(dict(net.named_parameters())[name] for name in names), *state)]
        initial = len(asked) - len(state)

        def train() -> Callable[[], Result]:
            y = net(x, state, inputs)
            found = torch.autograd.grad(y, asked, dy)
            last = [d.numpy()[None] for d in found[initial:]]
            return lambda: [y.detach().numpy(), *(d.numpy() for d in found[:initial]), *last]

        return train
    modes.enter_context(torch.inference_mode())

    def infer() -> Callable[[], Result]:
        y = net(x, state, inputs)
        return lambda: [y.numpy()]

    return infer


COMPILED = {
    "rnnfast": Contender("interpreted", (), layer_task),
    "compiled": Contender("compiled", (), partial(layer_task, compiled=True)),
}
FRAMEWORKS = {
    "rnnfast": Contender("rnnfast", (), partial(layer_task, with_state=True)),
    "jax": Contender("JAX", ("jax",), jax_task),
    **{f"jax:{n} unrolled": Contender(f"JAX, {n} unrolled", ("jax",), partial(jax_task, unroll=n)) for n in (2, 4)},
    "torch": Contender("PyTorch", ("torch",), torch_task),
}
PLAIN = {
    "rnnfast": Contender("rnnfast", (), costed_task),
    "plain": Contender("compiled LSTM", (), partial(costed_task, plain=True)),
}
CONTENDERS = {**COMPILED, **PLAIN, **FRAMEWORKS}  # by the names that a race gives them, for titles
