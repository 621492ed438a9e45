"""Layers of formulas in pickles and files: what comes back, in other processes too, and what descriptions nobody wrote do."""

import copy
import io
import json
import pickle
import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from formula_cells import FEW, VARIANTS, data, differing, make
from stacks import same
from test_storage import described, saved

import rnnfast
from rnnfast import ops, zoo
from rnnfast.cells.formula import StoredCell
from rnnfast.declared import class_of

some = pytest.mark.parametrize(("name", "options"), FEW)


@rnnfast.cell(gates="a b", states={"h": 0, "m": -np.inf}, vectors="p", inputs="dt", draws={"k": ("bernoulli", "step", "share")})
def Odd(x, U, h, m, p, dt, k, *, share=0.25, power=2, name="tanh", sharp=None, training):
    """A little of everything."""
    new = np.maximum(m, p * (x.a + U.a @ h)) + (0.5 if training else 0.25)
    spike = ops.step(x.b + U.b @ h - 0.1, lambda u: 1 / (1 + abs(u)) ** power)
    h = np.exp(-dt) * h + spike * ops.mean(new) + k * getattr(np, name)(new)
    return (h if sharp is None else sharp * h), new


def as_loaded(net):
    """Its description from a file, as JSON has it."""
    return json.loads(json.dumps(net._form.variant.described()))


# ---- there and back --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_there_and_back(name, options, dtype):
    net = make(name, dtype, num_layers=2, bidirectional=True, **options)
    d = data(net, 3, 2)
    expected = d.train(net), d.call(net)
    for again in (
        pickle.loads(pickle.dumps(net)),
        copy.deepcopy(net),
        copy.copy(net),
        rnnfast.load(io.BytesIO(saved(net))),
    ):
        assert type(again) is zoo.CELLS[name] and repr(again) == repr(net) and again is not net
        assert dict(again.options) == dict(net.options)
        assert not differing(d.train(again), expected[0]) and same(d.call(again), expected[1])
    for frozen in (net.freeze(), pickle.loads(pickle.dumps(net.freeze())), rnnfast.load(io.BytesIO(saved(net.freeze())))):
        assert same(d.call(frozen), expected[1]) and repr(frozen) == repr(net.freeze())


def test_copies_are_their_own():
    net = make("SLSTM")
    again = copy.deepcopy(net)
    again.params["weight_ih_l0"][...] = 0
    assert net.params["weight_ih_l0"].any()
    again.note = "kept"
    assert pickle.loads(pickle.dumps(again)).note == "kept"


CELLS = """
import numpy as np, rnnfast
from rnnfast import ops

@rnnfast.cell(gates="a", states="v", inputs="dt", draws={"xi": ("normal", "step")})
def Leaky(x, U, v, dt, xi, *, tau=1.0, slope=0.5):
    keep = np.exp(-dt / tau)
    return keep * v + (1 - keep) * ops.leaky_relu(x.a + U.a @ v, slope) + xi
"""


def python(folder, code, **files):
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    code = "import sys; sys.path.insert(0, '.')\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


MAKE = """
import pickle, numpy as np
import mine
net = mine.Leaky(3, 5, num_layers=2, tau=0.5, rng=0, dtype=np.float64)
x, dt = np.random.default_rng(0).standard_normal((4, 2, 3)), np.ones((4, 2))
y, v, tape = net.record(x, inputs={"dt": dt}, rng=1)
g = tape.backward(y)
open("net.pickle", "wb").write(pickle.dumps((net, net.freeze())))
net.save("net.npz")
np.savez("expected.npz", y=y, call=net(x, inputs={"dt": dt})[0], dx=g.x, ddt=g.inputs["dt"], **g.params)
"""

