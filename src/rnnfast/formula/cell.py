"""The declaration of a cell: a formula, and what the names in it stand for. `tracing.py` runs the formula."""

from __future__ import annotations

import inspect
import keyword
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np

Option: TypeAlias = "bool | int | float | str | None"
Formula: TypeAlias = Callable[..., Any]

PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
TAKEN = {  # names that states, vectors, inputs, draws and options may not have
    "an argument of every layer's constructor": "input_size hidden_size num_layers bias batch_first dropout bidirectional "
    "dtype rng",
    "an attribute of layers": "params num_params flat load_params record freeze step trajectories plan save load cell formula "
    "declaration options",
    "a parameter of every layer": " ".join(PARAMETERS),
    "a parameter of formulas with a meaning of its own": "x U training",
}
MASKS = ("dropout", "bernoulli")  # draws that have a probability
FREQUENCIES = ("sequence", "step")


class Draw(NamedTuple):
    """Random numbers of a formula. kind: "dropout", "bernoulli" or "normal". every: "sequence" (B, H) or "step" (T, B, H).
    option: the one that is the probability of the first two kinds, else None."""

    kind: str
    every: str
    option: str | None = None


@dataclass(frozen=True, eq=False)
class Declaration:
    """A cell: its formula and what the names in it stand for, as `declare` documents them. Made by `declare` alone.

    gates, states: names, or a callable of the options that returns them; `gates_of` and `states_of` give those of a
    combination of options. options: name -> default. output: name of what the formula returns before the states, or None if y
    is the first state. takes_training: the formula has a keyword-only parameter `training`.
    """

    name: str
    doc: str | None
    formula: Formula
    gates: tuple[str, ...] | Callable[..., Any]
    states: Mapping[str, float] | Callable[..., Any]
    vectors: tuple[str, ...]
    inputs: tuple[str, ...]
    draws: Mapping[str, Draw]
    options: Mapping[str, Option]
    init: Mapping[str, float | Callable[..., Any]]
    output: str | None
    takes_training: bool

    @property
    def where(self) -> str:
        """File and line of the formula, as the beginning of an error's text."""
        code = self.formula.__code__
        return f"{code.co_filename}:{code.co_firstlineno}: {self.name}: "

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the formula's parameters without x, U, options and `training`."""
        known = {"x", "U", "training", *self.options}
        return tuple(name for name in inspect.signature(self.formula).parameters if name not in known)

    def with_defaults(self, options: Mapping[str, Any]) -> dict[str, Option]:
        """All options, in declared order, each of the kind of its default (any kind where that is None)."""
        for name in options:
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise TypeError(f"{name}: expected an option of {self.name}, which are {known}, got {name}")
        given = {name: options.get(name, default) for name, default in self.options.items()}
        chosen = {name: option_value(name, value, self.options[name]) for name, value in given.items()}
        for name, draw in self.draws.items():
            if draw.option is not None and not 0 <= (p := float(chosen[draw.option])) <= 1:  # type: ignore[arg-type]
                raise ValueError(f"{draw.option}: expected a probability between 0 and 1, that of {name}, got {p}")
        return chosen

    def gates_of(self, options: Mapping[str, Option]) -> tuple[str, ...]:
        """Names of the gates with these options, which are complete."""
        if not callable(self.gates):
            return self.gates
        found = names_of("gates", by_name(self.gates, options), self.where)
        check_blocks(self.init, self.vectors, found, self.where)
        return found

    def states_of(self, options: Mapping[str, Option]) -> dict[str, float]:
        """Name -> initial value of each state with these options, which are complete."""
        if not callable(self.states):
            return dict(self.states)
        found = states_from(by_name(self.states, options), self.where)
        others = (*self.vectors, *self.inputs, *self.draws, *self.options)
        check_distinct((*found, *others, *([self.output] if self.output else [])), self.where)
        for name in (*found, *self.parameters):
            parameter = inspect.signature(self.formula).parameters.get(name)
            if parameter is None:
                raise lacking("states", name, self.where)
            if name not in found and name not in others and parameter.default is not None:
                text = f"parameter {name}: expected None as its default, since it is no state with these options, got "
                got = "none" if parameter.default is parameter.empty else repr(parameter.default)
                raise TypeError(self.where + text + got)
        return found


