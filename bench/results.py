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

MAIN = ("torch", "onnxruntime", "openvino", "jax")  # the peers that count for the bars


class Row(NamedTuple):
    """One race. times: by contender, the fields of race.Time but for the task."""

    section: str
    threads: int
    task: Task
    times: dict[str, dict[str, Any]]

    @property
    def own(self) -> float:
        """Median seconds of rnnfast."""
        return float(self.times["rnnfast"]["seconds"])

    def seconds(self, name: str) -> float | None:
        """Median seconds of a contender; None: it was not there or cannot."""
        return self.times.get(name, {}).get("seconds")

    def ratio(self, name: str) -> float | None:
        """How many times as long as rnnfast a contender takes."""
        seconds = self.seconds(name)
        return None if seconds is None else seconds / self.own

    def best(self, names: Iterable[str] = MAIN) -> tuple[str, float] | None:
        """The fastest of these contenders and its ratio; None where none of them ran."""
        ratios = {name: ratio for name in names if (ratio := self.ratio(name)) is not None}
        if not ratios:
            return None
        name = min(ratios, key=ratios.__getitem__)
        return name, ratios[name]

    @property
    def label(self) -> str:
        """sine-h32 lstm training, 2 threads"""
        parts = [self.task.shape.name, self.task.cell, "training" if self.task.training else "forward"]
        parts += ["ragged"] * bool(self.task.lengths)
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
