"""Frameworks with and without rnnfast behind them: ``python bench/front_doors.py [--doors torch] [--threads 1] [--out doors]``.

A door is a framework whose models rnnfast computes. Each is raced as compare.py's contenders are: the framework alone against
the same program with rnnfast, in a process each that works while the other is stopped, the same number of threads; a figure is
the median of interleaved rounds. Then what a small call costs beside the call of rnnfast's own layer on arrays. Printed are the
rows, and the bars that they are held to; --out also writes doors.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import rnnfast
from bars import Bar, against
from calls import medians
from compare import QUICK_RACE, counts, listed, race_all
from machine import machine, versions
from results import Results, Row
from rnnfast.cells import CELLS
from rnnfast.layers import LAYERS
from rnnfast.proof.contenders import CONTENDERS, Contender, Task, Work, torch_task
from rnnfast.shapes import SHAPES, Shape
from sections import RAGGED, Entry, lengths_of
from tables import disagreements, in_words, mark

SMALL = (
    Shape("call-h8", 8, 8, 4, 5, "5 steps"),
    Shape("call-h64", 64, 64, 1, 1, "one step"),
    Shape("call-h16", 16, 16, 4, 20, "20"),
)
ROUNDS = 60  # of the small calls


class Cost(NamedTuple):
    """Median seconds of a small call: of the framework's module with rnnfast behind it, of rnnfast's layer on arrays, and of
    the framework's own module."""

    cell: str
    shape: Shape
    training: bool
    module: float
    layer: float
    alone: float

    @property
    def more(self) -> float:
        """Microseconds that the module costs more than the layer."""
        return 1e6 * (self.module - self.layer)


class Door(NamedTuple):
    """title: of the framework; contenders: "rnnfast", the framework with rnnfast behind it, first, then the framework alone by
    the name that `bars` uses; sections: name -> tasks; small: (cell, shape, training) -> three calls, as in Cost."""

    title: str
    contenders: dict[str, Contender]
    sections: dict[str, list[Task]]
    bars: Callable[[Results], list[Bar]]
    small: Callable[[str, Shape, bool], Sequence[Callable[[], Any]]]


# ---- PyTorch ---------------------------------------------------------------------------------------------------------------
def accelerated_task(task: Task, threads: int) -> Work | None:
    """PyTorch's own task, its module accelerated."""
    from rnnfast.torch import accelerate

    rnnfast.set_num_threads(threads)

    def prepare(net: Any) -> Any:
        accelerate(net)
        return net

    return torch_task(task, threads, prepare=prepare)


def torch_bars(results: Results) -> list[Bar]:
    """LSTM apart: PyTorch's is oneDNN's, fused; its GRU and RNN are loops over operations."""
    found = [against("PyTorch training: every row", results.of("training"), ["torch"], least=0.95)]
    for cell, mean in (("lstm", 1.4), ("gru", 2.3), ("simple_rnn", 2.3)):
        found.append(against(f"PyTorch training, {cell}", results.of("training", cell=cell), ["torch"], mean=mean))
    return [*found, against("PyTorch training, ragged packed batches", results.of("ragged"), ["torch"], mean=2.5)]


def torch_small(cell: str, shape: Shape, training: bool) -> Sequence[Callable[[], Any]]:
    import torch

    from rnnfast.torch import accelerate

    torch.set_num_threads(1)
    rnnfast.set_num_threads(1)
    kind = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    module, alone, layer = kind(shape.I, shape.H), kind(shape.I, shape.H), LAYERS[cell](shape.I, shape.H)
    accelerate(module)
    x = torch.randn(shape.T, shape.B, shape.I)
    array, dy = x.numpy(), torch.ones(shape.T, shape.B, shape.H)

    def infer(net: Any) -> Any:
        with torch.no_grad():
            return net(x)

    def train(net: Any) -> Any:
        return torch.autograd.grad(net(leaf)[0], wanted[net], dy)

    def record() -> Any:
        return layer.record(array)[2].backward(dy.numpy())

    leaf = x.clone().requires_grad_()
    wanted = {net: [leaf, *net.parameters()] for net in (module, alone)}
    if training:
        return partial(train, module), record, partial(train, alone)
    return partial(infer, module), lambda: layer(array), partial(infer, alone)


PYTORCH = Door(
    "PyTorch",
    {"rnnfast": Contender("PyTorch, accelerated", ("torch",), accelerated_task), "torch": CONTENDERS["torch"]},
    {
        "training": [Task(cell, shape, True) for shape in SHAPES if shape.training for cell in CELLS],
        "ragged": [Task(cell, shape, True, lengths=lengths_of(shape)) for shape in RAGGED for cell in CELLS],
    },
    torch_bars,
    torch_small,
)

# ---- all of them: another framework is another Door, added here -----------------------------------------------------------
DOORS: dict[str, Door] = {"torch": PYTORCH}


def entries(door: Door, threads: Sequence[int], shapes: list[str] | None, cells: list[str]) -> list[Entry]:
    return [
        Entry(section, count, task, tuple(door.contenders))
        for count in threads
        for section, tasks in door.sections.items()
        for task in tasks
        if task.cell in cells and (shapes is None or task.shape.name in shapes)
    ]