def declare(
    function: Formula,
    *,
    gates: str | Sequence[str] | Callable[..., Any],
    states: str | Sequence[str] | Mapping[str, float] | Callable[..., Any],
    vectors: str | Sequence[str] = (),
    inputs: str | Sequence[str] = (),
    draws: Mapping[str, Sequence[str]] | None = None,
    init: Mapping[str, Any] | None = None,
    output: str | None = None,
) -> Declaration:
    """The declaration of a formula, checked. `rnnfast.cell` tells what its arguments are.

    Raises TypeError and ValueError, with file and line of the formula.
    """
    if not inspect.isfunction(function):
        raise TypeError(f"cell: expected a function as formula, got {type(function).__name__}; define it with def")
    where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}: {function.__name__}: "
    options, takes_training = parameters_of(function, where)
    declaration = Declaration(
        name=function.__name__,
        doc=function.__doc__,
        formula=function,
        gates=gates if callable(gates) else names_of("gates", gates, where),
        states=states if callable(states) else states_from(states, where),
        vectors=names_of("vectors", vectors, where),
        inputs=names_of("inputs", inputs, where),
        draws=draws_from({} if draws is None else draws, options, where),
        options=options,
        init=init_from({} if init is None else init, where),
        output=output,
        takes_training=takes_training,
    )
    if output is not None:
        names_of("output", (output,), where)
    if not callable(declaration.gates):
        if not declaration.gates:
            raise ValueError(where + "gates: expected at least one name, got none")
        check_blocks(declaration.init, declaration.vectors, declaration.gates, where)
    check_names(declaration)
    return declaration


# ---- the function ---------------------------------------------------------------------------------------------------------
def parameters_of(function: Formula, where: str) -> tuple[dict[str, Option], bool]:
    """Options with their defaults, and whether there is a parameter `training`."""
    parameters = inspect.signature(function).parameters.values()
    names, options, training = [p.name for p in parameters], {}, False
    if names[:2] != ["x", "U"]:
        raise TypeError(f"{where}expected x and U as the first two parameters, got ({', '.join(names)})")
    for p in parameters:
        if p.kind is p.POSITIONAL_ONLY or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            what = {p.POSITIONAL_ONLY: "positional-only ", p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}[p.kind]
            raise TypeError(f"{where}expected parameters that bind by name, got {what}{p.name}; name each of them")
        if p.kind is not p.KEYWORD_ONLY:
            continue
        if p.name == "training":
            if p.default is not p.empty:
                raise TypeError(f"{where}training: expected no default, got {p.default!r}; it is True in record alone")
            training = True
        elif p.default is not p.empty:
            options[p.name] = option_value(p.name, p.default, None, where)
    return options, training


def option_value(name: str, value: Any, default: Option, where: str = "") -> Option:
    """value as bool, int, float, str or None, of the kind of the default; an int is accepted for a float."""
    if isinstance(value, (bool, np.bool_)):
        found: Option = bool(value)
    elif isinstance(value, numbers.Integral):
        found = float(value) if isinstance(default, float) else int(value)
    elif isinstance(value, numbers.Real):
        found = float(value)
    elif isinstance(value, str) or value is None:
        found = value
    else:
        expected = "a bool, int, float, str or None" if default is None else f"a {type(default).__name__}"
        raise TypeError(f"{where}{name}: expected {expected} as option, got {type(value).__name__}")
    if default is not None and type(found) is not type(default):
        raise TypeError(f"{where}{name}: expected a {type(default).__name__} like its default {default!r}, got {value!r}")
    return found


def by_name(function: Callable[..., Any], options: Mapping[str, Option]) -> Any:
    """What it returns for the options that its parameters name."""
    parameters = inspect.signature(function).parameters.values()
    every = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return function(**{name: value for name, value in options.items() if every or name in {p.name for p in parameters}})


# ---- the declared names ---------------------------------------------------------------------------------------------------
def names_of(kind: str, value: Any, where: str) -> tuple[str, ...]:
    """Names in one string, or a sequence of them, each once."""
    if not isinstance(value, (str, Sequence)):
        raise TypeError(f"{where}{kind}: expected names in a string or a sequence, got {type(value).__name__}")
    names = tuple(value.replace(",", " ").split()) if isinstance(value, str) else tuple(value)
    for name in names:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            raise ValueError(f"{where}{kind}: expected names that Python allows, without _ in front, got {name!r}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{where}{kind}: expected names that differ, got {twice[0]} twice")
    return names


