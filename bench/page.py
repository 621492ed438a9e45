"""The results of compare.py as Markdown: a page with everything, and the README's short table."""

from __future__ import annotations

from collections.abc import Iterable

import bars
from peers import HOW, PEERS
from results import Results, geomean, peer_of
from rnnfast.cells import CELLS
from rnnfast.proof.race import SAME
from rnnfast.shapes import SHAPES, Shape
from tables import FEW, absences, disagreements, in_words, markdown_table, peers_of, tables
from verdict import counts, losses, sentence, worst_first

PASSES = ("forward", "training")
KEY = (
    "The figure of a peer is its time divided by rnnfast's: above 1 rnnfast is faster, **below 1 it loses**. Where a peer has "
    "several ways to do the work, the fastest counts; its name follows the figure if it is not the usual one. `-` means that "
    "the peer cannot do the work, `~` that its rounds differed much (a busy machine). A *ragged* batch is one of unequal "
    "lengths."
)
METHOD = (
    "A race is the measurement of one task by rnnfast and its peers, the contenders. Each contender has a process of its own "
    "and works alone, while the others are stopped, with as many CPUs as threads. In every round each contender has one turn, "
    "the contenders begin the rounds by turns, and a figure is the median of the rounds. Before anything is timed, all "
    f"results are compared with rnnfast's: they may differ by {SAME:g} in float32 and {FEW:g} in float64, relative to the "
    "largest value. Each peer gets its input in the layout that it computes in, and its output is taken as it is: what has to "
    "be rearranged for this comparison is not timed. In training the loss is sum(y), and all gradients are computed, that of "
    "x too."
)
TARGETS = (
    "These are the project's own targets, which ask for more than to be faster than the peers. The cases that miss a target "
    "are listed below it, and the [performance notes](performance.md) say what was tried. The *FMA peak* is the number of "
    "multiply-adds a second that was measured above. *The machine's limit* is the time of the products at that peak and of "
    "loading W_hh at each step from the smallest cache level that has at least 1.25 times its size; the time that a task "
    "takes is compared with it. It is an estimate: where W_hh is just larger than a cache, part of it is still found there, "
    "and the share can exceed 1. *Mean length / T x padded* is what a batch of unequal lengths would take if its padding cost "
    "nothing."
)


def machine(results: Results) -> str:
    """One line: CPU, ISA, compiler, date, versions."""
    m, versions = results.head["machine"], ", ".join(f"{n} {v}" for n, v in results.head["versions"].items())
    return f"{m['cpu']}, {m['isa']}, {m['cpus']} CPUs, {m['compiler']}, Python {m['python']}, {m['date'][:10]}; {versions}."


def opening(results: Results) -> str:
    """What was compared, and on which machine."""
    names = [PEERS[peer].title for peer in peers_of(results.rows)]
    among = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
    threads = " and ".join(sorted({str(row.threads) for row in results.rows}))
    return (
        f"SimpleRNN, LSTM and GRU of rnnfast against {among or 'nobody'} (its peers), all with the same numbers of threads "
        f"({threads}) and on the same machine: {machine(results)}"
    )


def limits(results: Results) -> str:
    """Measured peaks: a row a number of threads."""
    rows = []
    for threads, found in results.head["limits"].items():
        figures = [*found["fma"].values(), *found["load"].values()]
        head = ["threads", *(f"{d}, GFLOP/s" for d in found["fma"]), *(f"{level}, GB/s" for level in found["load"])]
        rows.append([threads, *(f"{figure / 1e9:.0f}" for figure in figures)])
    return markdown_table(head, rows) if rows else ""


def overview(results: Results) -> str:
    """A row a kind of race: how many, geometric mean, won, lost, the worst."""
    rows = []
    for kind in counts(results):
        row, path, ratio = min(kind.found, key=worst_first)
        worst = f"{ratio:.2f}: {row.label}, {PEERS[path].title}"
        lost = len(kind.lost)
        rows.append([kind.title, str(len(kind.found)), f"{kind.mean:.2f}", str(len(kind.found) - lost), str(lost), worst])
    head = ["races", "number", "time of the fastest peer / rnnfast's, geometric mean", "won", "lost", "lowest"]
    return markdown_table(head, rows) if rows else ""


def bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def contenders(results: Results) -> str:
    """How each contender is run, and which implementation of an LSTM it takes."""
    names = ["rnnfast", *peers_of(results.rows)]
    found = {peer: [f"{PEERS[n].title}: {p}" for n, p in results.head["paths"].items() if peer_of(n) == peer] for peer in names}
    return markdown_table(
        ["contender", "how", "its LSTM's code, as it says"],
        [[PEERS[peer].title, HOW[peer], "; ".join(found[peer])] for peer in names],
    )


def sizes(shape: Shape) -> str:
    """(64, 64, 1, 1) and what else there is."""
    extra = ", both directions" * shape.bidirectional + f", {shape.num_layers} layers" * (shape.num_layers > 1)
    return f"({shape.I}, {shape.H}, {shape.B}, {shape.T}{extra})"


def page(results: Results, plots: Iterable[tuple[str, str]]) -> str:
    """Everything; plots: addresses and titles of the images, the first of them the most telling."""
    first, *others = [f"![{title}]({address})" for address, title in plots] or [""]
    lost, notes = losses(results), absences(results) + disagreements(results)
    parts = ["# Benchmarks", opening(results), f"**{sentence(results)}**", overview(results), first]
    parts += ["## Where rnnfast loses", bullets(lost) if lost else "Nowhere in this run."]
    parts += ["## How it was measured", METHOD, contenders(results)]
    parts += ["Not measured, and what else to know:", bullets(notes)] if notes else []
    parts += ["How to run it: [bench/README.md](../bench/README.md).", "## All figures", KEY]
    for title, head, rows in tables(results):
        parts += [f"### {title}", markdown_table(head, rows)]
    parts += ["The shapes, each with (input size, units, sequences in the batch, time steps):"]
    parts += [bullets([f"{in_words(shape)} {sizes(shape)}" for shape in SHAPES])]
    parts += ["## Plots" * bool(others), *others]
    parts += ["## What the machine can do, measured in the same run", limits(results)]
    parts += ["## The project's own targets", TARGETS, f"```text\n{bars.summary(results)}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def by_threads(found: dict[int, float], threads: list[int], least: float = 1.0) -> str:
    """Ratios by numbers of threads: 0.93 / 1.20, those below `least` bold."""
    if not found:
        return "-"
    bold = {n: "**" if ratio < least else "" for n, ratio in found.items()}
    return " / ".join(f"{bold[n]}{found[n]:.2f}{bold[n]}" if n in found else "-" for n in threads)


def speed(results: Results) -> str:
    """The README's part: a line a shape, the fastest peer's time divided by rnnfast's for every cell and pass, by
    threads."""
    threads = sorted({row.threads for section in PASSES for row in results.of(section)})
    kinds = [(section, cell) for section in PASSES for cell in CELLS]
    ratios: dict[tuple[str, str, str], dict[int, float]] = {}
    for section in PASSES:
        for row in results.of(section):
            if (best := row.best()) is not None:
                ratios.setdefault((row.task.shape.name, section, row.task.cell), {})[row.threads] = best[1]

    rows = []
    for shape in SHAPES:
        entries = [by_threads(ratios.get((shape.name, *kind), {}), threads) for kind in kinds]
        if any(cell != "-" for cell in entries):
            rows.append([f"{in_words(shape)} {sizes(shape)}", *entries])
    loops = [
        f"{geomean(found):.1f} {kind.words}"
        for kind in counts(results)
        if (found := [ratio for row, *_ in kind.found if (ratio := row.ratio("numpy")) is not None])
    ]
    loop = f" For the NumPy loop it is {', '.join(loops)}." if loops else ""
    text = (
        f"{machine(results)}\n\n{sentence(results)}{loop} The table shows the time of the fastest peer (NumPy among them) "
        f"divided by rnnfast's, in float32, with {' / '.join(map(str, threads))} threads; **losses** are bold."
    )
    return f"{text}\n\n{markdown_table(['shape (I, H, B, T)', *(f'{cell} {section}' for section, cell in kinds)], rows)}"
