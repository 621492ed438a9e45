"""The results of compare.py as Markdown: a page with everything, and the README's short table."""

from __future__ import annotations

from collections.abc import Iterable

import bars
from results import Results, geomean
from rnnfast.cells import CELLS
from rnnfast.shapes import SHAPES
from tables import absences, disagreements, markdown_table, tables

PASSES = ("forward", "training")
KEY = (
    "A ratio is a peer's time divided by rnnfast's: below 1 is a loss. Medians of interleaved rounds, one process each, only "
    "one at work at a time, same number of threads and CPUs; ~ marks rounds far apart (a busy machine)."
)


def machine(results: Results) -> str:
    """One line: CPU, ISA, compiler, date, versions."""
    m, versions = results.head["machine"], ", ".join(f"{n} {v}" for n, v in results.head["versions"].items())
    return f"{m['cpu']}, {m['isa']}, {m['cpus']} CPUs, {m['compiler']}, Python {m['python']}, {m['date'][:10]}; {versions}."


def limits(results: Results) -> str:
    """Measured peaks: a row a number of threads."""
    rows = []
    for threads, found in results.head["limits"].items():
        figures = [*found["fma"].values(), *found["load"].values()]
        head = ["threads", *(f"{d}, GFLOP/s" for d in found["fma"]), *(f"{level}, GB/s" for level in found["load"])]
        rows.append([threads, *(f"{figure / 1e9:.0f}" for figure in figures)])
    return markdown_table(head, rows) if rows else ""


def page(results: Results, plots: Iterable[str]) -> str:
    """Everything; plots: addresses of the images."""
    paths = ", ".join(f"{name}: {path}" for name, path in results.head["paths"].items())
    parts = ["# Benchmarks", machine(results), KEY]
    parts += [f"Peers' implementation of an LSTM: {paths}."] if paths else []
    parts += ["\n".join(f"- {line}" for line in absences(results) + disagreements(results))]
    parts += ["## Bars", f"```text\n{bars.summary(results)}\n```", "## What the machine can do, measured", limits(results)]
    parts += [f"![{plot.rpartition('/')[2].removesuffix('.png')}]({plot})" for plot in plots]
    for title, head, rows in tables(results):
        parts += [f"## {title[0].upper()}{title[1:]}", markdown_table(head, rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def speed(results: Results) -> str:
    """The README's table: a line a shape, the fastest peer's time divided by rnnfast's for every cell and pass, by threads."""
    threads = sorted({row.threads for section in PASSES for row in results.of(section)})
    kinds = [(section, cell) for section in PASSES for cell in CELLS]
    ratios: dict[tuple[str, str, str], dict[int, float]] = {}
    for section in PASSES:
        for row in results.of(section):
            if (best := row.best()) is not None:
                ratios.setdefault((row.task.shape.name, section, row.task.cell), {})[row.threads] = best[1]

    def entry(found: dict[int, float]) -> str:
        if not found:
            return "-"
        bold = {n: "**" if ratio < 1 else "" for n, ratio in found.items()}
        return " / ".join(f"{bold[n]}{found[n]:.2f}{bold[n]}" if n in found else "-" for n in threads)

    rows = []
    for shape in SHAPES:
        entries = [entry(ratios.get((shape.name, *kind), {})) for kind in kinds]
        if any(cell != "-" for cell in entries):
            extra = ", both directions" * shape.bidirectional + f", {shape.num_layers} layers" * (shape.num_layers > 1)
            rows.append([f"{shape.name} ({shape.I}, {shape.H}, {shape.B}, {shape.T}{extra})", *entries])
    means = [geomean(q for (_, s, _), of in ratios.items() if s == section for q in of.values()) for section in PASSES]
    text = (
        f"{machine(results)}\n\nThe fastest peer's time divided by rnnfast's, float32, with {' / '.join(map(str, threads))} "
        f"threads; **losses** bold. Geometric means: {means[0]:.2f} forward, {means[1]:.2f} training."
    )
    return f"{text}\n\n{markdown_table(['shape (I, H, B, T)', *(f'{cell} {section}' for section, cell in kinds)], rows)}"
