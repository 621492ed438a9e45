"""The results of cells.py as Markdown, and the table of the zoo. This writes each of the two between its marks:

python bench/cells_page.py results/cells.json docs/own_cell.md
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cells_bars import summary
from cells_peers import CONTENDERS
from cells_steps import MEMORY
from page import bullets, by_threads, machine
from results import Results, Row, geomean
from rnnfast import zoo
from rnnfast.proof.race import SAME
from tables import absences, disagreements, markdown_table
from update_readme import fill

METHOD = (
    "Float32, {threads}. Each contender has a process of its own with as many CPUs as threads and works alone, while "
    "the others are stopped; in every round each has one turn, and a figure is the median of the rounds. Figures are the "
    "other's time divided by rnnfast's: above 1 rnnfast is faster, **below 1 it is slower**. Inference is by frozen layers; a "
    "training step is `record` and `backward`. Before anything is timed, results are compared with rnnfast's: they may differ "
    f"by {SAME:g}, relative to the largest value."
)
FRAMEWORKS = (
    "Training computes the gradients of sum(y) of x, all parameters and the initial state. JAX: one compiled program, the "
    "input's products and all else that needs no state before `lax.scan`; with 1, 2 and 4 steps unrolled, the fastest counts. "
    "PyTorch: a module whose time loop is Python, the input's products before it, under `inference_mode` or with autograd. "
    f"{', '.join(MEMORY)} have no products in the loop: the speed of memory limits them, and the means leave them out."
)
PLAIN = (
    "Each cell beside the compiled LSTM on the same sizes: its time divided by the LSTM's, so below 1 it is faster. Training "
    "draws the random numbers of zoneout and recurrent dropout too. The inference of each cell was compared with its formula "
    "on float64 arrays before."
)


def kind(row: Row) -> str:
    return "training" if row.task.training else "forward"


def pivot(rows: list[Row], peer: str, line: Callable[[Row], str], column: Callable[[Row], str], *, apart: Any = ()) -> str:
    """A table of ratios by threads; the last line has the geometric mean of each column, without the lines `apart`."""
    threads = sorted({row.threads for row in rows})
    found: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        if (ratio := row.ratio(peer)) is not None:
            found.setdefault((line(row), column(row)), {})[row.threads] = ratio
    lines, columns = (list(dict.fromkeys(key[i] for key in found)) for i in (0, 1))

    def mean(name: str) -> dict[int, float]:
        of = {n: [r[n] for (one, other), r in found.items() if other == name and one not in apart and n in r] for n in threads}
        return {n: geomean(ratios) for n, ratios in of.items() if ratios}

    body = [[one, *(by_threads(found.get((one, name), {}), threads) for name in columns)] for one in lines]
    body.append(["geometric mean", *(by_threads(mean(name), threads) for name in columns)])
    return markdown_table(["", *columns], body)


def against_compiled(results: Results) -> list[str]:
    rows = results.of("compiled")
    table = pivot(rows, "compiled", lambda row: row.task.shape.name, lambda row: f"{row.task.cell} {kind(row)}")
    return ["#### Interpreted formula / compiled cell", "Both compute the same bits.", table] if rows else []


def against_frameworks(results: Results) -> list[str]:
    parts = ["#### Other libraries", FRAMEWORKS]
    for peer, title in (("jax", "JAX"), ("torch", "PyTorch")):
        for training in (False, True):
            rows = [row for row in results.of("frameworks", training=training) if row.ratio(peer) is not None]
            if rows:
                table = pivot(rows, peer, lambda row: row.task.cell, lambda row: row.task.shape.name, apart=MEMORY)
                parts += [f"{title}, {'training step' if training else 'forward'}:", table]
    return parts if len(parts) > 2 else []


def relative(results: Results, cell: str) -> list[str]:
    """Time over the compiled LSTM's, by threads: forward, training."""
    found = []
    for training in (False, True):
        rows = [row for row in results.of("plain", cell=cell, training=training) if row.ratio("plain")]
        found.append(" / ".join(f"{1 / ratio:.2f}" for row in rows if (ratio := row.ratio("plain"))) or "-")
    return found


def options(results: Results) -> list[str]:
    names = [name for name in dict.fromkeys(row.task.cell for row in results.of("plain")) if name not in zoo.CELLS]
    lines = [[name, *relative(results, name)] for name in names]
    return ["#### Options of LSTM", PLAIN, markdown_table(["", "forward", "training"], lines)] if lines else []


