"""Cells as data: what the loops take for granted of a cell's numbers is checked before they get them, and compiled cells have
the numbers that the plans of their formulas give."""

import re

import pytest

from rnnfast import zoo
from rnnfast._engine import checks
from rnnfast._kernels import _core, _testing
from rnnfast._kernels._code import Code
from rnnfast.cells import CELLS, Cell
from rnnfast.formula.spec import Instruction, Operand, Phase, Program

VARIANTS = [variant for cell in CELLS.values() for variant in cell.variants]


def spec_of(name, training=True, **options):
    """Of a cell of the zoo. With inputs it is that of one number a row."""
    variant = zoo.CELLS[name].cell.choose(options)
    return variant.plan(frozenset(variant.inputs), training=training).spec


SPECS = {
    "LSTM": spec_of("LSTM"),
    "GRU": spec_of("GRU"),
    "before": spec_of("GRU", reset_after=False),
    "RNN": spec_of("SimpleRNN"),
    "LayerNorm": spec_of("LayerNormGRU"),
    "TLSTM": spec_of("TLSTM"),
    "inference": spec_of("LSTM", training=False),
    "MinGRU": spec_of("MinGRU", training=False),
}


def put(value, path, new):
    """A changed copy of a named tuple. path: names of fields, and indices."""
    if not path:
        return new(value) if callable(new) else new
    key, *rest = path
    if isinstance(key, str):
        return value._replace(**{key: put(getattr(value, key), rest, new)})
    return (*value[:key], put(value[key], rest, new), *value[key + 1 :])


# ---- plans and compiled cells ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.kernel)
def test_plans_give_the_numbers_of_the_compiled_cells(variant):
    name = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "SimpleRNN"}[variant.cell.name]
    options = {"activation" if key == "nonlinearity" else key: value for key, value in variant.options.items()}
    spec, c = spec_of(name, **options), _testing.numbers(variant.kernel)

    def source(operand):
        return -1 if operand is None else operand.number if operand.space == "slot" else -2 - operand.number

    def reads(space, i):
        programs = [phase.program for phase in spec.backward]
        return any((space, i) in one.operands[1:] for program in programs for one in program.instructions)

    assert (c["x_gates"], c["h_gates"], c["slots"]) == (spec.x_gates, spec.h_gates, spec.slots)
    assert (c["saves_slots"], c["y_is_state"]) == (spec.saves, spec.y_is_state)
    for key in ("ih_of_slot", "merged", "hh_of_slot", "split"):
        assert tuple(c[key]) == getattr(spec, key), key
    for i, (ours, theirs) in enumerate(zip(spec.states, c["state"], strict=True)):
        expected = {**ours._asdict(), "reads_before": reads("before", i), "reads_after": reads("after", i)}
        if i == 0:  # in y every value of it is kept, whatever this says
            expected["kept"] = theirs["kept"]
        if variant.kernel == "rnn_identity":  # has the numbers of the other activations, whose slopes are made of y
            expected["reads_after"] = theirs["reads_after"]
        assert theirs == expected
    forward = [(f["source"], tuple(f["gate"][: f["gates"]])) for f in c["forward_product"]]
    assert forward == [(source(f.source), f.gates) for f in spec.forward_products]
    backward = [(b["slot"], b["gates"], b["state"]) for b in c["backward_product"]]
    assert backward == [(b.slot, b.gates, b.state) for b in spec.backward_products]
    gates = [len(f.gates) for f in spec.forward_products]
    assert c["phases"] == [(phase.first, phase.last - phase.first, gates[phase.first]) for phase in spec.forward]
    products = [(w["to"], w["source"], w["slot"], w["gate"], w["gates"]) for w in c["product"]]
    ours = [(int(w.of == "hh"), source(w.source), w.slot, w.gate, w.gates) for w in spec.weight_gradients]
    assert sorted(products) == sorted(ours)  # each has its own sum, so their order shows in no bit


# ---- numbers that the loops cannot work with ------------------------------------------------------------------------------
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_plans_are_fit_for_the_loops(spec):
    Code(spec, 8)


