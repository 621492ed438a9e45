"""What stands for arrays while a formula is traced: symbols, which note what is done with them instead of doing it."""

from __future__ import annotations

import numbers
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from rnnfast.formula.build import Builder
from rnnfast.formula.evaluate import needed
from rnnfast.formula.graph import FULL, NUMBER, ROW, VECTOR


def where_written(formula: Any) -> str:
    """File and line of the formula that is being traced, as "file:line: "."""
    code, frame = formula.__code__, sys._getframe(1)
    while frame is not None:
        if frame.f_code is code:
            return f"{code.co_filename}:{frame.f_lineno}: "
        frame = frame.f_back  # type: ignore[assignment]
    return f"{code.co_filename}:{code.co_firstlineno}: "


class Trace:
    """One run of a formula on symbols."""

    def __init__(self, formula: Callable[..., Any]) -> None:
        self.formula, self.builder = formula, Builder()
        self.products: dict[str, int] = {}  # gate -> node of the vector that its block of W_hh is multiplied with
        self.surrogates: dict[int, int] = {}  # of each step, the node of its derivative

    def error(self, text: str, kind: type[Exception] = TypeError) -> Exception:
        return kind(where_written(self.formula) + text)

    def symbol(self, node: int) -> Symbol:
        return Symbol(self, node)

    def node(self, value: Any, name: str = "") -> int:
        """Of a symbol of this trace, or of a number. name: begins the texts of errors."""
        if isinstance(value, Symbol):
            if value._trace is not self:
                raise self.error(
                    f"{name}expected values of this formula, got one of another run; keep none outside the formula"
                )
            return value._node
        if isinstance(value, Refusing):
            value()
        if isinstance(value, (numbers.Real, np.bool_)) or (isinstance(value, np.ndarray) and value.ndim == 0):
            return self.builder.number(float(value))
        if isinstance(value, np.ndarray):
            raise self.error(
                f"{name}expected values of the formula and numbers, got an array of shape {value.shape}; declare it among "
                "vectors (a parameter), inputs (given at every call) or draws (random numbers)"
            )
        raise self.error(f"{name}expected a value of the formula or a number, got {type(value).__name__}")

    def step(self, u: Symbol, surrogate: Callable[[Symbol], Any]) -> Symbol:
        if not callable(surrogate):
            raise self.error(f"ops.step: expected a callable u -> dy/du as surrogate, got {type(surrogate).__name__}")
        node = self.builder.apply("step", self.node(u))
        slope = self.node(surrogate(u), "ops.step: surrogate: ")
        if (axes := self.builder.nodes[node].axes) != axes | self.builder.nodes[slope].axes:
            text = "ops.step: surrogate: expected a function of u alone, got a value that varies with more than u does"
            raise self.error(text, ValueError)
        self.surrogates[node] = slope
        return self.symbol(node)

    def call(self, op: str, *values: Any) -> Symbol:
        nodes = [self.node(value) for value in values]
        masks = [self.builder.is_mask(node) for node in nodes]
        if op == "where" and not masks[0] and self.builder.number_of(nodes[0]) is None:
            raise self.error("where: expected a comparison as condition, got a value; compare it with a number, as in v > 0")
        if all(masks) and op in NOT_OF_BOOLS.split():  # NumPy would compute it in another way on arrays of bool
            raise self.error(f"{op}: expected a value that is no comparison; write np.where(mask, 1.0, 0.0) to count with it")
        return self.symbol(getattr(self.builder, op)(*nodes))

    def power(self, v: Any, exponent: Any) -> Symbol:
        if not isinstance(v, Symbol):
            raise self.error("n ** v: expected a number as exponent; write np.exp(v * np.log(n))")
        if not isinstance(exponent, numbers.Real):
            raise self.error("v ** n: expected a number n; write np.exp(n * np.log(v))")
        return self.symbol(self.builder.power(v._node, float(exponent)))

    def logic(self, op: str, *values: Any) -> Symbol:
        if not all(self.builder.is_mask(self.node(value)) for value in values):
            raise self.error("& | ~: expected comparisons, got other values; compare them with numbers first")
        return self.call(op, *values)


