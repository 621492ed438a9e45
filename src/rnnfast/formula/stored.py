"""Traced formulas as JSON, and back: how a cell reaches a process that does not have its function. Nothing that is read is
executed or believed: graphs are built again node by node, and what does not fit is a ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rnnfast.formula.build import Builder
from rnnfast.formula.cell import check_distinct, names_of
from rnnfast.formula.evaluate import needed
from rnnfast.formula.graph import FULL, NUMBER, ROW, VECTOR, Axes
from rnnfast.formula.operations import OPERATIONS
from rnnfast.formula.traced import Traced, from_graph

VERSION = 2
MOST_NODES = 20_000
AXES: dict[str, tuple[Axes, ...]] = {  # what inputs of each kind may vary with
    "x": (FULL,),
    "state": (FULL,),
    "vector": (VECTOR,),
    "input": (FULL, ROW),
    "draw": (FULL,),
    "size": (NUMBER,),
}


def expect(condition: Any, expected: str, got: Any) -> None:
    if not condition:
        raise ValueError(f"cell: expected {expected}, got {str(got)[:100]!r}")


class Description(NamedTuple):
    """A cell with its options chosen. home: module and qualified name of its class. states: name -> initial value. draws: name
    -> kind, frequency, probability. traces: by (training, names of the inputs that are one number a row)."""

    name: str
    home: tuple[str, str]
    options: Mapping[str, Any]
    states: Mapping[str, float]
    vectors: tuple[str, ...]
    draws: Mapping[str, tuple[Any, ...]]
    traces: Mapping[tuple[bool, frozenset[str]], Traced]

    def trace(self, row_inputs: frozenset[str], *, training: bool) -> Traced:
        return self.traces[training, row_inputs]

    def as_json(self) -> dict[str, Any]:
        """Dictionaries, lists, texts, whole numbers; other numbers as float.hex writes them."""
        return {
            "version": VERSION,
            "name": self.name,
            "home": list(self.home),
            "options": {k: ["float", v.hex()] if isinstance(v, float) else ["plain", v] for k, v in self.options.items()},
            "states": {name: value.hex() for name, value in self.states.items()},
            "vectors": list(self.vectors),
            "draws": {name: [kind, every, p.hex()] for name, (kind, every, p) in self.draws.items()},
            "traces": [
                {"training": training, "row_inputs": sorted(rows), **graph_as_json(traced)}
                for (training, rows), traced in self.traces.items()
            ],
        }

    @classmethod
    def checked(cls, found: Any) -> Description:
        """What as_json gave."""
        try:
            expect(found["version"] == VERSION, f"version {VERSION}", found["version"])
            options = {k: float.fromhex(v) if kind == "float" else v for k, (kind, v) in found["options"].items()}
            expect(all(isinstance(v, (bool, int, float, str, type(None))) for v in options.values()), "plain options", options)
            states = {name: float.fromhex(value) for name, value in found["states"].items()}
            draws = {name: (kind, every, float.fromhex(p)) for name, (kind, every, p) in found["draws"].items()}
            for kind, every, p in draws.values():
                known = kind in ("dropout", "bernoulli", "normal") and every in ("sequence", "step") and 0 <= p <= 1
                expect(known, "the kind, frequency and probability of a draw", (kind, every, p))
            traces = {(one["training"], frozenset(one["row_inputs"])): graph_from_json(one, states) for one in found["traces"]}
            training = traces[True, frozenset()]
            inputs = dict.fromkeys((*training.inputs, *traces[False, frozenset()].inputs))
            for (trains, rows), traced in traces.items():
                b = traced.builder
                same = ("x_gates", "products", "vectors")
                expect(
                    all(list(getattr(traced, names)) == list(getattr(training, names)) for names in same)
                    and (traced.output is None) == (training.output is None)
                    and traced.draws.keys() <= (training.draws.keys() & draws.keys() if trains else set())
                    and rows <= inputs.keys() >= traced.inputs.keys()
                    and all(b.nodes[i].axes == (ROW if name in rows else FULL) for name, i in traced.inputs.items()),
                    "traces with the same names",
                    rows,
                )
            for n in range(2 ** len(inputs)):
                rows = frozenset(name for i, name in enumerate(inputs) if n >> i & 1)
                expect((True, rows) in traces and (False, rows) in traces, "a trace for each kind of inputs", set(rows))
            module, qualified = found["home"]
            expect(tuple(found["vectors"]) == tuple(training.vectors), "the vectors of the traces", found["vectors"])
            names = tuple(dict.fromkeys((*training.x_gates, *training.products)))
            check_distinct((*options, *states, *training.vectors, *inputs, *draws), "cell: ")
            for kind, given in (("gates", names), ("names", (*options, *states, *training.vectors, *inputs, *draws))):
                names_of(kind, given, "cell: ")
            name = found["name"]
            expect(isinstance(name, str) and name.isidentifier(), "a name", name)
            return cls(name, (str(module), str(qualified)), options, states, tuple(training.vectors), draws, traces)
        except (TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError) as error:
            raise ValueError(f"cell: expected what `save` writes of a formula, got {type(error).__name__}: {error}") from None


def graph_as_json(t: Traced) -> dict[str, Any]:
    def what(op: str, what: Any, axes: Axes) -> Any:
        return what[0].hex() if op == "number" else [*what, list(axes)] if op == "input" else what

    return {
        "nodes": [[op, list(args), what(op, about, axes)] for op, args, about, axes in t.builder.nodes],
        "gates": [list(t.x_gates), list(t.products)],
        "results": [*([] if t.output is None else [t.output]), *t.new],
        "surrogates": [list(pair) for pair in t.surrogates.items()],
    }


def graph_from_json(found: Any, states: Mapping[str, float]) -> Traced:
    b = Builder()
    expect(len(found["nodes"]) <= MOST_NODES, f"at most {MOST_NODES} nodes", len(found["nodes"]))
    for i, (op, args, what) in enumerate(found["nodes"]):
        expect(all(type(a) is int and 0 <= a < i for a in args), "nodes in order", args)
        if op == "number":
            node = b.number(float.fromhex(what))
        elif op == "input":
            kind, name, (rows, units) = what
            expect(kind in AXES and Axes(rows, units) in AXES[kind] and isinstance(name, str), "a known kind of input", what)
            node = b.input(kind, name, Axes(bool(rows), bool(units)))
        elif op == "product":
            expect(len(args) == 1 and b.nodes[args[0]].axes == FULL and isinstance(what, str), "a product of (B, H)", what)
            node = b.add_node("product", tuple(args), what, FULL)
        else:
            expect(op in OPERATIONS and len(args) == OPERATIONS[op].arguments and what is None, "a known operation", op)
            if op == "total":
                expect(b.nodes[args[0]].axes.units, "a total of units", args)
            node = b.total(args[0]) if op == "total" else b.add_node(op, tuple(args))
        expect(node == i, "each node once", op)

    def node_of(node: Any, *axes: Axes) -> int:
        fits = type(node) is int and 0 <= node < len(b.nodes) and (not axes or b.nodes[node].axes in axes)
        expect(fits, "a value of the graph", node)
        return int(node)

    results = tuple(node_of(node, FULL) for node in found["results"])
    expect(0 <= len(results) - len(states) <= 1 and states, "a new value of each state", results)
    surrogates = {node_of(step): node_of(slope) for step, slope in found["surrogates"]}
    x_gates, h_gates = found["gates"]
    t = from_graph(b, (x_gates, h_gates), [b.input("state", name, FULL) for name in states], results, surrogates)
    expect(x_gates and (list(t.x_gates), list(t.products)) == (x_gates, h_gates), "the gates of the graph", found["gates"])
    expect(list(t.states) == list(states), "the states of the graph in their order", list(t.states))
    alone = {*t.x_gates.values(), *t.products.values()} - {*needed(b, results)}
    expect(not alone, "gates that the results need", sorted(alone))
    alive = needed(b, results, (), surrogates)
    leaves = {n for n in alive if b.nodes[n].op == "product" or b.leaf(n) not in (("", ""), ("size", "1/H"))}
    used = {n for names in t[1:7] for n in names.values()}
    expect(leaves <= used, "one input and one product of each name", sorted(leaves - used))
    steps = {n for n in alive if b.nodes[n].op == "step"}
    fit = all(b.nodes[u].axes | b.nodes[slope].axes == b.nodes[u].axes for u, slope in surrogates.items())
    expect(steps == surrogates.keys() and fit, "a surrogate of each step, of its shape", surrogates)
    return t
