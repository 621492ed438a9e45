"""The functions of programs on every float32 there is: ``python tests/all_floats.py [--isa NAME] [--stride N]``.

The reference is NumPy in float64. Holds the bounds of test_vmath.py in ULP where the result is a normal number; below, zero or
a subnormal (or the smallest normal, by rounding) is right. tanh(-x) is -tanh(x) to the bit, NaN stays NaN. Exit status 1 when
anything is wrong. A stride takes every Nth bit pattern: an odd one still meets every low bit and every exponent. Subnormal
arguments, which count as 0 inside a call, are left out (tests/csrc/ops.c has them).
"""

import argparse
import sys

import numpy as np
from test_vmath import BOUNDS, DOMAIN, exact

from rnnfast._engine import settings
from rnnfast._kernels import _testing
from rnnfast.progress import progress

CHUNK = 1 << 18  # patterns at once: what they need stays in the cache
SIGN = np.uint32(1 << 31)
TINY, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


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
        taken = ~(np.abs(x) < TINY) & ~(np.abs(x) > DOMAIN.get(self.function, np.inf)) | (x == 0)
        x, y = x[taken], y[taken]
        e = exact(self.function, x.astype(np.float64))
        size = np.abs(e)
        unit = (size.view(np.uint64) & np.uint64(0x7FF << 52)).view(np.float64) * 2.0**-23  # of e's binade
        errors = np.abs(y - e) / np.maximum(unit, TINY * 2.0**-23)
        errors[np.isinf(y) & (size > LARGEST * (1 - 2.0**-23)) & (y * e > 0)] = 0
        normal = size >= TINY
        number = ~np.isnan(e)
        self.add_wrong(x, number == np.isnan(y))
        self.add_wrong(x, number & ~normal & (np.abs(y) > TINY))
        errors[~normal] = 0
        self.add_wrong(x, ~(errors <= BOUNDS[self.function]))
        if errors.size and errors.max() > self.worst:
            at = errors.argmax()
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
            for function, findings in found.items():
                y, other = _testing.apply(function, isa, x), _testing.apply(function, isa, minus)
                findings.check(x, y)
                findings.check(minus, other)
                if function == "tanh":
                    findings.add_wrong(minus, (other != -y) & ~np.isnan(x))
            bar.update()
    for name, f in found.items():
        print(f"{args.isa} {name}: {patterns} floats, largest error {f.worst:.3f} ULP at {f.where!r}, {f.wrong} wrong", end="")
        print(f", the first {f.example!r}" if f.wrong else "")
    sys.exit(any(f.wrong for f in found.values()))


if __name__ == "__main__":
    main()
