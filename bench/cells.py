"""Cells that are formulas, against the compiled cells, JAX and PyTorch: ``python bench/cells.py --out results/``. See
bench/README.md."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cells_page
from cells_bars import summary
from cells_peers import COMPILED, CONTENDERS, FRAMEWORKS, OPTIONS, PLAIN
from cells_start import starts
from cells_steps import STEPS
from compare import counts, listed, race_all
from machine import machine, versions
from results import Results
from rnnfast import zoo
from rnnfast.proof.contenders import Contender, Task
from rnnfast.shapes import BY_NAME, SHAPES
from sections import Entry
from tables import absences, disagreements

COMPARED = ("sine-h32", "sent-h64", "shake-h256", "bb-h256-b32")  # with other libraries
COSTED = "bb-h256-b32"  # where options and cells are compared with the compiled LSTM


class Section(NamedTuple):
    """What races, and who."""

    tasks: list[Task]
    contenders: Mapping[str, Contender]


def tasks_of(cells: list[str], shapes: list[str]) -> list[Task]:
    found = [Task(cell, BY_NAME[name], training) for name in shapes for cell in cells for training in (False, True)]
    return [task for task in found if task.shape.training or not task.training]


SECTIONS = {
    "compiled": Section(tasks_of(["SimpleRNN", "LSTM", "GRU"], [shape.name for shape in SHAPES]), COMPILED),
    "frameworks": Section(tasks_of(list(STEPS), list(COMPARED)), FRAMEWORKS),
    "plain": Section(tasks_of([*OPTIONS, *zoo.CELLS], [COSTED]), PLAIN),
}


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    known = [*SECTIONS, "starts"]
    cells = list(dict.fromkeys(task.cell for section in SECTIONS.values() for task in section.tasks))
    parser.add_argument("--threads", type=counts, default=[1, 2], help="numbers of threads, default 1,2")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for cells.json and cells.md")
    parser.add_argument("--sections", type=listed(known), default=known, help=f"some of {','.join(known)}")
    parser.add_argument("--shapes", type=listed(BY_NAME), default=list(BY_NAME), help="some of them, by name")
    parser.add_argument("--cells", type=listed(cells), default=cells, help="some of them, by name")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each race, at least 3")
    parser.add_argument("--patience", type=float, default=2.0, help="seconds after which a race ends, 3 rounds done")
    parser.add_argument("--minutes", type=float, default=60.0, help="races are cut short to keep to so much in all")
    parser.add_argument("--before", help="interpreter that has the rnnfast whose import is compared")
    parser.add_argument("--resume", action="store_true", help="go on with the run whose cells.json is in --out")
    return parser.parse_args(arguments)


def entries(name: str, options: argparse.Namespace) -> list[Entry]:
    tasks, contenders = SECTIONS[name]
    names = tuple([name for name, contender in contenders.items() if not contender.missing()])
    return [
        Entry(name, threads, task, names)
        for threads in options.threads
        for task in tasks
        if task.shape.name in options.shapes and task.cell in options.cells
    ]


def run(options: argparse.Namespace, file: Path) -> Results:
    """Everything that is asked for and not yet in the file."""
    end = time.perf_counter() + 60 * options.minutes
    if options.resume and file.exists():
        results = Results.read(file)
    else:
        results = Results({"machine": machine(), "absent": {}, "seconds": 0.0}, [])
    results.head["versions"] = versions(dict(FRAMEWORKS))
    for name, contender in FRAMEWORKS.items():
        if modules := contender.missing():
            results.head["absent"][name.partition(":")[0]] = f"{' and '.join(modules)} not installed"
    for name in options.sections:
        if name in SECTIONS:
            todo = [entry for entry in entries(name, options) if not results.has(entry)]
            race_all(results, todo, SECTIONS[name].contenders, options, file, end)
        elif "starts" not in results.head:
            results.head["starts"] = starts(options.before, max(3, options.rounds // 2))
            results.write(file)
    return results


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 if all contenders computed the same."""
    options = options_of(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    results = run(options, options.out / "cells.json")
    (options.out / "cells.md").write_text(cells_page.page(results), encoding="utf-8")
    wrong = disagreements(results)
    print(cells_page.speed(results), summary(results), *absences(results, CONTENDERS), sep="\n\n")
    print("\n".join(wrong) if wrong else "All contenders computed the same.", end=" ")
    print(f"{results.head['seconds']:.0f} seconds of races.")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