COMPARE = """
import pickle, sys, numpy as np, rnnfast
%s
x, dt = np.random.default_rng(0).standard_normal((4, 2, 3)), np.ones((4, 2))
expected = np.load("expected.npz")
net, fast = pickle.load(open("net.pickle", "rb"))
for again in (net, rnnfast.load("net.npz")):
    y, v, tape = again.record(x, inputs={"dt": dt}, rng=1)
    g = tape.backward(y)
    found = dict(y=y, dx=g.x, ddt=g.inputs["dt"], call=again(x, inputs={"dt": dt})[0], **g.params)
    assert sorted(found) == sorted(expected)
    assert all(np.array_equal(found[k], expected[k]) for k in found)
    assert np.array_equal(fast(x, inputs={"dt": dt})[0], found["call"])
    assert again.tau == 0.5 and again.options == {"tau": 0.5, "slope": 0.5}
    assert repr(again).startswith("Leaky(3, 5, num_layers=2"), repr(again)
    print(type(again).__module__ + "." + type(again).__qualname__, hasattr(type(again), "formula"))
    again.save("again.npz")  # and once more, from what was stored
    assert np.array_equal(rnnfast.load("again.npz")(x, inputs={"dt": dt})[0], found["call"])
    assert np.array_equal(pickle.loads(pickle.dumps(again))(x, inputs={"dt": dt})[0], found["call"])
    try:
        type(again)(3, 5, tau=0.25)
        print("another tau")
    except ValueError as error:
        assert "expected the options it was stored with" in str(error), error
    assert type(again)(3, 5, tau=0.5, rng=0)(x.astype("f4"), inputs={"dt": dt.astype("f4")})[0].shape == (4, 2, 5)
"""


def test_another_process(tmp_path):
    """With the module imported: the class. Without it, or with another formula of that name: a class of the same name that
    computes what was stored. No module is imported because a file names it."""
    python(tmp_path, MAKE, mine=CELLS)
    assert python(tmp_path, COMPARE % "import mine") == 2 * "mine.Leaky True\nanother tau\n"
    generic = 2 * "rnnfast.declared.Leaky False\n"
    assert python(tmp_path, COMPARE % "assert 'mine' not in sys.modules") == generic
    (tmp_path / "mine.py").write_text("raise SystemExit('never imported')")
    assert python(tmp_path, COMPARE % "") == generic
    changed = CELLS.replace("1 - keep", "2 - keep")
    assert python(tmp_path, COMPARE % "import mine", mine=changed) == generic
    renamed = CELLS.replace("def Leaky", "def Other")
    assert python(tmp_path, COMPARE % "import mine", mine=renamed) == generic
    other = "Leaky = print"
    assert python(tmp_path, COMPARE % "import mine", mine=other) == generic


def test_a_cell_without_a_place():
    """One of a function in a function comes back as a generic class, as does one of a lambda's name."""

    @rnnfast.cell(gates="a", states="h")
    def Local(x, U, h):
        return np.tanh(x.a + U.a @ h)

    net = Local(3, 4, rng=0)
    x = np.ones((2, 1, 3), np.float32)
    for again in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net), rnnfast.load(io.BytesIO(saved(net)))):
        assert type(again).__name__ == "Local" and same(again(x), net(x))


def test_stored_cells_have_all_forms():
    """Inputs of a number a row or a unit, training or not, vectors, initial values, options of every type."""
    net = Odd(3, 7, num_layers=2, bidirectional=True, dtype=np.float64, rng=0, power=3, name="sin", sharp=0.5)
    stored = class_of({**as_loaded(net), "home": ["nowhere", "Odd"]})
    assert stored is not Odd
    again = stored(3, 7, num_layers=2, bidirectional=True, dtype=np.float64)
    again.load_params(net.params)
    for rows in (False, True):
        d = data(net, rows=rows, ragged=True)
        assert not differing(d.train(again), d.train(net)) and same(d.call(again), d.call(net))
        a, b = (one(d.x, inputs=d.inputs, lengths=d.lengths) for one in (net, again))
        assert same(a, b) and (a[1][1] == -np.inf).any()
    assert as_loaded(again) == {**as_loaded(net), "home": ["nowhere", "Odd"]}


@rnnfast.cell(gates="a", states="h", inputs="before after both")
def ByTraining(x, U, h, before, after, both, *, training):
    h = np.tanh(x.a + U.a @ h) * both
    return h * before if training else h * after


def test_inputs_that_only_training_or_only_inference_reads():
    """Both kinds of calls take all of them."""
    net = ByTraining(3, 7, num_layers=2, bidirectional=True, dtype=np.float64, rng=0)
    stored = class_of({**as_loaded(net), "home": ["nowhere", "ByTraining"]})(
        3, 7, num_layers=2, bidirectional=True, dtype=np.float64, rng=0
    )
    for rows in (False, True):
        d = data(net, rows=rows, ragged=True)
        trained = d.train(net)
        assert not trained["d after"].any() and trained["d before"].any()
        assert not differing(d.train(stored), trained) and same(d.call(stored), d.call(net))
        zeros = {**d.inputs, "before": 0 * d.inputs["before"]}
        assert same(net(d.x, d.state[0], inputs=zeros, lengths=d.lengths)[0], d.call(net)[0])
    rnnfast.check_cell(ByTraining)


