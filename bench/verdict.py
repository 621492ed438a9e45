"""What a run of compare.py says in a few sentences: geometric means, races won and lost, where."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from peers import PEERS
from results import Results, Row, geomean


def worst_first(one: tuple[Row, str, float]) -> float:
    return one[2]


class Count(NamedTuple):
    """Races of one kind, each with the fastest peer's path and its time divided by rnnfast's."""

    title: str
    words: str
    found: list[tuple[Row, str, float]]

    @property
    def mean(self) -> float:
        return geomean(ratio for *_, ratio in self.found)

    @property
    def lost(self) -> list[tuple[Row, str, float]]:
        """The worst first."""
        return sorted((one for one in self.found if one[2] < 1), key=worst_first)


KINDS: dict[str, tuple[str, str, Callable[[Row], bool]]] = {  # of a section: title, in a sentence, the rows that count
    "forward": ("forward", "forward", lambda row: True),
    "training": ("training step", "in training", lambda row: True),
    "step": ("one step of a stream", "in single steps of a stream", lambda row: True),
    "ragged": ("batches of unequal lengths", "with unequal lengths", lambda row: bool(row.task.lengths)),
    "float64": ("float64, forward and training step", "in float64", lambda row: True),
}


def counts(results: Results) -> list[Count]:
    """One for each kind of race that there is."""
    kinds = []
    for section, (title, words, counted) in KINDS.items():
        rows = [row for row in results.of(section) if counted(row)]
        if found := [(row, *best) for row in rows if (best := row.best()) is not None]:
            kinds.append(Count(title, words, found))
    return kinds


def sentence(results: Results) -> str:
    """The verdict in one sentence."""
    kinds = counts(results)
    if not kinds:
        return "There was no other library to compare with."
    raced, lost = sum(len(kind.found) for kind in kinds), sorted((one for kind in kinds for one in kind.lost), key=worst_first)
    places = list(dict.fromkeys(f"{row.task.shape.name} ({row.task.shape.what})" for row, *_ in lost))
    where = ", at worst on " + "; ".join(places[:3]) + f"; also on {len(places) - 3} more" * (len(places) > 3)
    means = ", ".join(f"{kind.mean:.2f} {kind.words}" for kind in kinds)
    return (
        f"The time of the fastest other library divided by rnnfast's is, as a geometric mean, {means}; "
        f"rnnfast wins {raced - len(lost)} of {raced} races and loses {len(lost)}{where if lost else ''}."
    )


def losses(results: Results) -> list[str]:
    """A line for each lost race: which it is, both times, and their ratio."""
    return [
        f"{row.label} ({row.task.shape.what}): {row.own * 1e3:.4g} ms, "
        f"{PEERS[path].title} {ratio * row.own * 1e3:.4g} ms ({ratio:.2f})"
        for kind in counts(results)
        for row, path, ratio in kind.lost
    ]
