"""compare.py's plots, small PNG files: all peers at a glance, each peer by shape, part of the machine's limits, scaling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bars import of_peak
from peers import PEERS
from results import Results, Row, geomean
from rnnfast.cells import CELLS
from rnnfast.shapes import SHAPES
from sections import SWEEPS
from tables import peers_of

COLOURS = {peer: f"C{i}" for i, peer in enumerate(("numpy", "torch", "onnxruntime", "openvino", "jax", "keras", "numba"))}
KINDS = {"forward": "forward", "training": "training step", "float64": "float64"}
RATIO = "peer's time / rnnfast's time (log scale)"

Plot = tuple[str, str, Any]  # name of the file, title, figure


def ratio_axis(axes: Any) -> None:
    """Logarithmic, with plain numbers; 1 is where both are as fast."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.axhline(1, color="black", lw=0.8)
    axes.grid(axis="y", alpha=0.3)


def glance(results: Results, plt: Any) -> Iterator[Plot]:
    """Forward and training, every race a dot, every peer a column with its geometric mean."""
    sections = [section for section in ("forward", "training") if peers_of(results.of(section))]
    if not sections:
        return
    figure, panels = plt.subplots(1, len(sections), figsize=(9, 3.8), sharey=True, layout="constrained", squeeze=False)
    for section, axes in zip(sections, panels[0], strict=True):
        rows = results.of(section)
        peers = peers_of(rows)
        for i, peer in enumerate(peers):
            ratios = [ratio for row in rows if (ratio := row.ratio(peer)) is not None]
            at = i + np.random.default_rng(0).uniform(-0.2, 0.2, len(ratios))
            axes.plot(at, ratios, "o", ms=3, alpha=0.5, mew=0, color=COLOURS[peer])
            mean = geomean(ratios)
            axes.plot([i - 0.32, i + 0.32], [mean, mean], color="black", lw=2)
            axes.annotate(f"{mean:.1f}", (i + 0.34, mean), fontsize=9, va="center")
        axes.set_xticks(range(len(peers)), [PEERS[peer].title for peer in peers], fontsize=8)
        axes.set_xlim(-0.5, len(peers) - 0.2)
        axes.set_title(KINDS[section], fontsize=10)
        ratio_axis(axes)
    panels[0][0].set_ylabel(RATIO, fontsize=9)
    threads = " and ".join(sorted({str(row.threads) for section in sections for row in results.of(section)}))
    title = f"How many times as long as rnnfast each peer takes: float32, threads: {threads}"
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(
        "a dot: one cell, shape and number of threads; a line: the geometric mean; above 1 rnnfast is faster, below slower",
        fontsize=8,
    )
    yield "speed", title, figure


def place(rows: list[Row]) -> dict[str, int]:
    """Where each named shape that occurs stands on an axis."""
    present = {row.task.shape.name for row in rows}
    return {name: i for i, name in enumerate(shape.name for shape in SHAPES if shape.name in present)}


def shapes_axis(axes: Any, at: dict[str, int]) -> None:
    axes.set_xticks(list(at.values()), list(at), rotation=60, ha="right", fontsize=7)
    axes.grid(axis="y", alpha=0.3)


def draw_points(axes: Any, points: list[tuple[float, float]], **style: Any) -> None:
    axes.plot([x for x, _ in points], [y for _, y in points], "o", ms=4, **style)


def by_shape(results: Results, plt: Any) -> Iterator[Plot]:
    """A figure a section, pass and number of threads: ratios by shape, a panel a cell, a colour a peer."""
    for section, kind in KINDS.items():
        for threads, training in sorted({(row.threads, row.task.training) for row in results.of(section)}):
            rows = results.of(section, threads=threads, training=training)
            at, peers = place(rows), peers_of(rows)
            if not peers:
                continue
            figure, panels = plt.subplots(1, len(CELLS), figsize=(10, 3.6), sharey=True, layout="constrained")
            for cell, axes in zip(CELLS, panels, strict=True):
                for peer in peers:
                    points = [(at[r.task.shape.name], q) for r in rows if r.task.cell == cell and (q := r.ratio(peer))]
                    draw_points(axes, points, label=PEERS[peer].title, color=COLOURS[peer])
                axes.set_title(cell, fontsize=9)
                shapes_axis(axes, at)
                ratio_axis(axes)
            panels[0].set_ylabel(RATIO, fontsize=8)
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
            figure.supxlabel("shape", fontsize=8)
            passes = "training" if training else "forward"
            title = f"{kind if section != 'float64' else f'{passes}, float64'}: peers by shape, threads: {threads}"
            figure.suptitle(title, fontsize=10)
            yield f"speed-{section}{'-training' * (training and section == 'float64')}-{threads}", title, figure