def beginning(results: Results) -> list[str]:
    starts = results.head.get("starts")
    if not starts:
        return []
    lines = [[name, *(f"{1e3 * seconds:.1f}" for seconds in of.values())] for name, of in starts["cells"].items()]
    head = ["cell", "first construction, ms", "first call beyond the second, ms", "first training step beyond the second, ms"]
    words = {"rnnfast": "`import rnnfast`", "zoo": "`from rnnfast import zoo` after it", "before": "the version before"}
    imports = ", ".join(f"{words[name]} {1e3 * seconds:.0f} ms" for name, seconds in starts["import"].items())
    return ["#### Beginning", f"Medians of fresh processes, NumPy imported: {imports}.", markdown_table(head, lines)]


def threads_of(rows: list[Row]) -> str:
    """How many they had: 1 thread, 2 threads, or 1 / 2 threads."""
    found = " / ".join(sorted({str(row.threads) for row in rows}))
    return f"{found} thread{'' if found == '1' else 's'}"


def speed(results: Results) -> str:
    """The measured part."""
    notes = absences(results, CONTENDERS) + disagreements(results)
    parts = [
        machine(results),
        METHOD.format(threads=threads_of(results.rows)),
        *against_compiled(results),
        *against_frameworks(results),
    ]
    parts += [*options(results), *beginning(results), bullets(notes) if notes else ""]
    return "\n\n".join(part for part in parts if part)


def paper(cell: Any) -> str:
    """The first parenthesis with a year of the docstring's first line, which names the paper."""
    first = cell.__doc__.partition("\n")[0]
    found = re.search(r"\(([^()]*\d{4}[^()]*)\)", first)
    assert found, f"{cell.__name__}: no paper in {first!r}"
    return found[1]


def kept(cell: Any) -> int:
    """Values per unit and step that live until backward, beside y and what is given."""
    spec = cell.plan().spec
    states = spec.states[1:] if spec.y_is_state else spec.states
    return int(spec.slots * spec.saves + sum(state.kept for state in states))


def products(cell: Any) -> str:
    """Blocks of W_hh, and the phases in which they are multiplied."""
    spec = cell.plan().spec
    phases = sum(phase.last > phase.first for phase in spec.forward)
    return f"{spec.h_gates} in {phases} phase{'s' * (phases > 1)}" if spec.h_gates else "none"


def gallery(results: Results) -> str:
    """The table of the zoo: from the formulas, and their times."""
    lines = [
        [f"`{name}`", paper(cell), " ".join(cell.plan().states), products(cell), str(kept(cell)), *relative(results, name)]
        for name, cell in zoo.CELLS.items()
    ]
    head = ["cell", "paper", "states", "blocks of W_hh", "kept per unit and step", "forward", "training step"]
    rows = results.of("plain")
    shape = f"{rows[0].task.shape.H} units, batch {rows[0].task.shape.B}" if rows else ""
    text = (
        "Blocks of W_hh: how many are multiplied in a step, and in how many phases, one after the other. Kept: the values that "
        "a training step keeps for backward, beside y. The last two columns are the time of a cell divided by that of the "
        f"compiled `rnnfast.LSTM` ({shape}, float32, {threads_of(rows)}): below 1 it is faster."
    )
    return f"{text}\n\n{markdown_table(head, lines)}"


def page(results: Results) -> str:
    parts = ["# Cells as formulas", speed(results), "## The zoo", gallery(results), "## The project's own targets"]
    return "\n\n".join([*parts, f"```text\n{summary(results)}\n```"]) + "\n"


def main() -> None:
    results = Results.read(Path(sys.argv[1]))
    targets = f"The project's own targets, met or missed:\n\n```text\n{summary(results)}\n```"
    parts = {"zoo": gallery(results), "speed of cells": f"{speed(results)}\n\n{targets}"}
    for page in map(Path, sys.argv[2:]):
        text = page.read_text(encoding="utf-8")
        fill(page, {name: parts.pop(name) for name in list(parts) if f"<!-- {name} -->" in text})
    assert not parts, f"no page has the marks of {', '.join(parts)}"


if __name__ == "__main__":
    main()
