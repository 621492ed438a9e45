"""tanh and sigmoid on every float32 there is: ``python tests/all_floats.py [--isa NAME] [--stride N]``.

The reference is NumPy in float64. Holds the bounds of test_vmath.py in ULP where the result is a normal number; below, zero or
a subnormal (or the smallest normal, by rounding) is right. tanh(-x) is -tanh(x) to the bit, NaN stays NaN. Exit status 1 when
anything is wrong. A stride takes every Nth bit pattern: an odd one still meets every low bit and every exponent.
"""

import argparse
import sys

import numpy as np

from rnnfast._engine import settings
from rnnfast._kernels import _testing
from rnnfast.progress import progress

BOUNDS = {"tanh": 4.0, "sigmoid": 2.5}
CHUNK = 1 << 18  # patterns at once: what they need stays in the cache
SIGN = np.uint32(1 << 31)
TINY = float(np.finfo(np.float32).tiny)


def exact(function, x):
    if function == "tanh":
        return np.tanh(x)
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


class Findings:
    """The largest error of one function, and what breaks its rules."""

    def __init__(self, function):
        self.function, self.worst, self.where, self.wrong, self.example = function, 0.0, 0.0, 0, None

    def add_wrong(self, x, wrong):
        count = np.count_nonzero(wrong)
        if count and self.example is None:
            self.example = float(x[wrong.argmax()])
        self.wrong += count

    def check(self, x, y):
        """x, y (n,): arguments and the kernel's results."""
        e = exact(self.function, x.astype(np.float64))
        size = np.abs(e)
        unit = (size.view(np.uint64) & np.uint64(0x7FF << 52)).view(np.float64) * 2.0**-23  # of e's binade
        errors = np.abs(y - e) / np.maximum(unit, TINY * 2.0**-23)
        normal = size >= TINY
        errors[~normal] = 0
        number = ~np.isnan(x)
        self.add_wrong(x, number & np.isnan(y) | ~number & ~np.isnan(y))
        self.add_wrong(x, number & ~normal & (np.abs(y) > TINY))
        self.add_wrong(x, errors > BOUNDS[self.function])
        at = np.nanargmax(np.where(number, errors, 0))
        if errors[at] > self.worst:
            self.worst, self.where = float(errors[at]), float(x[at])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", choices=settings.PRESENT, default=settings.PRESENT[-1])
    parser.add_argument("--stride", type=int, default=1, help="take every Nth bit pattern (default: all of them)")
    args = parser.parse_args()
    isa = settings.COMPILED.index(args.isa)
    found = {function: Findings(function) for function in BOUNDS}
    starts = range(0, 1 << 31, CHUNK * args.stride)
    patterns = 0
    with progress(len(starts), args.isa) as bar, np.errstate(all="ignore"):
        for start in starts:
            bits = np.arange(start, min(start + CHUNK * args.stride, 1 << 31), args.stride, dtype=np.uint32)
            x = bits.view(np.float32)
            minus = (bits | SIGN).view(np.float32)
            patterns += 2 * x.size
            y = _testing.apply("tanh", isa, x)
            found["tanh"].check(x, y)
            odd = _testing.apply("tanh", isa, minus).view(np.uint32) == y.view(np.uint32) ^ SIGN
            found["tanh"].add_wrong(minus, ~odd & ~np.isnan(x))
            found["tanh"].add_wrong(minus, np.isnan(x) & ~np.isnan(_testing.apply("tanh", isa, minus)))
            for side in (x, minus):
                found["sigmoid"].check(side, _testing.apply("sigmoid", isa, side))
            bar.update()
    for name, f in found.items():
        print(f"{args.isa} {name}: {patterns} floats, largest error {f.worst:.3f} ULP at {f.where!r}, {f.wrong} wrong", end="")
        print(f", the first {f.example!r}" if f.wrong else "")
    sys.exit(any(f.wrong for f in found.values()))


if __name__ == "__main__":
    main()
