"""The targets that a run of compare.py is held to, the bars: each a figure and a list of what falls short."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from limit import least_seconds
from results import Results, Row, geomean

SLOWER = 0.97  # below this ratio rnnfast counts as slower: medians of the same work differ by as much


class Bar(NamedTuple):
    """title: what is asked; figure: what was found; short: what falls short, a line each; rows: how many were looked at."""

    title: str
    figure: str
    short: list[str]
    rows: int

    @property
    def verdict(self) -> str:
        return "none" if not self.rows else "FAIL" if self.short else "pass"


def against(title: str, rows: list[Row], peers: Iterable[str] | None, least: float = 0.0, mean: float = 0.0) -> Bar:
    """Against the fastest of some peers, None is all: a least ratio for every row, a geometric mean."""
    found = [(row, best) for row in rows if (best := row.best(peers)) is not None]
    short = [
        f"{row.label}: {row.own * 1e3:.4g} ms, {name} {ratio * row.own * 1e3:.4g} ms ({ratio:.2f})"
        for row, (name, ratio) in found
        if ratio < least
    ]
    over_all = geomean(ratio for _, (_, ratio) in found)
    if over_all < mean:
        short.insert(0, f"geometric mean {over_all:.2f} < {mean}")
    asked = [f"each >= {least}"] * (least > 0) + [f"geometric mean >= {mean}"] * (mean > 0)
    return Bar(f"{title}: {', '.join(asked)}", f"geometric mean {over_all:.2f}, {len(found)} rows", short, len(found))


def forward(results: Results) -> Bar:
    return against("forward / best peer", results.of("forward"), None, SLOWER, 1.7)


def training(results: Results) -> Bar:
    return against("training / best peer", results.of("training"), None, 1.2, 2.0)


def loop(results: Results) -> Bar:
    return against("forward / NumPy loop", results.of("forward", threads=1), ["numpy"], mean=3.5)


def loop_of_toy(results: Results) -> Bar:
    rows = [row for row in results.of("forward", threads=1, cell="lstm") if row.task.shape.name == "sine-h32"]
    return against("forward / NumPy loop, LSTM of sine-h32", rows, ["numpy"], least=60.0)


def float64(results: Results) -> Bar:
    return against("float64 / PyTorch", results.of("float64"), ["torch"], SLOWER, 1.8)


def step(size: int, mean: float) -> Callable[[Results], Bar]:
    """A single step with I = H = size."""

    def bar(results: Results) -> Bar:
        rows = [row for row in results.of("step") if size == row.task.shape.H]
        return against(f"step of {size} / ONNX Runtime", rows, ["onnxruntime"], 2.0, mean)

    return bar


def ragged(training: bool, mean: float) -> Callable[[Results], Bar]:
    """Against packed sequences, or padded ones and y masked, whichever is faster."""

    def bar(results: Results) -> Bar:
        rows = [row for row in results.of("ragged", training=training) if row.task.lengths]
        kind = "training" if training else "forward"
        return against(f"ragged {kind} / PyTorch packed or padded", rows, ["torch"], SLOWER, mean)

    return bar


def fractions(title: str, found: list[tuple[Row, float, float]]) -> Bar:
    """found: row, fraction, least fraction."""
    short = [f"{row.label}: {fraction:.2f} < {least}" for row, fraction, least in found if fraction < least]
    worst = min((fraction for _, fraction, _ in found), default=float("nan"))
    mean = geomean(fraction for _, fraction, _ in found)
    return Bar(title, f"least {worst:.2f}, geometric mean {mean:.2f}, {len(found)} rows", short, len(found))


def of_peak(row: Row, head: dict[str, Any]) -> float:
    """Part of the peak of multiply-adds that a row's products reach."""
    return float(row.task.flops / row.own / head["limits"][str(row.threads)]["fma"][row.task.dtype])