def costs(door: Door, cells: list[str], rounds: int) -> list[Cost]:
    """Of small calls, as calls.py measures them."""
    found = []
    for training in (False, True):
        for cell in cells:
            for shape in SMALL:
                ways = dict(zip(("module", "layer", "alone"), door.small(cell, shape, training), strict=True))
                found.append(Cost(cell, shape, training, **medians(ways, rounds)))
    return found


def cost_bars(title: str, found: list[Cost]) -> list[Bar]:
    bars = []
    for training, most in ((False, 30.0), (True, 60.0)):
        rows = [cost for cost in found if cost.training == training]
        short = [f"{c.cell} {c.shape.name}: {c.more:.0f} us more" for c in rows if c.more > most]
        figure = f"most {max((c.more for c in rows), default=np.nan):.0f} us, {len(rows)} rows"
        kind = "with backward" if training else "inference"
        bars.append(Bar(f"{title}, small calls, {kind}: at most {most:.0f} us more than the layer", figure, short, len(rows)))
    return bars


def row_text(row: Row, peer: str) -> str:
    name, task = in_words(row.task.shape), row.task
    own, other = row.times["rnnfast"], row.times[peer]
    if own["seconds"] is None or other["seconds"] is None:
        return f"  {name:<52}{task.cell:<11}{row.threads}  not run"
    milliseconds = f"{mark(row, 'rnnfast')}{1e3 * own['seconds']:10.3f}{mark(row, peer)}{1e3 * other['seconds']:10.3f}"
    return f"  {name:<52}{task.cell:<11}{row.threads}{milliseconds}{other['seconds'] / own['seconds']:8.2f}"


def text(door: Door, results: Results, small: list[Cost]) -> str:
    """The door's tables."""
    lines = []
    peer = next(name for name in door.contenders if name != "rnnfast")
    for section in door.sections:
        lines += ["", f"{door.title}, {section}: shape, cell, threads, ms with rnnfast, ms alone, ratio"]
        lines += [row_text(row, peer) for row in results.of(section)]
    lines += ["", f"{door.title}, small calls: us of the module, of the layer on arrays, difference; of {door.title} alone"]
    for c in small:
        kind = f"{c.cell} {c.shape.name}{' with backward' * c.training}"
        lines.append(f"  {kind:<40}{1e6 * c.module:8.1f}{1e6 * c.layer:8.1f}{c.more:8.1f}{1e6 * c.alone:10.1f}")
    return "\n".join(lines)


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    shapes = list(dict.fromkeys(t.shape.name for door in DOORS.values() for tasks in door.sections.values() for t in tasks))
    parser.add_argument("--doors", type=listed(DOORS), default=list(DOORS), help=f"some of {','.join(DOORS)}")
    parser.add_argument("--threads", type=counts, default=[1], help="numbers of threads, default 1")
    parser.add_argument("--shapes", type=listed(shapes), help="some of them, by name")
    parser.add_argument("--cells", type=listed(CELLS), default=list(CELLS), help=f"some of {','.join(CELLS)}")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each race, at least 3")
    parser.add_argument("--patience", type=float, default=2.0, help="seconds after which a race ends, 3 rounds done")
    parser.add_argument("--minutes", type=float, default=30.0, help="races are cut short to keep to so much in all")
    parser.add_argument("--out", type=Path, default=Path("doors"), help="folder for NAME.json of each door, and doors.json")
    parser.add_argument("--quick", action="store_true", help="few rounds, few shapes: does it run?")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.patience = QUICK_RACE["rounds"], QUICK_RACE["patience"]
        options.shapes = options.shapes or ["sine-h32", "ragged-h64"]
    return options


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 if every bar is kept and all computed the same."""
    options = options_of(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    end, failed, summary = time.perf_counter() + 60 * options.minutes, False, {}
    for name in options.doors:
        door = DOORS[name]
        if missing := [m for contender in door.contenders.values() for m in contender.missing()]:
            print(f"{door.title}: not run, {missing[0]} is not installed")
            continue
        head = {"machine": machine(), "versions": versions(door.contenders), "absent": {}, "seconds": 0.0}
        results, todo = Results(head, []), entries(door, options.threads, options.shapes, options.cells)
        race_all(results, todo, door.contenders, options, options.out / f"{name}.json", end)
        small = costs(door, options.cells, 3 if options.quick else ROUNDS)
        bars = [*door.bars(results), *cost_bars(door.title, small)]
        wrong = disagreements(results)
        print(text(door, results, small), "", sep="\n")
        for bar in bars:
            print(f"{bar.verdict:<5}{bar.title}: {bar.figure}", *(f"       {line}" for line in bar.short), sep="\n")
        print("\n".join(wrong) if wrong else "All computed the same.")
        failed |= bool(wrong) or any(bar.verdict == "FAIL" for bar in bars)
        summary[name] = {
            "bars": [bar._asdict() | {"verdict": bar.verdict} for bar in bars],
            "small": [cost._asdict() | {"shape": cost.shape.name} for cost in small],
        }
    (options.out / "doors.json").write_text(json.dumps(summary), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
