"""`rnnfast.check_cell`: is a formula's layer right, here and now? Kernels against the formula, gradients against its slopes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from rnnfast import reference, runtime
from rnnfast._engine import checks
from rnnfast._types import Array
from rnnfast.declared import FormulaLayer
from rnnfast.formula import ops
from rnnfast.formula.operations import OPERATIONS

__all__ = ["CellReport", "check_cell"]

EPSILON = 1e-5  # length of a perturbation; the error of a central difference is about its square
KERNELS = 1e-11  # bounds of relative errors: of values, and of gradients
GRADIENTS = 1e-6
DIRECTIONS = 2  # random ones of each array
SMALL = 8  # arrays of at most so many elements are checked element by element as well


# ---- the formula near a point -----------------------------------------------------------------------------------------------
def _difference(u: Array, v: Array) -> Any:
    return np.sign(u - v)


SIDES: dict[str, Callable[..., Array]] = {  # where a function that has a kink is; by the names of ufuncs and of operations
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal", "maximum", "minimum"), _difference),
    **dict.fromkeys(("absolute", "sign", "relu"), np.sign),
    "floor": np.floor,
    "clip": lambda u, low, high: _difference(u, low) + 3 * _difference(u, high),
}


class Watch:
    """One run of a formula on arrays. Near a base run, stop_gradient has the value it had there, step is a line through its
    value there with the slope of its surrogate, and `kinks` names the functions that were on another side of a kink there."""

    def __init__(self, base: Watch | None = None) -> None:
        self.base, self.on = base, False
        self.seen: list[Any] = []
        self.kinks: set[str] = set()

    def _before(self, value: Any) -> Any:
        """What this was in the base run."""
        self.seen.append(value)
        return None if self.base is None else self.base.seen[len(self.seen) - 1]

    def side(self, name: str, values: list[Array]) -> None:
        if self.on and name in SIDES:
            now = SIDES[name](*values)
            before = self._before(now)
            if before is not None and not np.array_equal(before, now, equal_nan=True):
                self.kinks.add(name)

    def apply(self, op: str, *values: Any) -> Any:
        """An operation of `ops`."""
        plain = [np.asarray(value) for value in values]
        self.side(op, plain)
        found = OPERATIONS[op].compute(*plain)
        if self.on and op == "stop_gradient":
            before = self._before(found)
            found = found if before is None else before
        return watched(found)

    def step(self, u: Any, surrogate: Callable[[Any], Any]) -> Any:
        now = np.asarray(u)
        with ops.watched_by(None):
            seen = now, np.where(now > 0, 1.0, 0.0), np.asarray(surrogate(now))
        before = self._before(seen) if self.on else None
        u0, value, slope = before or seen
        return watched(value + slope * (now - u0)) if before else watched(value)


class Watched(np.ndarray):
    """An array whose functions the watch sees."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [np.asarray(value) for value in inputs]
        if "out" in kwargs:  # np.mean's own
            kwargs["out"] = tuple(np.asarray(a) for a in kwargs["out"])
        watch = ops.WATCH.get()
        if watch is not None:
            watch.side(ufunc.__name__, plain)
        return watched(getattr(ufunc, method)(*plain, **kwargs))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return watched(super().__array_function__(function, types, args, kwargs))


def watched(value: Any) -> Watched:
    return np.asarray(value).view(Watched)


class Blocks:
    """x or U of a formula, whose results are watched."""

    def __init__(self, of: Any) -> None:
        self._of = of

    def __getattr__(self, gate: str) -> Any:
        found = getattr(self._of, gate)
        return watched(found) if isinstance(found, np.ndarray) else Product(found)


class Product:
    def __init__(self, of: Any) -> None:
        self._of = of

    def __matmul__(self, v: Any) -> Watched:
        return watched(self._of @ np.asarray(v))


