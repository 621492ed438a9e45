"""The figures of a run of compare.py: rows of races in one JSON file, written after each, and what is asked of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rnnfast.proof.contenders import Task
from rnnfast.proof.race import Time
from rnnfast.shapes import Shape
from sections import Entry


def peer_of(name: str) -> str:
    """The peer that a path, peer:path, belongs to."""
    return name.partition(":")[0]


class Row(NamedTuple):
    """One race. times: by contender, the fields of race.Time but for the task; a peer may have several paths, peer:path."""

    section: str
    threads: int
    task: Task
    times: dict[str, dict[str, Any]]

    @property
    def own(self) -> float:
        """Median seconds of rnnfast."""
        return float(self.times["rnnfast"]["seconds"])

    @property
    def peers(self) -> list[str]:
        """The peers that could do it."""
        return list(dict.fromkeys(peer_of(name) for name in self.times if name != "rnnfast" and self.times[name]["seconds"]))

    def path(self, peer: str) -> str | None:
        """The fastest of a peer's paths; None: it was not there or cannot."""
        paths = [name for name in self.times if peer_of(name) == peer and self.times[name]["seconds"]]
        return min(paths, key=lambda name: self.times[name]["seconds"], default=None)

    def ratio(self, peer: str) -> float | None:
        """How many times as long as rnnfast a peer takes by its fastest path."""
        path = self.path(peer)
        return None if path is None else self.times[path]["seconds"] / self.own

    def best(self, peers: Iterable[str] | None = None) -> tuple[str, float] | None:
        """The fastest path of these peers, or of all, and its ratio; None where none of them ran."""
        ratios = {peer: ratio for peer in peers or self.peers if (ratio := self.ratio(peer)) is not None}
        if not ratios:
            return None
        peer = min(ratios, key=ratios.__getitem__)
        return self.path(peer) or peer, ratios[peer]

    @property
    def label(self) -> str:
        """sine-h32 lstm training, 2 threads"""
        kind = "step" if self.task.stateful else "training" if self.task.training else "forward"
        parts = [self.task.shape.name, self.task.cell, kind, *["ragged"] * bool(self.task.lengths)]
        parts += ["float64"] * (self.task.dtype == "float64")
        return f"{' '.join(parts)}, {self.threads} thread{'s' * (self.threads > 1)}"


def geomean(values: Iterable[float]) -> float:
    """Geometric mean; NaN of nothing."""
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


class Results:
    """One file: `head` (machine, versions, limits, ...) and `rows`."""

    def __init__(self, head: dict[str, Any], rows: list[Row]) -> None:
        self.head, self.rows = head, rows

    @classmethod
    def read(cls, file: Path) -> Results:
        data = json.loads(file.read_text(encoding="utf-8"))
        rows = []
        for row in data.pop("rows"):
            task = row["task"]
            lengths = None if task["lengths"] is None else tuple(task["lengths"])
            task = Task(**{**task, "shape": Shape(**task["shape"]), "lengths": lengths})
            rows.append(Row(row["section"], row["threads"], task, row["times"]))
        return cls(data, rows)

    def write(self, file: Path) -> None:
        """All of it or nothing: a run that is killed leaves the file of the race before."""
        rows = [{**row._asdict(), "task": {**row.task._asdict(), "shape": row.task.shape._asdict()}} for row in self.rows]
        part = file.with_suffix(".part")
        part.write_text(json.dumps({**self.head, "rows": rows}), encoding="utf-8")
        part.replace(file)

    def add(self, entry: Entry, times: list[Time]) -> None:
        figures = {t.contender: t.figures() for t in times}
        self.rows = [row for row in self.rows if row[:3] != entry[:3]]  # a race with other peers gives way
        self.rows.append(Row(entry.section, entry.threads, entry.task, figures))

    def has(self, entry: Entry) -> bool:
        """Whether this race was run with all its contenders."""
        return any(row[:3] == entry[:3] and row.times.keys() >= set(entry.names) for row in self.rows)

    def of(self, section: str, **wanted: Any) -> list[Row]:
        """Rows of a section, with these values of row.threads or row.task's fields."""
        threads = wanted.pop("threads", None)
        return [
            row
            for row in self.rows
            if row.section == section
            and threads in (None, row.threads)
            and all(getattr(row.task, name) == value for name, value in wanted.items())
        ]
