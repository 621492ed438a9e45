"""Which value is in which slot, and when: slots serve in turn, for projections, for what is kept, and for gradients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from rnnfast.formula.spec import Operand, WeightGradient

END = 1 << 20


class Span(NamedTuple):
    """Of a value: the moments of its writing and of its last reading. Another value may be written at the moment of the last
    reading: the program in question reads before it writes."""

    written: int
    read: int

    def fits(self, other: Span) -> bool:
        return (other.read <= self.written and other.written < self.written) or (
            self.read <= other.written and self.written < other.written
        )


class Item(NamedTuple):
    """A value that wants a place. preferred: one that it should get if it can. where: among these first, before all others."""

    span: Span
    preferred: Operand | None = None
    where: Sequence[Operand] = ()


Key = TypeVar("Key", bound=Hashable)


def assign(
    items: Mapping[Key, Item], taken: dict[Operand, list[Span]], usual: Callable[[Operand], bool], new: Callable[[], Operand]
) -> dict[Key, Operand]:
    """A place for each item. taken: the spans of places, to which those of the items are added. usual: places that every item
    may have. new: makes one that was not in taken. Those who can choose least come first."""

    def can(item: Item, place: Operand) -> bool:
        return all(item.span.fits(span) for span in taken[place])

    def choices(item: Item) -> list[Operand]:
        return [place for place in (*item.where, *filter(usual, taken)) if can(item, place)]

    found = {}
    for key in sorted(items, key=lambda key: (items[key].preferred is None, len(choices(items[key])), items[key].span)):
        item, place = items[key], items[key].preferred
        if place is None or not can(item, place):
            place = next(iter(choices(item)), None) or new()
        taken.setdefault(place, []).append(item.span)
        found[key] = place
    return found


class Gradients(NamedTuple):
    """The slots of gradients of projections and of products, by gate, and how many slots they take."""

    x: dict[str, int]
    h: dict[str, int]
    slots: int


def gradients(
    x_gates: Iterable[str], h_gates: Iterable[str], same: Collection[str], groups: Sequence[Sequence[str]]
) -> Gradients:
    """Slots so that those of the projections come first and those of each group of products are neighbours. same: gates whose
    two gradients are one value. groups: gates in declared order; in slots these groups go from left to right.

    The projections' slots end with those of one group that goes on after them. Other groups that have gradients on both sides
    get slots of their own, and some values are stored twice.
    """
    x_gates, h_gates = list(x_gates), list(h_gates)
    shared = {tuple(group): [gate for gate in group if gate in same] for group in groups}
    whole = [group for group in shared if len(shared[group]) == len(group)]
    others = sorted((group for group in shared if group not in whole), key=lambda group: -len(shared[group]))
    across = others[:1]
    inside = [gate for group in (*whole, *across) for gate in shared[group]]
    x = {gate: slot for slot, gate in enumerate([*(gate for gate in x_gates if gate not in inside), *inside])}
    h = {gate: x[gate] for gate in inside}
    outside = [gate for group in (*across, *others[1:]) for gate in group if gate not in h]
    for slot, gate in enumerate(outside, len(x)):
        h[gate] = slot
    count = len(x) + len(outside)
    for gate in h_gates:
        if gate not in h and gate in same:
            h[gate] = x[gate]
        elif gate not in h:
            h[gate] = count
            count += 1
    return Gradients(x, h, count)


def runs(blocks: Iterable[WeightGradient]) -> tuple[WeightGradient, ...]:
    """Neighbours as one. Those that begin with the same slot stand together: what they read is then still in the cache."""
    found: list[WeightGradient] = []
    for block in sorted(blocks, key=lambda block: (block.of != "ih", block.slot)):
        end = found[-1] if found else block
        if (end.of, end.source, end.slot + end.gates, end.gate + end.gates) == (block.of, block.source, block.slot, block.gate):
            found[-1] = end._replace(gates=end.gates + 1)
        else:
            found.append(block)
    return tuple(sorted(found, key=lambda run: (run.slot, run.of != "ih")))
