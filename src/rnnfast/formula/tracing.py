"""A declared formula run on symbols, once per combination of options: what it computes becomes a graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from functools import lru_cache, partial
from traceback import walk_tb
from typing import Any, TypeAlias

from rnnfast.formula.cell import Declaration, Draw, Option
from rnnfast.formula.evaluate import needed
from rnnfast.formula.graph import FULL, ROW, VECTOR
from rnnfast.formula.symbols import SHAPES, Block, Blocks, Trace
from rnnfast.formula.traced import Traced, from_graph

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
    return traced._replace(builder=traced.builder.copy())


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
    leaves = {name: b.input("state", name, FULL) for name in states}
    leaves |= {name: b.input("vector", name, VECTOR) for name in d.vectors}
    leaves |= {name: b.input("input", name, ROW if name in row_inputs else FULL) for name in d.inputs}
    leaves |= {name: drawn(t, name, draw, options, training) for name, draw in d.draws.items()}
    given: dict[str, Any] = {**{name: t.symbol(node) for name, node in leaves.items()}, **options}
    if d.takes_training:
        given["training"] = training
    x = Blocks(t, "x", gates, f"x.{gates[0]}", lambda gate: t.symbol(b.input("x", gate, FULL)))
    U = Blocks(t, "U", gates, f"U.{gates[0]} @ h", partial(Block, t))
    names = list(inspect.signature(d.formula).parameters)[2:]
    try:
        found = d.formula(x, U, **{name: given.get(name) for name in names})  # None: no state with these options
    except NameError as error:
        *_, (frame, line) = walk_tb(error.__traceback__)
        if type(error) is not NameError or frame.f_code is not d.formula.__code__:
            raise
        text = f"{frame.f_code.co_filename}:{line}: {error}; if it is a part of the cell, declare it and make it a parameter"
        raise NameError(text) from None
    ends = results(t, found, states, d.output)
    traced = from_graph(b, (gates, gates), map(leaves.__getitem__, states), ends, t.surrogates)
    gates_of = {f"x.{gate}": n for gate, n in traced.x_gates.items()} | {f"U.{k} @ v": n for k, n in traced.products.items()}
    if alone := [text for text, node in gates_of.items() if node not in needed(b, ends)]:
        text = f"expected gates that the results need as well, got {alone[0]}, which nothing else needs"
        raise t.error(f"ops.step: surrogate: {text}", ValueError)
    if not traced.x_gates:
        raise t.error(f"expected at least one gate of x on which a result depends, such as x.{gates[0]}, got none", ValueError)
    return traced


def drawn(t: Trace, name: str, draw: Draw, options: Mapping[str, Option], training: bool) -> int:
    """An input of the graph, or the number that stands for it: at inference, and if its probability is 0."""
    p = float(options[draw.option]) if draw.option is not None else 1.0  # type: ignore[arg-type]
    if training and p:
        return t.builder.input("draw", name, FULL)
    return t.builder.number(AT_INFERENCE[draw.kind](p))


def results(t: Trace, found: Any, states: tuple[str, ...], output: str | None) -> tuple[int, ...]:
    """The nodes of what the formula returns: y, if it is not a state, and the new states."""
    names = (*([] if output is None else [output]), *states)
    expected = f"expected {len(names)} result{'s'[: len(names) > 1]} ({', '.join(names)})"
    if found is None:
        raise t.error(f"{expected}, got None; end with return {', '.join(names)}")
    parts = found if isinstance(found, (tuple, list)) else (found,)
    if len(parts) != len(names):
        raise t.error(f"{expected} in this order, got {len(parts)}", ValueError)
    return tuple(result(t, name, part) for name, part in zip(names, parts, strict=True))


def result(t: Trace, name: str, value: Any) -> int:
    node = t.node(value, f"result {name}: ")
    if (axes := t.builder.nodes[node].axes) != FULL:
        text = f"expected a value of shape (B, H), got {SHAPES[axes]}; it must depend on a gate or a state"
        raise t.error(f"result {name}: {text}", ValueError)
    return node