class Refusing(NDArrayOperatorsMixin):
    """What is no value by itself: operators and NumPy's functions on it are errors."""

    def __init__(self, trace: Trace, refusal: str) -> None:
        self._trace, self._refusal = trace, refusal

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise self._trace.error(self._refusal)

    __hash__ = object.__hash__
    __bool__ = __float__ = __iter__ = __getitem__ = __len__ = __array__ = __array_ufunc__ = __array_function__ = __call__


class Blocks(Refusing):
    """x or U of a formula; its gates are attributes. form: what one is written as. block: gate -> what x.gate or U.gate is."""

    def __init__(self, trace: Trace, name: str, gates: tuple[str, ...], form: str, block: Callable[[str], Any]) -> None:
        super().__init__(trace, f"{name}: expected a gate of it, such as {form}, got {name} alone")
        self._name, self._gates, self._block = name, gates, block

    def __getattr__(self, gate: str) -> Any:
        if gate.startswith("__"):
            raise AttributeError(gate)
        if gate not in self._gates:
            text = f"{self._name}.{gate}: expected one of the gates {' '.join(self._gates)}, got {gate}"
            raise self._trace.error(f"{text}; declare it among gates", AttributeError)
        return self._block(gate)


class Block(Refusing):
    """U.G: a block of W_hh, which waits for @."""

    def __init__(self, trace: Trace, gate: str) -> None:
        super().__init__(trace, f"U.{gate}: expected a product U.{gate} @ v, got U.{gate} without @")
        self._gate = gate

    def __matmul__(self, vector: Any) -> Symbol:
        trace, name = self._trace, f"U.{self._gate} @ v: "
        node = trace.node(vector, name)
        axes = trace.builder.nodes[node].axes
        if axes != FULL:
            raise trace.error(f"{name}expected v of shape (B, H), got {SHAPES[axes]}; {REMEDIES[axes]}")
        leaves = [leaf for leaf in needed(trace.builder, [node]) if trace.builder.nodes[leaf].axes == FULL]
        if not any(trace.builder.leaf(leaf)[0] in ("state", "input") for leaf in leaves):
            got = "got one of gates of x, vectors or draws alone; compute it before the layer, and pass it as x or an input"
            raise trace.error(f"{name}expected v that depends on a state or an input of shape (B, H), {got}", ValueError)
        if trace.products.setdefault(self._gate, node) != node:
            raise trace.error(f"{name}expected one v for each gate, got a second one; declare another gate for it", ValueError)
        return trace.symbol(trace.builder.add_node("product", (node,), self._gate, FULL))


SHAPES = {NUMBER: "a number", VECTOR: "a vector (H,)", ROW: "one number for each row (B, 1)", FULL: "(B, H)"}
REMEDIES = dict.fromkeys((NUMBER, VECTOR, ROW), "multiply a state by it first")
REMEDIES[ROW] += ", or give the input as (T, B, H)"
NOT_OF_BOOLS = "add sub neg abs sign floor sqrt exp expm1 log log1p sin cos tanh sigmoid softplus"
SAME_NAME = "add tanh exp expm1 log log1p sqrt minimum maximum sign floor sin cos"
OPERATIONS_OF: dict[Any, str] = {  # of NumPy's functions
    **{getattr(np, name): name for name in SAME_NAME.split()},
    np.subtract: "sub", np.multiply: "mul", np.true_divide: "div", np.negative: "neg", np.absolute: "abs", np.fabs: "abs",
    np.less: "lt", np.less_equal: "le",
}  # fmt: skip
UFUNCS: dict[Any, Callable[..., Any]] = {
    **{ufunc: partial(lambda op, t, *args: t.call(op, *args), op) for ufunc, op in OPERATIONS_OF.items()},
    np.square: lambda t, v: t.power(v, 2.0),
    np.power: lambda t, v, n: t.power(v, n),
    np.positive: lambda t, v: v,
    np.greater: lambda t, v, w: t.call("lt", w, v),
    np.greater_equal: lambda t, v, w: t.call("le", w, v),
    **dict.fromkeys((np.logical_and, np.bitwise_and), lambda t, v, w: t.logic("both", v, w)),
    **dict.fromkeys((np.logical_or, np.bitwise_or), lambda t, v, w: t.logic("either", v, w)),
    **dict.fromkeys((np.logical_not, np.invert), lambda t, v: t.logic("not_", v)),
}
REFUSED: dict[Any, str] = {
    np.matmul: "@: expected a block of U on its left, as in U.i @ h",
    **dict.fromkeys((np.floor_divide, np.remainder, np.divmod), "//, %: expected / and np.floor"),
    **dict.fromkeys(
        (np.equal, np.not_equal), "==, !=: expected <, <=, > or >=, since floating point numbers are hardly ever equal"
    ),
}


