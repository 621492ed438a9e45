"""A declared formula run on symbols, once per combination of options: what it computes becomes a graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from functools import lru_cache, partial
from traceback import walk_tb
from typing import Any, TypeAlias

from rnnfast.formula.build import Builder
from rnnfast.formula.cell import Declaration, Draw, Option
from rnnfast.formula.graph import FULL, ROW, VECTOR
from rnnfast.formula.symbols import Block, Blocks, Trace
from rnnfast.formula.traced import Traced

AT_INFERENCE: dict[str, Callable[[float], float]] = {
    "dropout": lambda p: 1.0,
    "bernoulli": lambda p: p,
    "normal": lambda p: 0.0,
}
Key: TypeAlias = tuple[tuple[str, str, Option], ...]  # options; their texts tell True from 1 and 0.0 from -0.0


def trace(declaration: Declaration, options: Mapping[str, Any], *, training: bool, row_inputs: Iterable[str]) -> Traced:
    """The graph of a formula.

    Parameters
    ----------
    declaration : Declaration
    options : mapping of str to bool, int, float, str or None
        Those that differ from their defaults, or all.
    training : bool
        Whether draws are inputs of the graph, instead of the numbers that stand for them at inference, and the value of the
        formula's parameter `training`.
    row_inputs : iterable of str
        The inputs that are (T, B) in this call; the others are (T, B, H).

    Returns
    -------
    Traced
        Without the gates, vectors, inputs and draws on which no result depends. Its graph is the caller's, to be added to.

    Raises
    ------
    TypeError, ValueError, AttributeError, NameError
        For what a formula cannot do; the text has file and line of the formula.
    """
    chosen = declaration.with_defaults(options)
    key = tuple((name, repr(value), value) for name, value in chosen.items())
    traced = _trace(declaration, key, bool(training), frozenset(row_inputs))
    b = traced.builder
    return traced._replace(builder=Builder(list(b.nodes), dict(b.place)))


@lru_cache(256)
def _trace(declaration: Declaration, key: Key, training: bool, row_inputs: frozenset[str]) -> Traced:
    options = {name: value for name, _, value in key}
    traced = run(declaration, options, training, row_inputs)
    if repr(run(declaration, options, training, row_inputs)) != repr(traced):
        raise ValueError(
            f"{declaration.where}expected the same formula each time it runs, got another one the second time; declare random "
            "numbers (np.random) among draws, and what changes from step to step among inputs"
        )
    if not options and not declaration.takes_training:
        check_used(declaration, traced, training)
    if training and (declaration.takes_training or declaration.draws):
        ours, theirs = parameters(traced), parameters(_trace(declaration, key, False, row_inputs))
        if ours != theirs:
            raise ValueError(
                f"{declaration.where}expected the same gates and vectors in training and inference, got {ours} and {theirs}"
            )
    return traced


def check_used(d: Declaration, traced: Traced, training: bool) -> None:
    """All that is declared is used, which can be told at once if there are no options."""
    used: dict[str, tuple[Iterable[str], Container[str]]] = {
        "gates": (d.gates_of({}), traced.x_gates.keys() | traced.products.keys()),
        "vectors": (d.vectors, traced.vectors),
        "inputs": (d.inputs, traced.inputs),
        "draws": (d.draws if training else (), traced.draws),
    }
    for kind, (names, found) in used.items():
        for name in names:
            if name not in found:
                raise ValueError(
                    f"{d.where}{kind}: expected names on which the results depend, got {name}, which is never used"
                )


def parameters(traced: Traced) -> str:
    """What has parameters."""
    return " ".join([f"x.{gate}" for gate in traced.x_gates] + [f"U.{gate}" for gate in traced.products] + [*traced.vectors])


def run(d: Declaration, options: Mapping[str, Option], training: bool, row_inputs: frozenset[str]) -> Traced:
    """The formula, once on symbols."""
    t = Trace(d.formula)
    b = t.builder
    gates, states = d.gates_of(options), tuple(d.states_of(options))
    leaves = {
        "state": {name: b.input("state", name, FULL) for name in states},
        "vector": {name: b.input("vector", name, VECTOR) for name in d.vectors},
        "input": {name: b.input("input", name, ROW if name in row_inputs else FULL) for name in d.inputs},
        "draw": {name: drawn(t, name, draw, options, training) for name, draw in d.draws.items()},
    }
    given: dict[str, Any] = {name: t.symbol(node) for nodes in leaves.values() for name, node in nodes.items()}
    given |= options
    if d.takes_training:
        given["training"] = training
    x, U = Blocks(t, "x", gates, t.x_gate), Blocks(t, "U", gates, partial(Block, t))
    names = list(inspect.signature(d.formula).parameters)[2:]
    try:
        found = d.formula(x, U, **{name: given.get(name) for name in names})  # None: no state with these options
    except NameError as error:
        *_, (frame, line) = walk_tb(error.__traceback__)
        if type(error) is not NameError or frame.f_code is not d.formula.__code__:
            raise
        text = f"{frame.f_code.co_filename}:{line}: {error}; if it is a part of the cell, declare it and make it a parameter"
        raise NameError(text) from None
    output, new = results(t, found, states, d.output)
    alive = reached(t, (*new, *([] if output is None else [output])))

    def used(kind: str) -> dict[str, int]:
        return {name: node for name, node in leaves[kind].items() if node in alive and b.nodes[node].op == "input"}

    x_gates = {gate: t.x_gates[gate] for gate in gates if t.x_gates.get(gate) in alive}
    products = {gate: t.products[gate] for gate in gates if gate in t.products}
    if not x_gates:
        raise t.error(f"expected at least one gate of x on which a result depends, such as x.{gates[0]}, got none", ValueError)
    return Traced(
        builder=b,
        x_gates=x_gates,
        products={gate: v for gate, v in products.items() if b.add_node("product", (v,), gate, FULL) in alive},
        states=leaves["state"],
        new=new,
        output=output,
        vectors=used("vector"),
        inputs=used("input"),
        draws=used("draw"),
        surrogates={step: slope for step, slope in t.surrogates.items() if step in alive},
    )


def drawn(t: Trace, name: str, draw: Draw, options: Mapping[str, Option], training: bool) -> int:
    """An input of the graph, or the number that stands for it: at inference, and if its probability is 0."""
    p = float(options[draw.option]) if draw.option is not None else 1.0  # type: ignore[arg-type]
    if training and p:
        return t.builder.input("draw", name, FULL)
    return t.builder.number(AT_INFERENCE[draw.kind](p))


def results(t: Trace, found: Any, states: tuple[str, ...], output: str | None) -> tuple[int | None, tuple[int, ...]]:
    """The nodes of y, if it is not a state, and of the new states."""
    names = (*([] if output is None else [output]), *states)
    expected = f"expected {len(names)} result{'s'[: len(names) > 1]} ({', '.join(names)})"
    if found is None:
        raise t.error(f"{expected}, got None; end with return {', '.join(names)}")
    parts = found if isinstance(found, (tuple, list)) else (found,)
    if len(parts) != len(names):
        raise t.error(f"{expected} in this order, got {len(parts)}", ValueError)
    nodes = [result(t, name, part) for name, part in zip(names, parts, strict=True)]
    return (None, tuple(nodes)) if output is None else (nodes[0], tuple(nodes[1:]))


def result(t: Trace, name: str, value: Any) -> int:
    node = t.node(value, f"result {name}: ")
    axes = t.builder.nodes[node].axes
    if axes != FULL:
        got = {ROW: "one number for each row, (B, 1)", VECTOR: "a vector (H,), the same for each row"}.get(axes, "a number")
        raise t.error(
            f"result {name}: expected a value of shape (B, H), got {got}; it must depend on a gate or a state", ValueError
        )
    return node


def reached(t: Trace | Traced, nodes: Iterable[int]) -> set[int]:
    """What the nodes are computed from, in backward too, where a step has the derivative that the formula gives it."""
    found: set[int] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(t.builder.nodes[node].args)
            if node in t.surrogates:
                stack.append(t.surrogates[node])
    return found
