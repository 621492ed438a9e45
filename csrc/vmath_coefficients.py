"""Prints the polynomial of csrc/vmath.h: c(r) with expm1(r) = r + r*r*c(r) on |r| <= ln(2)/2.

c interpolates at Chebyshev nodes (within a small factor of the minimax error), in exact rational arithmetic;
only the Python standard library is needed: ``python csrc/vmath_coefficients.py``.
"""

import math
from fractions import Fraction


def c_exact(r: Fraction) -> Fraction:
    """(expm1(r) - r) / r**2 = sum of r**n / (n+2)!, to far below double precision."""
    total, power = Fraction(0), Fraction(1)
    for n in range(40):
        total += power / math.factorial(n + 2)
        power *= r
    return total


def interpolate(degree: int) -> list[Fraction]:
    """Coefficients, lowest first, of the polynomial through c at degree+1 Chebyshev nodes."""
    n = degree + 1
    half = Fraction(math.log(2)) / 2 * Fraction(1001, 1000)  # a hair wider: rounding can leave r just outside
    nodes = [half * Fraction(math.cos(math.pi * (2 * i + 1) / (2 * n))) for i in range(n)]
    table = [c_exact(x) for x in nodes]  # divided differences, then Newton form to powers
    for level in range(1, n):
        for i in range(n - 1, level - 1, -1):
            table[i] = (table[i] - table[i - 1]) / (nodes[i] - nodes[i - level])
    coefficients = [Fraction(0)] * n
    for i in range(n - 1, -1, -1):
        shifted = [Fraction(0), *coefficients[:-1]]
        coefficients = [s - nodes[i] * c for s, c in zip(shifted, coefficients, strict=True)]
        coefficients[0] += table[i]
    return coefficients


def main() -> None:
    for name, degree in (("float32", 4), ("float64", 10)):
        coefficients = interpolate(degree)
        worst = 0.0
        for i in range(-1000, 1001):
            r = Fraction(i, 1000) * Fraction(math.log(2)) / 2
            if r:
                value = sum(c * r**k for k, c in enumerate(coefficients))
                exact = r + r * r * c_exact(r)
                worst = max(worst, abs(float((r + r * r * value - exact) / exact)))
        print(f"{name}: degree {degree}, largest relative error of expm1 {worst:.2e}")
        for k, c in enumerate(coefficients):
            print(f"    C({k}, {float(c)!r})")


if __name__ == "__main__":
    main()