def of_limit(row: Row, head: dict[str, Any]) -> float:
    """The least time the task can take on this machine, divided by the time it takes."""
    return least_seconds(row.task, row.threads, head["limits"][str(row.threads)], head["machine"]["caches"]) / row.own


def peak(results: Results) -> Bar:
    rows = [r for r in results.of("forward") + results.of("training") if r.task.shape.B >= 16 and r.task.shape.H >= 256]
    found = [(row, of_peak(row, results.head), 0.85 if row.threads == 1 else 0.80) for row in rows]
    return fractions("part of the FMA peak, B >= 16, H >= 256: >= 0.85 on one core, >= 0.80 on more", found)


def limit(results: Results) -> Bar:
    rows = [row for row in results.of("forward") if row.task.shape.B == 1 and row.task.shape.H >= 256]
    found = [(row, of_limit(row, results.head), 0.85) for row in rows]
    return fractions("part of the machine's limit, forward, B = 1, H >= 256: >= 0.85", found)


def ragged_share(results: Results) -> Bar:
    """Time of a ragged batch over that of the padded one times the mean length / T."""
    found = []
    for row in results.of("ragged"):
        if lengths := row.task.lengths:
            shape = row.task.shape
            whole = [r for r in results.of("ragged", **row.task._replace(lengths=None)._asdict()) if r.threads == row.threads]
            found += [(row, row.own / (padded.own * sum(lengths) / (shape.B * shape.T))) for padded in whole]
    short = [f"{row.label}: {share:.2f} > 1.15" for row, share in found if share > 1.15]
    worst = max((share for _, share in found), default=float("nan"))
    return Bar("ragged / (mean length / T x padded): <= 1.15", f"most {worst:.2f}, {len(found)} rows", short, len(found))


def scaling(results: Results) -> Bar:
    """Two threads against one."""
    ones = {(r.section, r.task): r for r in results.of("forward", threads=1) + results.of("training", threads=1)}
    twos = results.of("forward", threads=2) + results.of("training", threads=2)
    pairs = [(one.own / two.own, two, one) for two in twos if (one := ones.get((two.section, two.task))) is not None]
    short = [
        f"{two.label}: {two.own * 1e3:.4g} ms, one thread {one.own * 1e3:.4g} ms ({gain:.2f})"
        for gain, two, one in pairs
        if gain < SLOWER
    ]
    figure = f"least {min((gain for gain, _, _ in pairs), default=float('nan')):.2f}"
    if large := [gain for gain, _, one in pairs if one.task.shape.B >= 16 and one.own >= 1e-3]:
        mean, limits = geomean(large), results.head["limits"]
        peaks = limits["2"]["fma"]["float32"] / limits["1"]["fma"]["float32"]
        figure += f", geometric mean of {len(large)} large tasks {mean:.2f}, of the peaks {peaks:.2f}"
        if mean < 0.9 * peaks:
            short.insert(0, f"large tasks: {mean:.2f} < 0.9 x {peaks:.2f}")
    title = "two threads / one: never slower; B >= 16 and >= 1 ms: geometric mean >= 0.9 of the peaks'"
    return Bar(title, f"{figure}, {len(pairs)} rows", short, len(pairs))


BARS: tuple[Callable[[Results], Bar], ...] = (
    forward,
    training,
    loop,
    loop_of_toy,
    peak,
    limit,
    step(64, 5.0),
    step(256, 2.5),
    ragged(False, 2.0),
    ragged(True, 3.0),
    ragged_share,
    float64,
    scaling,
)


def summary(results: Results, bars: Iterable[Callable[[Results], Bar]] = BARS) -> str:
    """Every bar with its verdict, its figure and what falls short."""
    lines = list[str]()
    for bar in (make(results) for make in bars):
        lines.append(f"{bar.verdict:<5} {bar.title}: {bar.figure}" if bar.rows else f"{bar.verdict:<5} {bar.title}")
        lines += [f"        {line}" for line in bar.short]
    return "\n".join(lines)
