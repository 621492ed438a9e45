"""compare.py's plots, small PNG files: speed against each peer, part of the machine's limit, scaling in T, B, H, threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bars import of_limit
from peers import PEERS
from results import Results, Row
from rnnfast.cells import CELLS
from rnnfast.shapes import SHAPES
from sections import SWEEPS
from tables import peers_of


def place(rows: list[Row]) -> dict[str, float]:
    """Where each named shape that occurs stands on an axis."""
    present = {row.task.shape.name for row in rows}
    return {name: i for i, name in enumerate(shape.name for shape in SHAPES if shape.name in present)}


def shapes_axis(axes: Any, at: dict[str, float]) -> None:
    axes.set_xticks(list(at.values()), list(at), rotation=60, ha="right", fontsize=7)
    axes.grid(axis="y", alpha=0.3)


def speed(results: Results, plt: Any) -> Iterator[tuple[str, Any]]:
    """A figure a section and number of threads: ratios by shape, a panel a cell, a colour a peer."""
    for section in ("forward", "training", "float64"):
        for threads in sorted({row.threads for row in results.of(section)}):
            rows = results.of(section, threads=threads)
            at, names = place(rows), peers_of(rows)
            if not names:
                continue
            figure, panels = plt.subplots(1, len(CELLS), figsize=(10, 3.2), sharey=True, layout="constrained")
            for cell, axes in zip(CELLS, panels, strict=True):
                for name in names:
                    points = [(at[r.task.shape.name], q) for r in rows if r.task.cell == cell and (q := r.ratio(name))]
                    axes.plot(*zip(*points, strict=True) if points else ([], []), "o", ms=4, label=PEERS[name].title)
                axes.axhline(1, color="black", lw=0.8)
                axes.set_yscale("log")
                axes.set_title(cell, fontsize=9)
                shapes_axis(axes, at)
            panels[0].set_ylabel("time / rnnfast's time")
            panels[-1].legend(fontsize=7)
            figure.suptitle(f"{section}, threads: {threads}", fontsize=10)
            yield f"speed-{section}-{threads}", figure


def limits(results: Results, plt: Any) -> Iterator[tuple[str, Any]]:
    """Part of the machine's limit by shape: a panel a pass, a colour a cell, filled with one thread, open with more."""
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
    for section, axes in zip(("forward", "training"), panels, strict=True):
        rows = results.of(section)
        at = place(rows)
        for i, cell in enumerate(CELLS):
            for threads in sorted({row.threads for row in rows}):
                points = [
                    (at[r.task.shape.name], of_limit(r, results.head))
                    for r in rows
                    if r.task.cell == cell and r.threads == threads
                ]
                style = {"color": f"C{i}", "mfc": f"C{i}" if threads == 1 else "none", "label": f"{cell}, {threads}"}
                axes.plot(*zip(*points, strict=True) if points else ([], []), "o", ms=4, **style)
        axes.axhline(1, color="black", lw=0.8)
        axes.set_title(section, fontsize=9)
        shapes_axis(axes, at)
    panels[0].set_ylabel("least possible time / time")
    panels[-1].legend(fontsize=7, title="cell, threads", title_fontsize=7)
    yield "limit", figure


def scaling(results: Results, plt: Any) -> Iterator[tuple[str, Any]]:
    """GFLOP/s of an LSTM over T, B and H, a line a number of threads."""
    figure, panels = plt.subplots(1, len(SWEEPS), figsize=(10, 3), sharey=True, layout="constrained")
    for (letter, shapes), axes in zip(SWEEPS.items(), panels, strict=True):
        for threads in sorted({row.threads for row in results.of("scaling")}):
            rows = [row for row in results.of("scaling", threads=threads) if row.task.shape in shapes]
            sizes = [getattr(row.task.shape, letter) for row in rows]
            axes.plot(sizes, [row.task.flops / row.own / 1e9 for row in rows], "o-", ms=3, label=f"threads: {threads}")
        fixed = ", ".join(f"{name}={getattr(shapes[0], name)}" for name in "TBH" if name != letter)
        axes.set_xscale("log")
        axes.set_xlabel(f"{letter} ({fixed}, I=H)", fontsize=8)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("GFLOP/s")
    panels[0].legend(fontsize=7)
    yield "scaling", figure


def draw(results: Results, folder: Path) -> list[Path]:
    """All plots that the results have rows for."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    files = []
    for make, sections in ((speed, ("forward", "training", "float64")), (limits, ("forward",)), (scaling, ("scaling",))):
        if any(map(results.of, sections)):
            for name, figure in make(results, plt):
                files.append(folder / f"{name}.png")
                figure.savefig(files[-1], dpi=90)
                plt.close(figure)
    return files
