"""Prints the polynomials of csrc/vmath.h and csrc/vmath_more.h, and the parts of ln 2 and pi that they split a number with.

exp: c(r) with expm1(r) = r + r*r*c(r) on |r| <= ln(2)/2. log: c(z), z = s*s, with 2 atanh(s) = 2s + s*z*c(z) on
|s| <= 3 - 2 sqrt(2), that is log of [sqrt(1/2), sqrt(2)]. sin: c(z), z = r*r, with sin(r) = r + r*z*c(z) on |r| <= pi/2.

Each interpolates at Chebyshev nodes (within a small factor of the minimax error), in exact rational arithmetic;
only the Python standard library is needed: ``python csrc/vmath_coefficients.py``.
"""

import math
import struct
from collections.abc import Callable
from fractions import Fraction

PI = Fraction(3141592653589793238462643383279502884197169399375105820974944592307816406286, 10**75)


def c_exp(r: Fraction) -> Fraction:
    """(expm1(r) - r) / r**2 = sum of r**n / (n+2)!, to far below double precision."""
    return sum((r**n / math.factorial(n + 2) for n in range(40)), Fraction(0))


def c_log(z: Fraction) -> Fraction:
    """(2 atanh(s) - 2s) / (s*z) = sum of 2 z**n / (2n+3)."""
    return sum((2 * z**n / (2 * n + 3) for n in range(40)), Fraction(0))


def c_sin(z: Fraction) -> Fraction:
    """(sin(r) - r) / (r*z) = sum of (-1)**(n+1) z**n / (2n+3)!"""
    return sum(((-1) ** (n + 1) * z**n / math.factorial(2 * n + 3) for n in range(30)), Fraction(0))


def interpolate(c_exact: Callable[[Fraction], Fraction], low: float, high: float, degree: int) -> list[Fraction]:
    """Coefficients, lowest first, of the polynomial through c_exact at degree+1 Chebyshev nodes."""
    n = degree + 1
    middle = Fraction(low + high) / 2
    half = Fraction(high - low) / 2 * Fraction(1001, 1000)  # a hair wider: rounding can leave an argument just outside
    nodes = [middle + half * Fraction(math.cos(math.pi * (2 * i + 1) / (2 * n))) for i in range(n)]
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


def rounded(x: Fraction, dtype: str) -> Fraction:
    return Fraction(float(x) if dtype == "float64" else struct.unpack("f", struct.pack("f", float(x)))[0])


def parts(x: Fraction, dtype: str, count: int) -> list[float]:
    """Numbers of dtype, each the rounded rest, whose sum is x to count times its precision."""
    result = []
    for _ in range(count):
        result.append(rounded(x, dtype))
        x -= result[-1]
    return [float(part) for part in result]


def main() -> None:
    half, z_log, z_sin = math.log(2) / 2, (3 - 2 * math.sqrt(2)) ** 2, (math.pi / 2) ** 2
    for dtype, degrees in (("float32", (4, 2, 4)), ("float64", (10, 6, 7))):
        print(f"{dtype}: 1/pi {float(1 / PI)!r}, parts of pi {parts(PI, dtype, 3)}")
        # the last: the function, or a multiple of it, from v and c(v)
        for name, c_exact, low, high, degree, whole in (
            ("exp", c_exp, -half, half, degrees[0], lambda v, c: v + v * v * c),
            ("log", c_log, 0.0, z_log, degrees[1], lambda z, c: 2 + z * c),
            ("sin", c_sin, 0.0, z_sin, degrees[2], lambda z, c: 1 + z * c),
        ):
            coefficients = interpolate(c_exact, low, high, degree)
            worst = 0.0
            for i in range(1001):
                v = Fraction(low) + (Fraction(high) - Fraction(low)) * Fraction(i, 1000)
                if v:
                    exact = whole(v, c_exact(v))
                    value = whole(v, sum(c * v**k for k, c in enumerate(coefficients)))
                    worst = max(worst, abs(float((value - exact) / exact)))
            print(f"{dtype} {name}: degree {degree}, largest relative error {worst:.2e}")
            for k, c in enumerate(coefficients):
                print(f"    C({k}, {float(c)!r})")


if __name__ == "__main__":
    main()