def test_a_surrogate_of_another_shape():
    @rnnfast.cell(gates="a", states="h", vectors="p")
    def Captures(x, U, h, p):
        return np.tanh(x.a + U.a @ h) * ops.step(p, lambda u: h)

    with pytest.raises(ValueError, match="surrogate: expected"):
        Captures(3, 4)


@pytest.mark.parametrize("x_gates", ["a", "b", "ab", "bc", "abc", "ac"])
@pytest.mark.parametrize("h_gates", ["", "a", "b", "ab", "abc", "ac"])
def test_gates_on_either_side(x_gates, h_gates):
    """Gates of x and of U in declared order, whichever of them are used with both."""

    def cell(x, U, h):
        return np.tanh(sum(getattr(x, gate) for gate in x_gates) + sum(np.sin(getattr(U, gate) @ h) for gate in h_gates))

    Sides = rnnfast.cell(gates=[gate for gate in "abc" if gate in x_gates + h_gates], states="h")(cell)
    net = Sides(2, 3, rng=0)
    again = class_of({**as_loaded(net), "home": ["nowhere", "cell"]})(2, 3, rng=0)
    x = np.ones((3, 2, 2), np.float32)
    assert list(again.params) == list(net.params) and same(again(x), net(x))


@pytest.mark.parametrize(
    "surrogate", [lambda U, c, e, u: c * e, lambda U, c, e, u: e * u, lambda U, c, e, u: c * e + np.tanh(U.a @ (0.1 * u))]
)
def test_surrogates_that_read_more(surrogate):
    """A state and an input that nothing else reads, and a gate; in files too."""

    def cell(x, U, h, c, e):
        spike = ops.step(x.a + 0.1 * h, lambda u: surrogate(U, c, e, u))
        return spike + 0.5 * np.tanh(h + U.a @ (0.1 * (x.a + 0.1 * h))), x.a

    Reads = rnnfast.cell(gates="a", states="h c", inputs="e")(cell)
    rnnfast.check_cell(Reads)
    net = Reads(2, 3, dtype=np.float64, rng=0)
    again = class_of({**as_loaded(net), "home": ["nowhere", "cell"]})(2, 3, dtype=np.float64, rng=0)
    d = data(net)
    assert not differing(d.train(again), d.train(net))


# ---- descriptions that nobody wrote ----------------------------------------------------------------------------------------
def runs(description):
    """Whether it is taken; then a layer of it computes, or is a ValueError. Anything else is an error here."""
    try:
        stored = StoredCell(description)
        kind = class_of({**description, "home": ["nowhere", "Nobody"]})
        net = kind(2, 3, dtype=np.float64, rng=0)
    except ValueError:
        return False
    assert stored.name == net.cell.name
    try:
        for rows in (False, True):
            d = data(net, 2, 2, rows=rows)
            d.train(net)
            frozen = net.freeze()
            d.call(frozen)
            net.trajectories(d.x, inputs=d.inputs)
            frozen.step(d.x[0], inputs={name: value[0] for name, value in d.inputs.items()})
            d.train(net, checkpoint_every=1)
    except ValueError:
        return False
    return True


def places(value, path=()):
    yield path
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*path, key))


TEXTS = "", "x", "h", "nan", "inf", "0x1p+4000", "-0x1p+0", "1/H", "tanh", "product", "total", "step", "fma", "\0", "é"
VALUES = None, True, False, 0, 1, -1, 2**70, 1.5, float("nan"), [], {}, [[]], *TEXTS


def mutated(description, rng):
    """With one or two of its parts changed, missing, doubled or exchanged."""
    found = copy.deepcopy(description)
    for _ in range(rng.choice((1, 1, 2))):
        everywhere = [path for path in places(found) if path]
        path = rng.choice(everywhere)
        parent = found
        for key in path[:-1]:
            parent = parent[key]
        key, kind = path[-1], rng.randrange(6)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif kind == 2 and isinstance(parent[key], int):
            parent[key] += rng.choice((-1, 1, 2, -3))
        elif kind == 3:
            other = found
            for k in rng.choice(everywhere):
                other = (
                    other[k]
                    if isinstance(other, (dict, list)) and (k in other if isinstance(other, dict) else k < len(other))
                    else other
                )
            parent[key] = copy.deepcopy(other)
        elif kind == 4 and isinstance(parent, dict):
            parent["x" if rng.random() < 0.5 else "h"] = parent.pop(key)
        else:
            parent[key] = rng.choice(VALUES)
    return found


