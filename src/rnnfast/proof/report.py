"""The main job from start to end: prove, race, print at 80 columns, write JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from rnnfast import runtime
from rnnfast._engine import checks
from rnnfast._kernels import _core
from rnnfast.cells import CELLS
from rnnfast.progress import progress
from rnnfast.proof.contenders import CONTENDERS, Task
from rnnfast.proof.prove import BOUNDS, Proof, prove, variants
from rnnfast.proof.race import SAME, Race, Time
from rnnfast.shapes import BY_NAME

RACED = ("stream-h64", "sine-h32", "stock-h50", "sent-h64", "shake-h256")
UNSTEADY = 1.5
RACE_SECONDS = 35  # rounds are cut to keep to it: with the proofs and the peers' start, less than a minute


def title(cell: str, options: dict[str, Any]) -> str:
    """lstm, gru before, simple_rnn relu"""
    if cell == "gru" and not options.get("reset_after", True):
        return "gru, reset before"
    return " ".join([cell, *(str(v) for v in options.values() if isinstance(v, str))])


def print_proofs(proofs: list[Proof]) -> None:
    dtypes = list(BOUNDS)
    print("Largest error against the NumPy reference in float64:\n")
    print(f"  {'':<20}{'':<9}" + "".join(f"{dtype:^22}" for dtype in dtypes))
    print(f"  {'cell':<20}{'ISA':<9}" + f"{'forward':>11}{'gradients':>11}" * len(dtypes))
    rows: dict[tuple[str, str], dict[str, Proof]] = {}
    for p in proofs:
        rows.setdefault((title(p.cell, p.options), p.isa), {})[p.dtype] = p
    for (cell, isa), by_dtype in rows.items():
        figures = "".join(f"{by_dtype[d].forward:>11.1e}{by_dtype[d].gradients:>11.1e}" for d in dtypes)
        print(f"  {cell:<20}{isa:<9}{figures}{'' if all(p.right for p in by_dtype.values()) else '  WRONG'}")
    bounds = ", ".join(f"{dtype} {bound:g}" for dtype, bound in BOUNDS.items())
    wrong = [p for p in proofs if not p.right]
    print(f"\n  {sum(p.cases for p in proofs)} cases; bounds: {bounds}. {'All right.' if not wrong else 'WRONG:'}")
    for p in wrong:
        print(f"    {title(p.cell, p.options)} {p.dtype} {p.isa}: {p.worst}")


def unsteady(t: Time) -> str:
    """A mark for a figure whose rounds lie far apart."""
    return "~" if t.spread is not None and t.spread > UNSTEADY else ""


def print_times(times: list[Time], names: list[str], threads: int) -> None:
    others = [n for n in names if n != "rnnfast"]
    print(f"\nTime in float32 with {threads} threads, and how many times as long others take:\n")
    print(f"  {'':<23}{'rnnfast':>12}" + "".join(f"{CONTENDERS[n].title:>14}" for n in others))
    table: dict[str, dict[Task, dict[str, Time]]] = {}
    for t in times:
        table.setdefault(t.task.shape.name, {}).setdefault(t.task, {})[t.contender] = t
    for name, tasks in table.items():
        shape = BY_NAME[name]
        print(f"  {name}: I {shape.I}, H {shape.H}, B {shape.B}, T {shape.T} ({shape.what})")
        for task, row in tasks.items():
            own = row["rnnfast"].seconds
            assert own is not None
            figure = f"{unsteady(row['rnnfast'])}{own * 1e3:.3f} ms"
            print(f"    {task.cell:<12}{'training' if task.training else 'forward':<9}{figure:>12}", end="")
            for n in others:
                seconds = row[n].seconds if n in row else None
                ratio = "-" if seconds is None else f"{unsteady(row[n])}{seconds / own:.1f} x"
                print(f"{ratio:>14}", end="")
            print()
    wrong = [t for t in times if t.error is not None and not t.error <= SAME]
    print(f"\n  Medians of interleaved rounds, a process each; results agree to {SAME:g}{'.' if not wrong else ', BUT:'}")
    if any(map(unsteady, times)):
        print(f"  ~ slowest round over {UNSTEADY} x the fastest: the machine was busy.")
    for t in wrong:
        print(f"    {t.contender} on {t.task}: {t.error:.1e}")


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 if every check holds."""
    parser = argparse.ArgumentParser(
        prog="python -m rnnfast", description="Prove the kernels right on this machine and show how fast they are."
    )
    parser.add_argument("--json", metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--threads", type=int, default=runtime.get_num_threads(), help="threads of all contenders")
    options = parser.parse_args(arguments)
    try:
        runtime.set_num_threads(checks.positive("--threads", options.threads, _core.MAX_THREADS))
        if options.json:  # find out now, not after a minute of work
            Path(options.json).touch()
    except (ValueError, OSError) as problem:
        parser.error(str(problem))

    began = time.perf_counter()
    config = runtime.show_config("dicts")
    print(f"rnnfast {config['Versions']['rnnfast']}, NumPy {config['Versions']['numpy']}, ", end="")
    print(f"Python {config['Versions']['python']}\n{config['CPU']['name']}: {config['CPU']['isa']} of ", end="")
    print(f"{', '.join(config['CPU']['isas present'])}; {options.threads} threads\n", flush=True)

    with progress(len(list(variants())) + 1, "checking") as bar:
        proofs = prove(bar.update)
    print_proofs(proofs)
    sys.stdout.flush()

    missing = {c.title: c.missing() for c in CONTENDERS.values() if c.missing()}
    names = [name for name, contender in CONTENDERS.items() if not contender.missing()]
    tasks = [
        Task(cell, BY_NAME[shape], training)
        for shape in RACED
        for cell in CELLS
        for training in ((False, True) if BY_NAME[shape].training else (False,))
    ]
    times: list[Time] = []
    with Race(names, options.threads) as race, progress(len(tasks), "timing") as bar:
        end = time.perf_counter() + RACE_SECONDS
        for i, task in enumerate(tasks):
            times += race.run(task, patience=(end - time.perf_counter()) / (len(tasks) - i))
            bar.update()
        failed = race.failed
    print_times(times, names, options.threads)
    for name, modules in missing.items():
        print(f"  {name}: not timed, {' and '.join(modules)} not installed.")
    for name, reason in failed.items():
        print(f"  {CONTENDERS[name].title}: not timed further, {' '.join(reason.split())[:200]}")
    right = all(p.right for p in proofs) and all(t.error is None or t.error <= SAME for t in times)
    print(f"\n{'Everything checked is right.' if right else 'SOMETHING IS WRONG, see above.'}", end=" ")
    print(f"{time.perf_counter() - began:.0f} seconds.")
    if options.json:
        figures = {
            "config": config,
            "peers": {n: CONTENDERS[n].versions() for n in names},
            "threads": options.threads,
            "right": right,
            "errors": [{**vars(p), "bound": p.bound, "right": p.right} for p in proofs],
            "times": [
                {"cell": t.task.cell, "shape": t.task.shape.name, "training": t.task.training, **t.figures()} for t in times
            ],
        }
        Path(options.json).write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0 if right else 1