def states_from(value: Any, where: str) -> dict[str, float]:
    """Name -> initial value."""
    initial = dict(value) if isinstance(value, Mapping) else dict.fromkeys(names_of("states", value, where), 0.0)
    names_of("states", tuple(initial), where)
    for name, number in initial.items():
        if isinstance(number, bool) or not isinstance(number, numbers.Real) or math.isnan(number):
            raise TypeError(f"{where}states[{name!r}]: expected a number as initial value, got {number!r}")
        initial[name] = float(number)
    if not initial:
        raise ValueError(where + "states: expected at least one name, got none")
    return initial


def draws_from(value: Any, options: Mapping[str, Option], where: str) -> dict[str, Draw]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{where}draws: expected a mapping of names to (kind, frequency[, option]), got {type(value).__name__}")
    draws = {name: draw_from(name, given, options, where) for name, given in value.items()}
    names_of("draws", tuple(draws), where)
    return draws


def draw_from(name: str, given: Any, options: Mapping[str, Option], where: str) -> Draw:
    known = not isinstance(given, str) and isinstance(given, Sequence) and len(given) in (2, 3)
    kind, every, *option = given if known else (None, None)
    if kind not in (*MASKS, "normal") or every not in FREQUENCIES or len(option) != (kind in MASKS):
        form = '("dropout" or "bernoulli", "sequence" or "step", option) or ("normal", "sequence" or "step")'
        raise ValueError(f"{where}draws[{name!r}]: expected {form}, got {given!r}")
    if option and not isinstance(options.get(option[0]), float):
        raise ValueError(f"{where}draws[{name!r}]: expected an option whose default is a float, got {option[0]!r}")
    return Draw(kind, every, *option)


def init_from(value: Any, where: str) -> dict[str, float | Callable[..., Any]]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{where}init: expected a mapping of names of parameters to values, got {type(value).__name__}")
    for name, given in value.items():
        if not callable(given) and (isinstance(given, bool) or not isinstance(given, numbers.Real)):
            raise TypeError(f"{where}init[{name!r}]: expected a number or a callable of (rng, shape), got {given!r}")
    return dict(value)


def check_blocks(init: Iterable[str], vectors: tuple[str, ...], gates: tuple[str, ...], where: str) -> None:
    """The keys of init are parameters, or parameters and a gate."""
    for name in init:
        parameter, _, gate = str(name).partition(".")
        if name not in vectors and (parameter not in PARAMETERS or (gate not in gates if "." in name else False)):
            known = ", ".join((*vectors, *PARAMETERS))
            raise ValueError(
                f"{where}init: expected {known}, or the block of a gate such as {PARAMETERS[2]}.{gates[0]}, got {name!r}"
            )


def lacking(kind: str, name: str, where: str) -> TypeError:
    return TypeError(f"{where}{kind}: expected parameters of the formula, got {name}, which it lacks; add it after x and U")


def check_distinct(names: Sequence[str], where: str) -> None:
    """Names of one cell, none of which is taken."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"{where}expected names of states, vectors, inputs, draws, options and output that differ, got {name} twice"
            )
        for what, names_ in TAKEN.items():
            if name in names_.split():
                raise ValueError(f"{where}{name}: expected another name, got one that is {what}")


def check_names(d: Declaration) -> None:
    """Declared names and parameters are the same, and all differ."""
    parameters = inspect.signature(d.formula).parameters
    states = () if callable(d.states) else tuple(d.states)
    declared = {"states": states, "vectors": d.vectors, "inputs": d.inputs, "draws": tuple(d.draws)}
    all_names = [name for names in declared.values() for name in names]
    check_distinct([*all_names, *d.options, *([d.output] if d.output else [])], d.where)
    for kind, names in declared.items():
        for name in names:
            if name not in parameters:
                raise lacking(kind, name, d.where)
    if d.output in parameters:
        refuse_parameter(d, str(d.output), "it is the output, which the formula returns before the states")
    for name in d.parameters:
        if name not in all_names and not (callable(d.states) and parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY):
            remedy = "declare it among states, vectors, inputs or draws, or make it keyword-only with a default, an option"
            refuse_parameter(d, name, remedy)


def refuse_parameter(d: Declaration, name: str, remedy: str) -> NoReturn:
    raise TypeError(f"{d.where}parameter {name}: expected a declared name or an option, got {name}; {remedy}")