@pytest.mark.parametrize("base", ["Odd", "LSTM", "LayerNormGRU", "SLSTM", "SRU", "ALIF"])
def test_mutated_descriptions(base):
    """Hundreds of each: a ValueError, or a layer that computes; never anything else."""
    net = Odd(2, 3) if base == "Odd" else make(base)
    description, rng, taken = as_loaded(net), random.Random(base), 0
    assert runs(description)
    for number in range(600):
        one = mutated(description, rng)
        try:
            taken += runs(one)
        except Exception as error:
            raise AssertionError(f"mutation {number} of {base}") from error
    assert 0 < taken < 400


@pytest.mark.parametrize(
    "value", [None, 0, [], {}, "LSTM", {"version": 1}, {"version": 2}, [[]] * 3, {"version": 2, "name": "a", "traces": 3}]
)
def test_no_description(value):
    with pytest.raises(ValueError, match="^cell: expected"):
        StoredCell(value)


def test_traces_that_do_not_fit_each_other():
    """Those of training and of inference: no random numbers at inference; the same results; blocks of weights in one order."""
    dropout, two = as_loaded(make("LSTM", recurrent_dropout=0.5)), as_loaded(make("LSTM"))
    for description in (dropout, two):
        training = next(one for one in description["traces"] if one["training"])
        for one in description["traces"]:
            if one["training"]:
                continue
            if description is dropout:
                one.update({**copy.deepcopy(training), "training": False})
            else:
                assert one["gates"] == training["gates"] == [list("ifgo")] * 2
                one["gates"] = [list("figo")] * 2
        with pytest.raises(ValueError, match="cell: expected traces with the same names"):
            StoredCell(description)
    for taken in ("bias_hh", "weight_ih", "record", "_form", "a b", "h"):
        named = json.loads(json.dumps(as_loaded(make("IndRNN"))).replace('"u"', json.dumps(taken)))
        with pytest.raises(ValueError, match="^cell: .*expected (another name|names)"):
            StoredCell(named)
    more = as_loaded(make("TLSTM"))
    for one in more["traces"]:
        if one["row_inputs"]:
            at = len(one["nodes"])
            one["nodes"] += [["input", [], ["input", "foo", [True, True]]], ["add", [one["results"][0], at], None]]
            one["results"][0] = at + 1
    with pytest.raises(ValueError, match="cell: expected traces with the same names"):
        StoredCell(more)
    three = as_loaded(make("SLSTM"))
    next(one for one in three["traces"] if one["training"])["results"].insert(0, 0)
    with pytest.raises(ValueError, match="cell: expected traces with the same names"):
        StoredCell(three)


def test_large_descriptions():
    """Long lists and deep nests end soon."""
    description = as_loaded(make("MGU"))
    trace = description["traces"][0]
    trace["nodes"] += [["tanh", [0], None]] * 30_000
    with pytest.raises(ValueError, match="expected at most 20000 nodes, got '30013'"):
        StoredCell(description)
    description = as_loaded(make("MGU"))
    nodes = description["traces"][0]["nodes"]
    first = len(nodes)
    nodes += [*(["neg", [first + i - 1], None] for i in range(3000)), ["total", [first + 2999], None]]
    with pytest.raises(ValueError, match="cell: expected what `save` writes of a formula, got RecursionError"):
        StoredCell(description)
    description = as_loaded(make("MGU"))
    for trace in description["traces"]:
        first = len(trace["nodes"])
        trace["nodes"] += [["sin", [first + i - 1], None] for i in range(15_000)]
        trace["results"] = [first + 14_999]
    with pytest.raises(ValueError, match="^formula: expected fewer operations"):
        class_of(description)(2, 3)(np.zeros((2, 2, 2), np.float32))


def test_files_with_another_description():
    net = make("LSTM", coupled=True)
    for change, text in (
        (lambda d: {**d, "cell": {**d["cell"], "version": 7}}, "cell: expected version 2, got '7'"),
        (lambda d: {**d, "cell": {}}, "cell: expected"),
        (lambda d: {**d, "cell": "LSTM"}, "cell: expected one of"),
        (lambda d: {**d, "options": {}}, "options: expected"),
        (lambda d: {**d, "cell": {**d["cell"], "name": "not a name"}}, "cell: expected a name"),
    ):
        with pytest.raises(ValueError, match=text):
            rnnfast.load(io.BytesIO(described(net, change)))