def other_instruction(**changes):
    """A program whose first instruction is changed."""
    return lambda program: program._replace(
        instructions=(program.instructions[0]._replace(**changes), *program.instructions[1:])
    )


def to(space, number):
    """A program whose first instruction writes elsewhere."""
    return lambda program: other_instruction(operands=(Operand(space, number), *program.instructions[0].operands[1:]))(program)


PROGRAM, FORWARD, GRADIENT = ("backward", 0, "program"), ("forward_products", 0), ("weight_gradients", 1)
AHEAD = ("ahead", 0, "program")


@pytest.mark.parametrize(
    ("name", "path", "value", "text"),
    [
        ("LSTM", ["x_gates"], 0, "x_gates: expected 1 to 4, got 0"),
        ("LSTM", ["x_gates"], 5, "expected a smaller formula"),
        ("LSTM", ["h_gates"], 100, "h_gates: expected 0 to"),
        ("RNN", ["slots"], 0, "x_gates: expected 1 to 0, got 1"),
        ("LSTM", ["slots"], 3, "x_gates: expected 1 to 3, got 4"),
        ("LSTM", ["states"], (), "states: expected 1 to"),
        ("LSTM", ["vectors"], 1000, "vectors: expected 0 to"),
        ("LSTM", ["extras"], -1, "extras: expected 0 to"),
        ("LSTM", ["row_values"], 1000, "row_values: expected 0 to"),
        ("LSTM", ["row_inputs"], -1, "row_inputs: expected 0 to"),
        ("LSTM", ["row_saved"], 1, "row_saved: expected 0 to 0, got 1"),
        ("LSTM", ["partials"], -1, "partials: expected 0 to"),
        ("LSTM", ["forward"], (), "forward_phases: expected 1 to"),
        ("LSTM", ["weight_gradients"], (), "products: expected 1 to"),
        ("MinGRU", ["rest"], (), "rest_phases: expected 1 to"),
        ("LSTM", ["rest"], SPECS["LSTM"].forward, "rest_phases: expected 0 to 0, got 1"),
        ("MinGRU", [*AHEAD], to("before", 0), "program: .* operand 0, got number 0 of space"),
        ("MinGRU", [*AHEAD], to("slot", 2), "program: .* operand 0, got number 2 of space"),
        ("MinGRU", ["ahead", 0, "first"], 1, "phase 0: expected the products in order"),
        ("GRU", ["split"], (3,), r"split\[0\]: expected a gate of W_hh, got 3"),
        ("TLSTM", ["d_row_inputs", 0], 100, r"d_row_input\[0\]: expected -1 or a row value, got 100"),
        ("LSTM", ["states", 0, "product"], 1, r"state\[0\]: expected -1 or a product, got 1"),
        ("LSTM", ["states", 1, "product"], 0, r"state\[1\]: expected a product of its own, got 0"),
        ("LSTM", ["states", 1, "kept"], False, r"state\[1\]: expected it kept, since backward reads it"),
        ("LSTM", ["saves"], False, r"state\[1\]: expected saved slots beside a kept state"),
        ("LSTM", ["ih_of_slot", 0], 4, r"ih_of_slot\[0\]: expected a gate of W_ih, got 4"),
        ("LSTM", ["ih_of_slot", 0], 1, r"product\[0\]: expected the gradient of gate 0 once, in its slot, got it in slot 0"),
        ("LSTM", ["merged", 0], 4, r"merged\[0\]: expected -1 or a gate of W_hh, got 4"),
        ("LSTM", [*FORWARD, "gates"], (), r"forward_product\[0\]: expected 1 to 4 gates, got 0"),
        ("LSTM", [*FORWARD, "source"], Operand("slot", 4), r"forward_product\[0\]: expected a state"),
        ("LSTM", [*FORWARD, "source"], Operand("before", 2), r"forward_product\[0\]: expected a state"),
        ("LSTM", [*FORWARD, "gates"], (0, 1, 2, 2), r"forward_product\[0\]: expected each of 4 gates in one product"),
        ("LSTM", [*FORWARD, "gates"], (0, 1, 2), "gates: expected each of them to be computed"),
        ("LSTM", [*FORWARD, "sum"], 1000, "phase 0: expected 4 sums of product 0"),
        ("LSTM", ["backward_products", 0, "slot"], 1, r"backward_product\[0\]: expected some of 4 slots, got 4 from 1"),
        ("before", ["backward_products", 1, "state"], 1, r"backward_product\[1\]: expected -1 or a state, got 1"),
        ("GRU", ["backward_products", 0, "slot"], 0, r"hh_of_slot\[0\]: expected each of 3 gates in one product, got -1"),
        ("LSTM", [*GRADIENT, "gates"], 5, r"product\[1\]: expected some of 4 gates and 4 slots, got 5"),
        ("LSTM", [*GRADIENT, "source"], Operand("slot", 4), r"product\[1\]: expected x for W_ih"),
        ("LSTM", [*GRADIENT, "gate"], 1, r"product\[1\]: expected some of 4 gates"),
        ("LSTM", [*GRADIENT, "gates"], 3, "gates: expected a gradient of each of them"),
        ("GRU", [*GRADIENT, "slot"], 2, r"product\[1\]: expected the gradient of gate 0 once, in its slot, got it"),
        ("LSTM", ["forward", 0, "first"], 1, "phase 0: expected the products in order, at most"),
        ("LSTM", ["forward", 0], Phase((), None, 0, 0, None), "phases: expected 1 products, got 0"),
        ("LSTM", ["forward", 0, "totals"], ((0, 0),), "phase 0: expected totals of partials in row values, got 0, 0"),
        ("LSTM", [*PROGRAM, "registers"], 65, "program: expected at most 64 registers"),
        ("LSTM", [*PROGRAM], to("slot", 4), "program: .* operand 0, got number 4 of space"),
        ("LSTM", [*PROGRAM], to("register", 64), "program: .* operand 0, got number 64 of space"),
        ("LSTM", [*PROGRAM], to("vector", 0), "program: .* operand 0, got number 0 of space"),
        ("LSTM", [*PROGRAM], to("row", 0), "program: .* operand 0, got number 0 of space"),
        ("LSTM", [*PROGRAM], other_instruction(op="fma", operands=(Operand("register", 0),)), "program: expected 3 arguments"),
    ],
)  # fmt: skip
def test_numbers_that_the_loops_cannot_work_with(name, path, value, text):
    with pytest.raises(ValueError) as caught:
        Code(put(SPECS[name], path, value), 8)
    assert re.match("cell: " + text, str(caught.value)), caught.value


