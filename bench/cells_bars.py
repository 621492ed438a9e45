"""The targets that a run of cells.py is held to."""

from __future__ import annotations

from collections.abc import Callable, Collection

import bars
from bars import Bar
from cells_steps import PRODUCTS
from results import Results

SMALL = ("sine-h32", "stream-h64")  # a step of so few numbers takes as long as its instructions take to begin
START, SLOWER = 0.05, 1.05  # seconds; an import's time over that of the version before


def compiled(small: bool, least: float, mean: float = 0.0) -> Callable[[Results], Bar]:
    def bar(results: Results) -> Bar:
        rows = [row for row in results.of("compiled") if (row.task.shape.name in SMALL) == small]
        where = f"on {' and '.join(SMALL)}" if small else "on all other shapes"
        return bars.against(f"interpreted / compiled, {where}", rows, ["compiled"], least, mean)

    return bar


def framework(peer: str, title: str, training: bool, least: float, mean: float) -> Callable[[Results], Bar]:
    def bar(results: Results) -> Bar:
        rows = [row for row in results.of("frameworks", training=training) if row.task.cell in PRODUCTS]
        return bars.against(f"{'training' if training else 'forward'} / {title}", rows, [peer], least, mean)

    return bar


def plain(cells: Collection[str], most: float) -> Callable[[Results], Bar]:
    """At most so many times the compiled LSTM's time."""

    def bar(results: Results) -> Bar:
        rows = [row for row in results.of("plain") if row.task.cell in cells]
        found = bars.against("", rows, ["plain"], 1 / most)
        return found._replace(title=f"the compiled LSTM's time / that of {', '.join(cells)}: each >= 1 / {most}")

    return bar


def construction(results: Results) -> Bar:
    cells = results.head.get("starts", {}).get("cells", {})
    seconds = {name: of["construction"] + max(of["forward"], of["training"]) for name, of in cells.items()}
    short = [f"{name}: {1e3 * s:.0f} ms" for name, s in seconds.items() if s > START]
    figure = f"most {1e3 * max(seconds.values(), default=float('nan')):.0f} ms, {len(seconds)} cells"
    title = f"first construction of a cell, and what its first call plans: <= {1e3 * START:.0f} ms"
    return Bar(title, figure, short, len(seconds))


def imports(results: Results) -> Bar:
    starts = results.head.get("starts", {})
    of = starts.get("import", {})
    short = [f"{name} is imported" for name in starts.get("modules", [])]
    if "before" in of and of["rnnfast"] > SLOWER * of["before"]:
        short.append(f"{1e3 * of['rnnfast']:.0f} ms, before {1e3 * of['before']:.0f} ms")
    figure = ", ".join(f"{name} {1e3 * seconds:.0f} ms" for name, seconds in of.items())
    return Bar("import rnnfast: without the formulas, no slower than the version before", figure, short, len(of))


BARS: tuple[Callable[[Results], Bar], ...] = (
    compiled(False, 0.80, 0.93),
    compiled(True, 0.55),
    framework("jax", "JAX", False, 0.95, 1.6),
    framework("jax", "JAX", True, 0.95, 1.5),
    framework("torch", "PyTorch", False, 1.4, 6.0),
    framework("torch", "PyTorch", True, 1.4, 8.0),
    plain(("LSTM peephole", "LSTM zoneout", "LSTM recurrent dropout"), 1.15),
    plain(("LayerNormLSTM",), 1.5),
    construction,
    imports,
)


def summary(results: Results) -> str:
    return bars.summary(results, BARS)