def peak(results: Results, plt: Any) -> Iterator[Plot]:
    """Part of the multiply-adds' peak by shape: a panel a pass, a colour a cell, filled with one thread, open with more."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for section, axes in zip(("forward", "training"), panels, strict=True):
        rows = results.of(section)
        at = place(rows)
        for i, cell in enumerate(CELLS):
            for threads in sorted({row.threads for row in rows}):
                part = [row for row in rows if row.task.cell == cell and row.threads == threads]
                points = [(at[row.task.shape.name], of_peak(row, results.head)) for row in part]
                style = {"color": f"C{i}", "mfc": f"C{i}" if threads == 1 else "none", "label": f"{cell}, {threads}"}
                draw_points(axes, points, **style)
        axes.axhline(1, color="black", lw=0.8)
        axes.set_ylim(0, 1.05)
        axes.set_title(KINDS[section], fontsize=9)
        shapes_axis(axes, at)
    panels[0].set_ylabel("GFLOP/s of the products /\nthe most GFLOP/s measured in the same run", fontsize=8)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, title="cell, threads")
    figure.supxlabel(
        "shape; batches of one (stream, sine, shake, db-...-b1, bi, deep) are held up by loading weights instead", fontsize=8
    )
    title = "rnnfast's share of the measured multiply-add peak, float32"
    figure.suptitle(title, fontsize=10)
    yield "peak", title, figure


def loads(results: Results, plt: Any) -> Iterator[Plot]:
    """Batch of one: bytes of the weights that each step must read, and how many of them a second; the measured bandwidths."""
    rows = [row for row in results.of("forward") if row.task.shape.B == 1]
    counts = sorted({row.threads for row in rows})
    if not rows:
        return
    figure, panels = plt.subplots(1, len(counts), figsize=(9, 3.6), sharey=True, layout="constrained", squeeze=False)
    for threads, axes in zip(counts, panels[0], strict=True):
        for i, (level, rate) in enumerate(results.head["limits"][str(threads)]["load"].items()):
            axes.axhline(rate / 1e9, color="grey", lw=0.8, ls=("-", "--", "-.", ":")[i % 4], label=f"{level}, measured")
        for i, cell in enumerate(CELLS):
            points = []
            for row in rows:
                if row.task.cell == cell and row.threads == threads:
                    _, I, H, _, T, *_ = row.task.shape
                    read = 4 * len(CELLS[cell].gates) * H * (H + I * (T == 1))  # W_ih too, where it serves one step alone
                    points.append((read / 2**20, len(row.task.shape.places) * T * read / row.own / 1e9))
            draw_points(axes, points, color=f"C{i}", label=cell)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_title(f"threads: {threads}", fontsize=9)
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel("weights read, GB/s", fontsize=8)
    figure.supxlabel("weights that a step must read, MiB (W_hh, for a single step W_ih too)", fontsize=8)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    title = "rnnfast forward, batch of one: weights read a second, and what each cache level can give"
    figure.suptitle(title, fontsize=10)
    yield "loads", title, figure


def scaling(results: Results, plt: Any) -> Iterator[Plot]:
    """GFLOP/s of an LSTM over T, B and H, a line a number of threads."""
    words = {"T": "steps T", "B": "batch B", "H": "units H"}
    figure, panels = plt.subplots(1, len(SWEEPS), figsize=(10, 3.3), sharey=True, layout="constrained")
    for (letter, shapes), axes in zip(SWEEPS.items(), panels, strict=True):
        for threads in sorted({row.threads for row in results.of("scaling")}):
            rows = [row for row in results.of("scaling", threads=threads) if row.task.shape in shapes]
            sizes = [getattr(row.task.shape, letter) for row in rows]
            axes.plot(sizes, [row.task.flops / row.own / 1e9 for row in rows], "o-", ms=3, label=str(threads))
        fixed = ", ".join(f"{name}={getattr(shapes[0], name)}" for name in "TBH" if name != letter)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(f"{words[letter]} ({fixed}, I=H)", fontsize=8)
        axes.grid(alpha=0.3)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("GFLOP/s of the products", fontsize=8)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, title="threads")
    title = "rnnfast's LSTM, forward, float32: how speed grows with steps, batch and units"
    figure.suptitle(title, fontsize=10)
    yield "scaling", title, figure


def draw(results: Results, folder: Path) -> list[tuple[str, str]]:
    """All plots that the results have rows for: names of the files, titles."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    drawn = []
    for make, section in (
        (glance, "forward"),
        (by_shape, "forward"),
        (peak, "forward"),
        (loads, "forward"),
        (scaling, "scaling"),
    ):
        if results.of(section):
            for name, title, figure in make(results, plt):
                figure.savefig(folder / f"{name}.png", dpi=100)
                plt.close(figure)
                drawn.append((f"{name}.png", title))
    return drawn