def test_gradients_side_by_side():
    """The loops pack slots for two products at most, one of each weight."""
    one, two = SPECS["LSTM"].weight_gradients
    for products in ((one, one._replace(gates=2)), (one, two._replace(gates=2), two)):
        with pytest.raises(ValueError, match=r"^cell: product\[[01]\]: expected"):
            Code(SPECS["LSTM"]._replace(weight_gradients=products), 8)


@pytest.mark.parametrize(
    "field",
    ["states", "forward_products", "backward_products", "weight_gradients", "forward", "backward", "split", "ahead", "rest"],
)
def test_more_than_there_is_room_for(field):
    """Of anything: no struct is written past its end."""
    spec = SPECS[{"split": "GRU", "ahead": "MinGRU", "rest": "MinGRU"}.get(field, "before")]
    for times in (300,) if spec is not SPECS["before"] else (7, 30, 300):
        with pytest.raises(ValueError, match="^cell: expected a smaller formula|^cell: .*: expected"):
            Code(spec._replace(**{field: getattr(spec, field) * times}), 8)


def test_large_programs():
    spec = SPECS["LSTM"]
    place = [Operand("register", k) for k in range(3)]
    most = Program(instructions=(Instruction("add", tuple(place)),) * 50_000, constants=(1.0,), registers=3)
    phase = Phase((), None, 0, 1, most)
    Code(spec._replace(forward=(phase,)), 8)
    for registers in (0, -1, 65, 2**31 - 1):
        with pytest.raises(ValueError, match="^cell: program: expected"):
            Code(spec._replace(forward=(phase._replace(program=most._replace(registers=registers)),)), 8)


# ---- descriptors ----------------------------------------------------------------------------------------------------------
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
