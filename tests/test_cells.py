"""Cells as data: what the loops take for granted of a cell's numbers is checked when the cell is registered."""

import copy
import re

import pytest

from rnnfast._engine import checks
from rnnfast._kernels import _core, _testing
from rnnfast.cells import CELLS, Cell

KERNELS = [variant.kernel for cell in CELLS.values() for variant in cell.variants]


def changed(kernel, path, value):
    """The numbers of a cell with one of them changed: path is its keys."""
    numbers = copy.deepcopy(_testing.numbers(kernel))
    part = numbers
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return numbers


@pytest.mark.parametrize("kernel", KERNELS)
def test_compiled_cells_are_fit_for_the_loops(kernel):
    assert _testing.problem(_testing.numbers(kernel)) == ""


@pytest.mark.parametrize(
    ("kernel", "path", "value", "text"),
    [
        ("lstm", ["gates"], 0, "gates, slots: expected 1 <= gates <= slots"),
        ("lstm", ["slots"], 3, "gates, slots: expected 1 <= gates <= slots < 64, got 4 and 3"),
        ("lstm", ["slots"], 64, "gates, slots: expected"),
        ("lstm", ["split_bias"], 4, "split_bias: expected -1 or a gate, got 4"),
        ("lstm", ["saves_slots"], 0, "has_c: expected saved slots beside c"),
        ("gru", ["reads_h"], 1, "reads_h, reads_h_prev: expected one of them at most, got both"),
        ("lstm", ["forward", 0, "gates"], 5, r"forward\[0\]: expected 1 to 4 of the 4 gates, got gates 5 from gate 0"),
        ("lstm", ["forward", 0, "gates"], 3, "phases: expected every gate in a phase"),
        (
            "lstm",
            ["forward", 0, "source"],
            1,
            r"forward\[0\]: expected h or, after the first phase, a slot as source, got 1",
        ),
        ("lstm", ["forward", 0, "source"], -1, r"forward\[0\]: expected h or, after"),
        ("gru_before", ["forward", 1, "source"], 4, r"forward\[1\]: expected h or, after"),
        ("gru_before", ["forward", 1, "gate"], 1, "phases: expected each gate in one phase, got one of phase 1 twice"),
        ("lstm", ["backward", 0, "slot"], 1, r"backward\[0\]: expected some of the 4 gates and 4 slots"),
        ("lstm", ["backward", 0, "same_step"], 1, r"backward\[0\]: expected the first phase, and no other, to go across steps"),
        ("gru_before", ["backward", 1, "same_step"], 0, r"backward\[1\]: expected the first phase, and no other"),
        ("gru", ["backward", 0, "slot"], 0, r"product\[2\]: expected gate 0 in slot 0, as in its backward phase, got slot 1"),
        ("lstm", ["product", 0, "slot"], 1, r"product\[0\]: expected some of the 4 gates and 4 slots"),
        ("lstm", ["product", 0, "source"], -2, r"product\[0\]: expected source x for W_ih and another for W_hh"),
        ("lstm", ["product", 1, "source"], -1, r"product\[1\]: expected source x for W_ih and another for W_hh"),
        ("lstm", ["product", 1, "to"], 0, r"product\[0\]: expected another weight than the next, whose left factor"),
        ("lstm", ["product", 1, "to"], 2, r"product\[1\]: expected source x for W_ih"),
        ("lstm", ["product", 1, "source"], 7, r"product\[1\]: expected x, h or a saved slot as source, got 7"),
        ("rnn_tanh", ["product", 1, "source"], 0, r"product\[1\]: expected x, h or a saved slot as source, got 0"),
        ("gru", ["product", 1, "gate"], 1, r"product\[1\]: expected each gate once a weight, got it twice"),
        ("lstm", ["product", 1, "gates"], 3, "product: expected a gradient of every gate of W_hh"),
        ("gru", ["product", 0, "slot"], 3, "product: expected x to be projected to the first 3 slots"),
    ],
)
def test_numbers_that_the_loops_cannot_work_with(kernel, path, value, text):
    problem = _testing.problem(changed(kernel, path, value))
    assert re.match(text, problem), problem


def test_too_many_phases_and_products():
    lstm, before = (_testing.numbers(name) for name in ("lstm", "gru_before"))
    problem = _testing.problem({**before, "forward": before["forward"] * 2, "backward": before["backward"] * 2})
    assert problem == "phases: expected 1 to 2, got 4"
    problem = _testing.problem({**lstm, "product": lstm["product"] * 3})
    assert problem == "products: expected 2 to 4, got 6"
    assert _testing.problem({**lstm, "forward": []}) == "phases: expected 1 to 2, got 0"
    assert _testing.problem({**lstm, "product": []}) == "products: expected 2 to 4, got 0"


def test_three_products_with_one_left_factor():
    """The loops pack the left factor for two at most, one of each weight."""
    numbers = _testing.numbers("lstm")
    one, two = numbers["product"]
    three = {**numbers, "product": [one, {**two, "gates": 2}, two]}
    assert _testing.problem(three) == "product[0]: expected at most two products in a row with one left factor, got three"


def test_descriptors_agree_with_the_c_cells():
    good = {"name": "test", "layer": "Test", "gates": tuple("ifgo"), "states": ("h", "c")}
    assert Cell(**good, options={}, kernels={(): "lstm"}).variants[0].slots == 4
    with pytest.raises(ValueError, match=r"^cell test: expected the gates \('i', 'f'\), got 4 in the C cell lstm"):
        Cell(**{**good, "gates": ("i", "f")}, options={}, kernels={(): "lstm"})
    with pytest.raises(ValueError, match=r"^cell test: expected the states \('h',\), got 2"):
        Cell(**{**good, "states": ("h",)}, options={}, kernels={(): "lstm"})
    with pytest.raises(ValueError, match=r"^cell test: expected a kernel for the choices \(False,\), got none"):
        Cell(**good, options={"peephole": (True, False)}, kernels={(True,): "lstm"})
    with pytest.raises(ValueError, match=r"^cell: expected the name of a row in csrc/cells/list.h, got 'nonsense'"):
        _core.cell_numbers("nonsense")


def test_several_options():
    """A cell with two options has a variant for each combination, the defaults first."""
    options = {"a": ("x", "y"), "b": (True, False)}
    kernels = {(a, b): "gru" if b else "gru_before" for a in "xy" for b in (True, False)}
    cell = Cell(name="t", layer="T", gates=("r", "z", "n"), states=("h",), options=options, kernels=kernels)
    assert dict(cell.variants[0].options) == {"a": "x", "b": True} and len(cell.variants) == 4
    assert checks.variant(cell, {"a": "y", "b": False}).kernel == "gru_before"
    with pytest.raises(ValueError, match="^b: expected one of True, False, got 1"):
        checks.variant(cell, {"a": "y", "b": 1})
