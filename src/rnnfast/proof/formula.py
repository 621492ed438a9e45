"""A cell that is a formula, with every kind of thing that a formula may have, proven as the compiled cells are.

Its reference is the formula itself, step by step in float64; gradients are derivatives by a complex step, exact to rounding:
df/da = Im f(a + i 1e-200) / 1e-200 (Squire & Trapp 1998).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

import rnnfast
from rnnfast._types import Array

SIZES = ((4, 3, 2, 5), (3, 6, 3, 17))  # T, B, I, H
TINY = 1e-200
STATES = ("h", "c", "m")


@lru_cache
def cell() -> Any:
    """The layer class: two products that follow one another, one beside them, three states, a vector, an input, row means."""

    @rnnfast.cell(gates="z n o", states=STATES, vectors="p", inputs="dt")
    def EveryKind(x: Any, U: Any, h: Any, c: Any, m: Any, p: Any, dt: Any) -> Any:
        f = 0.5 + 0.5 * np.tanh(x.z + U.z @ h + p * c)
        n = np.tanh(x.n + U.n @ (f * h))
        keep = np.exp(-dt)
        c = keep * c + (1 - keep) * f * n
        a = c + x.o
        centred = a - rnnfast.ops.mean(a)
        normed = centred / np.sqrt(rnnfast.ops.mean(centred * centred) + 1e-5)
        m = 0.5 * m + normed * (U.o @ m)
        return np.tanh(normed + m), c, m

    return EveryKind


def proofs_of_kernels(
    isas: tuple[str, ...], dtypes: tuple[str, ...]
) -> Iterator[tuple[str, str, dict[str, Array], dict[str, Array]]]:
    """ISA, dtype, what the kernels compute and what is right, of every size: y and final states, and gradients, whose names
    begin with d."""
    for T, B, I, H in SIZES:
        for dtype in dtypes:
            arrays, weights = _case(T, B, I, H, np.dtype(dtype))
            expected = _expected(arrays, weights)
            for isa in isas:
                with rnnfast.use_isa(isa):
                    yield isa, dtype, _kernels(arrays, weights, np.dtype(dtype)), expected


def _case(T: int, B: int, I: int, H: int, dtype: Any) -> tuple[dict[str, Array], dict[str, Array]]:
    """Arguments, and weights of the sums over results whose gradients are taken; rounded to dtype, in float64."""
    rng, net = np.random.default_rng(H), cell()(I, H, dtype=np.float64, rng=H)
    draw = rng.standard_normal
    arrays = {"x": draw((T, B, I)), **{s: draw((B, H)) for s in STATES}, "dt": np.abs(draw((T, B))), **net.params}
    weights = {"y": draw((T, B, H)), **{s: draw((B, H)) for s in STATES}}
    return tuple({k: a.astype(dtype).astype(np.float64) for k, a in d.items()} for d in (arrays, weights))  # type: ignore[return-value]


def _kernels(arrays: Mapping[str, Array], weights: Mapping[str, Array], dtype: Any) -> dict[str, Array]:
    cast = {name: a.astype(dtype) for name, a in arrays.items()}
    net = cell()(arrays["x"].shape[-1], arrays["h"].shape[-1], dtype=dtype)
    net.load_params({name: cast[name] for name in net.params})
    state = tuple(cast[s][None] for s in STATES)
    y, final, tape = net.record(cast["x"], state, inputs={"dt": cast["dt"]})
    dstate = tuple(weights[s].astype(dtype)[None] for s in STATES)
    g = tape.backward(weights["y"].astype(dtype), dstate)
    gradients = {"x": g.x, "dt": g.inputs["dt"], **{s: a[0] for s, a in zip(STATES, g.state, strict=True)}, **g.params}
    results = {"y": y, **{f"{s}_n": a[0] for s, a in zip(STATES, final, strict=True)}}
    return {**results, **{f"d{name}": a for name, a in gradients.items()}}


def _run(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The formula on arrays, step by step."""
    x, w_ih, w_hh = arrays["x"], arrays["weight_ih_l0"], arrays["weight_hh_l0"]
    projected = np.split(x @ w_ih.T + arrays["bias_ih_l0"], 3, axis=-1)
    blocks, biases = np.split(w_hh, 3), np.split(arrays["bias_hh_l0"], 3)
    U = SimpleNamespace(**{g: _Block(w, b) for g, w, b in zip("zno", blocks, biases, strict=True)})
    states, y = [arrays[s] for s in STATES], []
    for t in range(len(x)):
        gates = SimpleNamespace(**{g: a[t] for g, a in zip("zno", projected, strict=True)})
        states = cell().formula(gates, U, *states, p=arrays["p_l0"], dt=arrays["dt"][t][:, None])
        y.append(states[0])
    return {"y": np.stack(y), **dict(zip(STATES, states, strict=True))}


class _Block:
    def __init__(self, weight: Array, bias: Array) -> None:
        self.weight, self.bias = weight, bias

    def __matmul__(self, v: Array) -> Array:
        return v @ self.weight.T + self.bias


def _expected(arrays: Mapping[str, Array], weights: Mapping[str, Array]) -> dict[str, Array]:
    found = _run(arrays)
    expected = {"y": found["y"], **{f"{s}_n": found[s] for s in STATES}}
    for name, array in arrays.items():
        gradient = np.empty_like(array)
        for at in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[at] += 1j * TINY
            results = _run({**arrays, name: moved})
            gradient[at] = sum(np.sum(weights[k] * a.imag) for k, a in results.items()) / TINY
        expected[f"d{name}"] = gradient
    return expected
