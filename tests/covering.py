"""A small set of configurations in which every pair of values of every two factors meets (a pairwise covering array)."""

import itertools
import random

from rnnfast import runtime
from rnnfast.cells import CELLS

SIZES = (1, 2, 3, 5, 7, 8, 9, 13, 16, 17, 31, 32, 33, 47, 64, 67, 96, 127, 130)  # around 8, 16, 32, 64 lanes; 3 .. 12 rows

FACTORS = {
    "cell": tuple((cell.name, tuple(variant.options.items())) for cell in CELLS.values() for variant in cell.variants),
    "dtype": ("float32", "float64"),
    "isa": runtime.PRESENT,
    "direction": ("forward", "both"),
    "layers": (1, 2, 3),
    "lengths": ("all", "ragged", "zeros"),
    "bias": (True, False),
    "state": (True, False),
    "batch_first": (False, True),
    "threads": (1, 2, 3),
    "checkpoint": (None, 1, 3, 1000),
    "T": (1, 2, 5, 13, 31, 130),
    "B": (1, 2, 3, 5, 7, 13, 17, 33, 130),
    "I": (1, 3, 8, 17, 33, 67, 130),
    "H": SIZES,
}


def pairs(row: dict) -> set:
    """All pairs of (factor, value) in a configuration, complete or not, in the order of FACTORS."""
    return set(itertools.combinations([(name, row[name]) for name in FACTORS if name in row], 2))


def covering_set(seed: int = 1) -> list[dict]:
    """Greedy: each configuration starts from a pair not met yet and takes, factor by factor, the value that meets most."""
    rng = random.Random(seed)
    names = list(FACTORS)
    missing = {((a, x), (b, y)) for a, b in itertools.combinations(names, 2) for x in FACTORS[a] for y in FACTORS[b]}
    rows = []
    while missing:
        first = min(missing, key=repr)
        row = dict(first)
        rest = [name for name in names if name not in row]
        rng.shuffle(rest)
        for name in rest:
            values = rng.sample(FACTORS[name], len(FACTORS[name]))
            row[name] = max(values, key=lambda value: len(pairs({**row, name: value}) & missing))
        rows.append({name: row[name] for name in names})
        missing -= pairs(row)
    return rows


def random_set(count: int, seed: int = 2) -> list[dict]:
    """Seeded random configurations, any sizes from 1 to 130."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        row = {name: rng.choice(values) for name, values in FACTORS.items()}
        row.update(T=rng.randint(1, 20), B=rng.randint(1, 20), I=rng.randint(1, 130), H=rng.randint(1, 130))
        rows.append(row)
    return rows


def cost(row: dict) -> int:
    """Rough work of a configuration: the reference's products."""
    D = 2 if row["direction"] == "both" else 1
    return row["T"] * row["B"] * row["H"] * (row["H"] * D + row["I"]) * row["layers"] * D