def _clip(trace: Trace, v: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Symbol:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    return trace.call("clip", v, -np.inf if low is None else low, np.inf if high is None else high)


FUNCTIONS: dict[Any, Callable[..., Symbol]] = {np.where: lambda t, mask, v, w: t.call("where", mask, v, w), np.clip: _clip}
FUNCTION_REMEDIES: dict[Any, str] = {
    np.mean: "ops.mean, which averages the units of each row (np.mean would average the batch too)",
    np.sum: "ops.mean, which averages the units of each row",
    np.dot: "U.gate @ v for products",
    np.zeros_like: "a number, which counts for every row and unit",
    np.ones_like: "a number, which counts for every row and unit",
}


class Symbol(NDArrayOperatorsMixin):
    """A value of a formula. Its operators are NumPy's functions."""

    __slots__ = ("_node", "_trace")

    def __init__(self, trace: Trace, node: int) -> None:
        self._trace, self._node = trace, node

    def __repr__(self) -> str:
        found = self._trace.builder.nodes[self._node]
        return f"<value {SHAPES[found.axes]} of a formula: {found.op}>"

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        trace, name = self._trace, f"np.{ufunc.__name__}"
        if ufunc in REFUSED:
            raise trace.error(REFUSED[ufunc])
        if "out" in kwargs:  # v += w and array += v come here, too
            text = "+=, -=, *=, /=, out=: expected v = v + w and the like, since these would change arrays in place"
            raise trace.error(text)
        if method != "__call__" or kwargs:
            raise trace.error(f"{name}: expected a plain call, got .{method} or keywords")
        if ufunc in UFUNCS:
            return UFUNCS[ufunc](trace, *args)
        names = ", ".join(sorted({f"np.{known.__name__}" for known in UFUNCS}))
        raise trace.error(f"{name}: expected one of {names}, np.where, np.clip or a function of rnnfast.ops")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        trace = self._trace
        if function not in FUNCTIONS:
            expected = FUNCTION_REMEDIES.get(function, "np.where, np.clip, an elementwise function or one of rnnfast.ops")
            raise trace.error(f"np.{function.__name__}: expected {expected}")
        try:
            return FUNCTIONS[function](trace, *args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # the call itself
                raise trace.error(f"np.{function.__name__}: expected plain arguments: {error}") from None
            raise

    # ---- what does not work ------------------------------------------------------------------------------------------------
    def __bool__(self) -> bool:
        raise self._trace.error(
            "expected no decision on a value, got if, and, or, not, min, max or a chained comparison; use np.where, "
            "np.minimum, np.maximum, & or |"
        )

    def __float__(self, *_: Any) -> float:
        raise self._trace.error("expected NumPy's functions, got a number's, such as math.tanh; use np.tanh, np.exp, ...")

    __int__ = __index__ = __complex__ = __round__ = __float__

    def __iter__(self, *_: Any) -> Any:
        raise self._trace.error("expected no loop over a value, and no part of it; write the formula for whole arrays")

    __getitem__ = __setitem__ = __len__ = __iter__

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise self._trace.error("expected functions of values, got a conversion to an array")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        text = f".{name}: expected functions such as np.clip(v, 0, 1), got an attribute of arrays"
        raise self._trace.error(text, AttributeError)