@dataclass
class Case:
    """Arguments of one call: arrays has x, "state h", "input dt" and the parameters by name."""

    net: Any
    arrays: dict[str, Array]
    state: Any  # as the layer gets it
    inputs: dict[str, Array]
    lengths: Any
    draws: dict[str, Array]
    steps: int

    def formula(self, arrays: Mapping[str, Array], watch: Watch | None, *, training: bool) -> dict[str, Array]:
        """y and final states of these arrays, by name."""
        net, calls = self.net, 0

        def run(x: Any, U: Any, **values: Any) -> Any:
            nonlocal calls
            assert watch is not None
            watch.on = calls % (self.steps + 1) > 0  # the reference first asks each direction for its gates
            calls += 1
            values = {name: watched(v) if isinstance(v, np.ndarray) else v for name, v in values.items()}
            found = net.formula(Blocks(x), Blocks(U), **values)
            parts = found if isinstance(found, (tuple, list)) else (found,)
            return tuple(np.asarray(part) for part in parts)

        names = ("declaration", "options", "hidden_size", "num_layers", "bidirectional", "batch_first")
        near = SimpleNamespace(**{name: getattr(net, name) for name in names}, formula=run if watch else net.formula)
        near.params = {name: arrays[name] for name in net.params}
        states = tuple(arrays[f"state {name}"] for name in net._form.variant.states)
        inputs = {name: arrays[f"input {name}"] for name in self.inputs}
        with ops.watched_by(watch):
            y, final = reference.run(
                near,
                arrays["x"],
                states if len(states) > 1 else states[0],
                lengths=self.lengths,
                inputs=inputs,
                draws=self.draws if training else None,
                training=training,
            )
        return self._named(y, final)

    def _named(self, y: Array, final: Any) -> dict[str, Array]:
        finals = final if isinstance(final, tuple) else (final,)
        return {"y": y, **{f"final {k}": a for k, a in zip(self.net._form.variant.states, finals, strict=True)}}

    def call(self) -> dict[str, Array]:
        """The same, of the kernels, in inference."""
        return self._named(*self.net(self.arrays["x"], self.state, lengths=self.lengths, inputs=self.inputs or None))

    def record(self, d: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """The same in training, and the gradients by the name of the array."""
        y, final, tape = self.net.record(
            self.arrays["x"], self.state, lengths=self.lengths, inputs=self.inputs or None, draws=self.draws or None, rng=0
        )
        names = self.net._form.variant.states
        parts = tuple(d[f"final {name}"] for name in names)
        g = tape.backward(d["y"], parts if len(parts) > 1 else parts[0])
        states = g.state if isinstance(g.state, tuple) else (g.state,)
        found = {"x": g.x, **{f"state {name}": a for name, a in zip(names, states, strict=True)}}
        return self._named(y, final), found | {f"input {k}": a for k, a in (g.inputs or {}).items()} | dict(g.params)


# ---- data --------------------------------------------------------------------------------------------------------------------
def _cases(cls: type[FormulaLayer], x: Any, state: Any, inputs: Any, lengths: Any, options: dict[str, Any]) -> Iterator[Case]:
    """One, or if the state or the inputs are left to us two: initial states of the cell and others, inputs of each form."""
    rng, ours = np.random.default_rng(1), x is None
    for name in ("input_size", "dtype", "rng", "dropout"):
        if name in options:
            raise checks.wrong_value(
                name, "none: check_cell makes layers of x's width, in float64, without dropout", options[name]
            )
    hidden = options.pop("hidden_size", None) or _hidden(state, inputs)
    options = {"bidirectional": True, **options}
    x = rng.standard_normal((5, 4, 3)) if ours else np.asarray(x, np.float64)
    net: Any = cls(x.shape[-1], hidden, dtype=np.float64, rng=0, **options)
    if ours and net.batch_first:
        x = x.swapaxes(0, 1)
    if ours and lengths is None:
        lengths = [5, 0, 3, 5]
    variant, form = net._form.variant, net._form
    T, B, _ = form.inner(x, x.ndim == 2).shape
    draws = {}
    for name, draw in variant.draws.items():
        value = draw.draw(rng, draw.shape(form.places, T, B, hidden), net.dtype)
        draws[name] = value.reshape(form.draw_shape(draw, T, B, x.ndim == 2))
    shape, _ = form.state_shape(B, x.ndim == 2)
    full = (*x.shape[:-1], hidden)
    for number in range(2):
        case_inputs = {k: np.asarray(v, np.float64) for k, v in (inputs or {}).items()}
        if inputs is None:
            case_inputs = {k: rng.uniform(0.1, 1, full if number == 0 else full[:-1]) for k in variant.inputs}
        given = state
        if state is None and number:
            drawn = tuple(rng.uniform(0.1, 1, shape) for _ in variant.states)
            given = drawn if len(drawn) > 1 else drawn[0]
        form.check(x, given, lengths, case_inputs or None)  # the reference trusts its arguments
        parts = given if isinstance(given, (tuple, list)) else (given,) * len(variant.states)
        starts = zip(variant.states, parts, variant.initial, strict=True)
        arrays = {"x": x, **{f"state {k}": np.full(shape, v) if a is None else np.asarray(a, np.float64) for k, a, v in starts}}
        arrays |= {f"input {k}": a for k, a in case_inputs.items()} | {k: a.copy() for k, a in net.params.items()}
        yield Case(net, arrays, given, case_inputs, lengths, draws, T)
        if state is not None and (inputs is not None or not variant.inputs):
            return


def _hidden(state: Any, inputs: Any) -> int:
    parts = state if isinstance(state, tuple) else (state,)
    sizes = [np.shape(a)[-1] for a in parts if a is not None]
    return int(sizes[0]) if sizes else 9


# ---- comparisons -------------------------------------------------------------------------------------------------------------
@dataclass
class CellReport:
    """What `check_cell` found: print it.

    errors: the largest relative error of each quantity, over all ISAs; isas: names; skipped: what was not compared, and why.
    """

    name: str
    isas: tuple[str, ...]
    errors: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        width = max(map(len, self.errors), default=0)
        lines = [f"{self.name}: kernels of {', '.join(self.isas)} against the formula, float64, relative errors"]
        lines += [f"  {name:{width}}  {value:.1e}" for name, value in self.errors.items()]
        return "\n".join(lines + [f"  skipped: {one}" for one in self.skipped])

    def _worst(self, name: str, error: float) -> None:
        self.errors[name] = max(error, self.errors.get(name, 0.0))


class Checker:
    """One case. found: the gradients of the kernels by ISA."""

    def __init__(self, case: Case, report: CellReport) -> None:
        self.case, self.report = case, report
        self.base = Watch()
        self.expected = case.formula(case.arrays, self.base, training=True)
        rng = np.random.default_rng(2)
        # a value that is not finite (a state may begin with -inf) would hide all others in a sum
        self.d = {k: np.where(np.isfinite(a), rng.standard_normal(a.shape), 0.0) for k, a in self.expected.items()}
        self.size = max(1.0, abs(self.loss(self.expected)))
        self.rng = rng

    def loss(self, results: Mapping[str, Array]) -> float:
        return float(sum(np.sum(np.where(self.d[k] != 0, a, 0.0) * self.d[k]) for k, a in results.items()))

    def values(self, kind: str, isa: str, found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
        for name, a in expected.items():
            got = found[name]
            scale = max(np.abs(a[np.isfinite(a)]).max(initial=0), 1e-3)
            with np.errstate(invalid="ignore"):
                error = np.where((got == a) | (np.isnan(got) & np.isnan(a)), 0.0, np.abs(got - a) / scale)
            error = np.where(np.isnan(error), np.inf, error)
            self.report._worst(f"{name} ({kind})", float(error.max(initial=0)))
            if not error.max(initial=0) <= KERNELS:
                self._fail(f"{name} ({kind}, {isa})", np.unravel_index(error.argmax(), a.shape), a, got)

    def _fail(self, what: str, at: Any, expected: Array, got: Array) -> None:
        place, right, wrong = ", ".join(str(int(k)) for k in at), float(expected[tuple(at)]), float(got[tuple(at)])
        raise AssertionError(
            f"{self.report.name}: {what}[{place}]: expected {right} (of the formula), got {wrong} (of the kernels)"
        )

    def slope(self, name: str, direction: Array) -> float | None:
        """Of the loss; None at a kink, which is listed."""
        ends = []
        for sign in (1, -1):
            watch = Watch(self.base)
            a = self.case.arrays[name]
            near = {**self.case.arrays, name: np.where(direction != 0, a + sign * EPSILON * direction, a)}
            ends.append(self.loss(self.case.formula(near, watch, training=True)))
            if watch.kinks:
                self.report.skipped.append(
                    f"gradient of {name} in a direction across a kink of {', '.join(sorted(watch.kinks))}"
                )
                return None
        return (ends[0] - ends[1]) / (2 * EPSILON)

    def gradients(self, found: Mapping[str, Mapping[str, Array]]) -> None:
        """By ISA and array."""
        for name, a in self.case.arrays.items():
            if not a.size:
                continue
            random = (self.rng.standard_normal(a.shape) for _ in range(DIRECTIONS))
            right = [self.compare(name, v / np.sqrt(np.sum(v * v)), found) for v in random]
            if a.size <= SMALL or not all(right):
                for at in np.ndindex(a.shape):
                    one = np.zeros(a.shape)
                    one[at] = 1
                    if not self.compare(name, one, found):
                        isa, numeric = self.failed
                        expected = np.full(a.shape, numeric)
                        self._fail(f"gradient of {name} ({isa})", at, expected, found[isa][name])
            if not all(right):
                isa, numeric = self.failed
                raise AssertionError(
                    f"{self.report.name}: gradient of {name} ({isa}): expected a slope of {numeric} in a random direction, got "
                    "another one, although each element by itself is right"
                )

    def compare(self, name: str, direction: Array, found: Mapping[str, Mapping[str, Array]]) -> bool:
        numeric = self.slope(name, direction)
        if numeric is None:
            return True
        for isa, gradients in found.items():
            parts = np.where(direction != 0, gradients[name] * direction, 0.0)
            scale = max(abs(numeric), float(np.sqrt(np.sum(parts * parts))), 1e-3 * self.size)
            error = abs(float(parts.sum()) - numeric) / scale
            if not error <= GRADIENTS:
                self.failed = isa, numeric
                return False
            self.report._worst(f"gradient of {name}", error)
        return True


def check_cell(
    cls: type[FormulaLayer], *, x: Any = None, state: Any = None, inputs: Any = None, lengths: Any = None, **options: Any
) -> CellReport:
    """Prove a cell right on this machine, in float64, with every instruction set (ISA) that this CPU has.

    Values: what a call and `record` give, with all draws, against the formula run on arrays (`rnnfast.reference.run`), to
    1e-11 of the largest value. Gradients, of sum(dy*y) + sum(dstate*state) with random dy and dstate: against central
    differences of the formula, in random directions of each array, and element by element where it has at most 8 of them, to
    1e-6. For these differences `ops.stop_gradient` keeps the value that it has without them, and ``ops.step(u, surrogate)`` is
    a straight line with the slope of the surrogate. Differences across a kink (of a comparison, abs, relu, maximum, clip, floor
    and the like) say nothing; they are skipped, and the report lists them.

    Parameters
    ----------
    cls : class made by `rnnfast.cell`
    x : (T, B, I), with batch_first (B, T, I), or (T, I) array_like, optional
        Small, since the formula runs many times. Random if not given, as everything else that is left out, always the same.
    state : array_like or tuple of them, optional
        As in a call. If not given, both the cell's initial states and random ones between 0.1 and 1 are checked.
    inputs : mapping of str to array_like, optional
        As in a call. If not given, random ones between 0.1 and 1 of one number a unit, and of one number a row.
    lengths : (B,) array_like of int, optional
    **options
        Of the formula, and arguments of the constructor: hidden_size (9 if not given and the state does not tell),
        bidirectional (True if not given), num_layers, bias, batch_first.

    Returns
    -------
    CellReport
        Printable: the error of each quantity, and what was skipped.

    Raises
    ------
    AssertionError
        If the kernels and the formula differ; the text has the worst element, what was expected there and what came.
    TypeError, ValueError
        For arguments that a layer of the class would not take.

    Examples
    --------
    >>> report = rnnfast.check_cell(rnnfast.zoo.MGU)
    >>> report.name, report.skipped
    ('MGU', [])
    """
    if not (isinstance(cls, type) and issubclass(cls, FormulaLayer) and hasattr(cls, "formula")):
        raise checks.wrong_type("cls", "a class made by rnnfast.cell, with its formula at hand", cls)
    report = CellReport(cls.__name__, runtime.PRESENT)
    for case in _cases(cls, x, state, inputs, lengths, dict(options)):
        checker, found = Checker(case, report), {}
        inference = case.formula(case.arrays, None, training=False)
        for isa in report.isas:
            with runtime.use_isa(isa):
                checker.values("call", isa, case.call(), inference)
                values, found[isa] = case.record(checker.d)
                checker.values("record", isa, values, checker.expected)
        checker.gradients(found)
    report.skipped = [f"{text}, {report.skipped.count(text)} times" for text in dict.fromkeys(report.skipped)]
    return report
