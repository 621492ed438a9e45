"""compare.py's tables: how many times as long as rnnfast each peer takes, as text for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from peers import PEERS
from results import Results, Row
from rnnfast.proof.contenders import Contender
from rnnfast.proof.race import SAME
from rnnfast.proof.report import UNSTEADY
from rnnfast.shapes import Shape
from sections import SECTIONS

BUSY = 0.5
FEW = 1e-9  # two contenders' results may differ by this in float64


def peers_of(rows: list[Row]) -> list[str]:
    """Peers that occur in the rows, in the order of PEERS."""
    return [name for name in PEERS if any(name in row.peers for row in rows)]


def mark(row: Row, name: str) -> str:
    return "~" if (row.times[name]["spread"] or 0) > UNSTEADY else ""


def in_words(shape: Shape) -> str:
    """stream-h64: one step of a stream, 64 units"""
    return f"{shape.name}: {shape.what}"


def ratio_of(row: Row, peer: str) -> str:
    """Of a peer's fastest path, which is named if it is not the usual one; below 1 between stars; - where the peer cannot."""
    ratio, path = row.ratio(peer), row.path(peer)
    if ratio is None or path is None:
        return "-"
    figure = f"{mark(row, path)}{ratio:.2f}"
    return (f"**{figure}**" if ratio < 1 else figure) + f" {path.removeprefix(peer)[1:]}".rstrip()


def cells_of(row: Row, peers: list[str]) -> list[str]:
    """shape, cell, pass, milliseconds, a ratio a peer."""
    task = row.task
    kind = ("training" if task.training else "forward") + (", ragged" if task.lengths else "")
    own = f"{mark(row, 'rnnfast')}{row.own * 1e3:.4g}"
    return [in_words(task.shape), task.cell, kind, own, *(ratio_of(row, peer) for peer in peers)]


def head_of(peers: list[str]) -> list[str]:
    return ["shape", "cell", "pass", "rnnfast, ms", *(PEERS[peer].title for peer in peers)]


def tables(results: Results) -> list[tuple[str, list[str], list[list[str]]]]:
    """For each section and number of threads: title, head, lines."""
    found = []
    for section, (title, *_) in SECTIONS.items():
        rows = results.of(section)
        for threads in sorted({row.threads for row in rows}):
            part = [row for row in rows if row.threads == threads]
            peers = peers_of(part)
            head = f"{title}; {threads} thread{'s' * (threads > 1)}"
            found.append((head[0].upper() + head[1:], head_of(peers), [cells_of(row, peers) for row in part]))
    return found


def text(results: Results) -> str:
    """All tables, columns aligned."""
    lines = []
    for title, head, rows in tables(results):
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines.append(f"\n{title}")
        for row in (head, *rows):
            padded = (f"{cell:<{w}}" if i < 3 else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
            lines.append("  " + "  ".join(padded).rstrip())
    return "\n".join(lines)


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))


def disagreements(results: Results) -> list[str]:
    """Races whose contenders do not compute the same."""
    wrong = []
    for row in results.rows:
        bound = SAME if row.task.dtype == "float32" else FEW
        wrong += [
            f"{row.label}: {name} differs by {figures['error']:.1e}"
            for name, figures in row.times.items()
            if figures["error"] is not None and not figures["error"] <= bound
        ]
    return wrong


def absences(results: Results, contenders: Mapping[str, Contender] = PEERS) -> list[str]:
    """Peers that were asked for and did not run, and why; whether others were at work on the machine."""
    lines = [f"{contenders[name].title}: {' '.join(reason.split())[:300]}" for name, reason in results.head["absent"].items()]
    if (load := results.head["machine"]["load"]) > BUSY:
        lines.append(f"The machine was busy before the run (load {load:.1f}): peers whose threads spin suffer most.")
    return lines
