"""rnnfast.onnx_ops against the operators' equations in float64 (tests/onnx_equations.py): every attribute and activation, in
random combinations, and the texts of errors. The package onnx is not needed."""

import random
import subprocess
import sys

import numpy as np
import onnx_equations
import pytest
from onnx_equations import inputs

from rnnfast import onnx_ops
from rnnfast.proof.prove import error

OPS = {"RNN": onnx_ops.rnn, "GRU": onnx_ops.gru, "LSTM": onnx_ops.lstm}
BOUNDS = {"float64": 1e-9, "float32": 2e-5}


def agree(op, arrays, attributes):
    """Of the function and the equations; the function's results."""
    dtype = arrays["X"].dtype
    before = {name: a.copy() for name, a in arrays.items()}
    found, expected = OPS[op](**arrays, **attributes), onnx_equations.run(op, **arrays, **attributes)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and a.dtype == dtype
        assert error(a, b) < BOUNDS[dtype.name], (op, attributes)
    assert all(np.array_equal(a, before[name]) for name, a in arrays.items())  # inputs stay as they are
    return found


def random_attributes(op, rng):
    """Attributes and the sizes that go with them."""
    direction, layout = rng.choice(["forward", "reverse", "bidirectional"]), rng.choice([0, 0, 1])
    D = 2 if direction == "bidirectional" else 1
    attributes = {"direction": direction, "layout": layout}
    if rng.random() < 0.6:
        names = [rng.choice(list(onnx_equations.ACTIVATIONS)) for _ in onnx_equations.DEFAULTS[op] * D]
        attributes["activations"] = [rng.choice([str, str.lower, str.upper])(name) for name in names]
        for attribute, takers in (
            ("activation_alpha", onnx_equations.WITH_ALPHA),
            ("activation_beta", onnx_equations.WITH_BETA),
        ):
            values = [round(rng.uniform(0.1, 0.9), 2) for name in names if name in takers]
            if not {"Affine", "ScaledTanh"} & set(names):  # the rest may be left out
                values = values[: rng.randint(0, len(values))]
            attributes[attribute] = values or None
    if rng.random() < 0.4:
        attributes["clip"] = round(rng.uniform(0.1, 1.5), 2)
    if op == "GRU":
        attributes["linear_before_reset"] = rng.choice([0, 1])
    if op == "LSTM":
        attributes["input_forget"] = rng.choice([0, 0, 1])
    sizes = {name: rng.randint(1, most) for name, most in (("T", 8), ("batch", 5), ("I", 9), ("H", 20))}
    return attributes, {**sizes, "D": D, "layout": layout}


@pytest.mark.parametrize("seed", range(200))
@pytest.mark.parametrize("op", OPS)
def test_random_combinations(op, seed):
    chooser, rng = random.Random(f"{op}{seed}"), np.random.default_rng(seed)
    attributes, sizes = random_attributes(op, chooser)
    arrays = inputs(op, rng, "float64", **sizes, scale=0.3)  # unbounded activations must not grow without limit
    agree(op, {name: a for name, a in arrays.items() if name in "XWR" or chooser.random() < 0.6}, attributes)


def test_inputs_by_position():
    for op in OPS:
        arrays = inputs(op, np.random.default_rng(0), "float64")
        for a, b in zip(OPS[op](*arrays.values()), OPS[op](**arrays), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("layout", [0, 1])
def test_defaults(op, direction, layout, dtype):
    D = 2 if direction == "bidirectional" else 1
    arrays = inputs(op, np.random.default_rng(0), dtype, D=D, layout=layout)
    arrays.pop("P", None)
    attributes = {"direction": direction, "layout": layout, "hidden_size": 6}
    for more in ({"linear_before_reset": 0}, {"linear_before_reset": 1}) if op == "GRU" else ({},):
        agree(op, arrays, {**attributes, **more})


@pytest.mark.parametrize("name", onnx_equations.ACTIVATIONS)
@pytest.mark.parametrize("place", range(3))
def test_every_activation_in_every_place(name, place, dtype):
    rng = np.random.default_rng(1)
    for op, defaults in onnx_equations.DEFAULTS.items():
        if place >= len(defaults):
            continue
        names = [*defaults]
        names[place] = name
        arrays = inputs(op, rng, dtype, scale=0.4)
        values = {
            "activation_alpha": [0.7] if name in onnx_equations.WITH_ALPHA else None,
            "activation_beta": [0.3] if name in onnx_equations.WITH_BETA else None,
        }
        agree(op, arrays, {"activations": names, **values})
        if name not in ("Affine", "ScaledTanh"):
            agree(op, arrays, {"activations": names})  # with the operators' defaults


def test_directions_with_activations_of_their_own():
    arrays = inputs("LSTM", np.random.default_rng(2), "float64", D=2)
    names = ["Sigmoid", "Tanh", "Tanh", "HardSigmoid", "LeakyRelu", "Softsign"]
    agree("LSTM", arrays, {"direction": "bidirectional", "activations": names, "activation_alpha": [0.25, 0.1]})
    del arrays["P"]  # the first direction is a compiled cell now
    agree("LSTM", arrays, {"direction": "bidirectional", "activations": names, "activation_alpha": [0.25, 0.1]})


def test_parameters_of_activations_go_to_those_that_take_some():
    arrays = inputs("GRU", np.random.default_rng(3), "float64")
    names = ["Sigmoid", "LeakyRelu"]
    taken = onnx_ops.gru(**arrays, activations=names, activation_alpha=[0.3])[0]
    assert not np.array_equal(taken, onnx_ops.gru(**arrays, activations=names)[0])
    both = onnx_ops.gru(**arrays, activations=names, activation_alpha=[0.3, 0.3])[0]  # one for each activation
    assert np.array_equal(taken, both)
    onnx_ops.gru(**arrays, activation_alpha=[0.3, 0.3])  # no activation takes it, whatever it means
    with pytest.raises(ValueError, match=r"activation_alpha: expected values .* \(leakyrelu\) alone, .*, got \[0.0, 0.3\]"):
        onnx_ops.gru(**arrays, activations=names, activation_alpha=[0.0, 0.3])


def test_the_default_of_the_schema_has_two_names_for_one_direction():
    arrays = inputs("RNN", np.random.default_rng(4), "float64")
    agree("RNN", arrays, {"activations": ["Tanh", "Tanh"]})


def test_length_zero_keeps_the_initial_state():
    for op in OPS:
        arrays = inputs(op, np.random.default_rng(5), "float64")
        arrays["sequence_lens"] = np.array([0, 5, 0])
        for attributes in ({}, {"clip": 1.0}):
            _, *states = agree(op, arrays, attributes)
            for state, name in zip(states, ("initial_h", "initial_c"), strict=False):
                assert np.array_equal(state[:, [0, 2]], arrays[name][:, [0, 2]])


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("op", OPS)
def test_sizes_of_zero(op, clip):
    rng = np.random.default_rng(6)
    for sizes in ({"T": 0}, {"batch": 0}, {"T": 0, "batch": 0}):
        agree(op, inputs(op, rng, "float64", **sizes), {"clip": clip})


def test_memory_orders_and_lists():
    rng = np.random.default_rng(7)
    for op in OPS:
        arrays = inputs(op, rng, "float64")
        odd = {name: np.asfortranarray(a) if a.ndim > 1 else a for name, a in arrays.items()}
        odd["X"] = np.repeat(arrays["X"], 2, axis=2)[..., ::2]
        lists = {name: a.tolist() for name, a in arrays.items()}
        for attributes in ({}, {"clip": 0.5}):
            expected = OPS[op](**arrays, **attributes)
            for others in (odd, lists):
                for a, b in zip(OPS[op](**others, **attributes), expected, strict=True):
                    assert np.array_equal(a, b)


def test_results_are_new_arrays():
    for op in OPS:
        arrays = inputs(op, np.random.default_rng(8), "float64")
        for attributes in ({}, {"clip": 0.5}):
            found = OPS[op](**arrays, **attributes)
            for i, a in enumerate(found):
                assert a.flags.writeable
                assert not any(np.shares_memory(a, b) for b in (*found[:i], *arrays.values()))


F32, F64 = np.float32, np.float64
ERRORS = [
    (
        {"X": np.zeros((5, 3, 4), np.float16)},
        TypeError,
        "X: expected dtype float32 or float64, got float16; cast it, e.g. X.astype(np.float32)",
    ),
    ({"X": np.zeros((5, 4))}, ValueError, "X: expected 3 dimensions (time, batch, input), got shape (5, 4)"),
    ({"W": np.zeros((1, 24, 4), F32)}, TypeError, "W: expected dtype float64 like X, got float32; use W.astype(np.float64)"),
    (
        {"W": np.zeros((1, 24, 5))},
        ValueError,
        "X: expected shape (T, B, 5) = (time, batch, input), got (5, 3, 4); W of shape (1, 24, 5) has 5 inputs",
    ),
    (
        {"W": np.zeros((1, 23, 4))},
        ValueError,
        "W: expected shape (1, 24, 4) = (directions, as 'forward' has, 4*hidden, input), got (1, 23, 4)",
    ),
    (
        {"R": np.zeros((24, 6))},
        ValueError,
        "R: expected shape (1, 4*H, H) = (directions, as 'forward' has, 4*hidden, hidden), got",
    ),
    (
        {"W": np.zeros((24, 4))},
        ValueError,
        "W: expected shape (1, 24, 4) = (directions, as 'forward' has, 4*hidden, input), got",
    ),
    ({"R": np.zeros((1, 6, 24))}, ValueError, "R: expected shape (1, 96, 24) = "),
    ({"X": np.zeros((5, 3, 4), F32)}, TypeError, "X: expected dtype float64 like W, got float32; use X.astype(np.float64)"),
    ({"clip": 10**400}, ValueError, "clip: expected a number that a float64 holds, got a larger integer"),
    ({"direction": "bidirectional"}, ValueError, "R: expected shape (2, 24, 6) = (directions, as 'bidirectional' has"),
    ({"direction": "backward"}, ValueError, "direction: expected one of 'forward', 'reverse', 'bidirectional', got 'backward'"),
    ({"B": np.zeros((1, 24))}, ValueError, "B: expected shape (1, 48) = (directions, 8*hidden), got (1, 24)"),
    ({"P": np.zeros(18)}, ValueError, "P: expected shape (1, 18) = (directions, 3*hidden), got (18,); pass P[None]"),
    ({"initial_c": np.zeros((3, 1, 6))}, ValueError, "initial_c: expected shape (1, 3, 6) = (directions, batch, hidden), got"),
    ({"sequence_lens": [1, 2, 6]}, ValueError, "sequence_lens: expected 0 <= length <= 5 (time), got 6 at index 2"),
    ({"sequence_lens": [1.0, 2, 3]}, TypeError, "sequence_lens: expected integers, got dtype float64"),
    ({"hidden_size": 5}, ValueError, "hidden_size: expected 6, as R of shape (1, 24, 6) has, got 5"),
    ({"layout": 2}, ValueError, "layout: expected one of 0, 1, got 2"),
    ({"input_forget": "1"}, ValueError, "input_forget: expected one of 0, 1, got '1'"),
    ({"clip": 0.0}, ValueError, "clip: expected a number > 0, or None for no limit, got 0.0"),
    ({"clip": np.nan}, ValueError, "clip: expected a number > 0, or None for no limit, got nan"),
    ({"clip": "1"}, TypeError, "clip: expected a number > 0 or None, got str"),
    ({"activations": ["Tanh"]}, ValueError, "activations: expected 3 names, 3 for each direction, got ['Tanh']"),
    ({"activations": "Tanh"}, TypeError, "activations: expected a list of names, got str"),
    ({"activations": ["Sigmoid", "Swish", "Tanh"]}, ValueError, "activations: expected one of 'affine', 'relu', "),
    (
        {"activations": ["Sigmoid", "Affine", "Tanh"]},
        ValueError,
        "activation_alpha: expected a value for affine, which has no de",
    ),
    ({"activation_alpha": 0.5}, TypeError, "activation_alpha: expected a list of numbers, got float"),
    ({"activation_beta": ["0.5"]}, TypeError, "activation_beta: expected a list of numbers, got a str in it"),
]


@pytest.mark.parametrize("wrong, kind, text", ERRORS, ids=[text[:40] for _, _, text in ERRORS])
def test_errors(wrong, kind, text):
    arrays = inputs("LSTM", np.random.default_rng(9), F64)
    with pytest.raises(kind) as problem:
        onnx_ops.lstm(**{**arrays, **wrong})
    assert str(problem.value).startswith(text), str(problem.value)


def test_remedies_for_weights():
    """What is told to be written then works."""
    arrays = inputs("GRU", np.random.default_rng(9), F64)
    X, W, R = arrays["X"], arrays["W"], arrays["R"]
    expected = onnx_ops.gru(X, W, R)
    for wrong, name, remedy in (
        ((X, W[0], R), "W", "pass W[None]"),
        ((X, W, R[0]), "R", "pass R[None]"),
        ((X, W, R.swapaxes(1, 2)), "R", "it is transposed: pass R.swapaxes(1, 2)"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: expected shape ") as told:
            onnx_ops.gru(*wrong)
        text = str(told.value)
        assert text.endswith(f"; {remedy}")
        given = dict(zip("XWR", wrong, strict=True))
        given[name] = eval(remedy.partition("pass ")[2], given)
        for a, b in zip(onnx_ops.gru(*[given[letter] for letter in "XWR"]), expected, strict=True):
            assert np.array_equal(a, b)
    with pytest.raises(ValueError, match="; weights with 3 times as many rows as hidden units are those of gru$"):
        onnx_ops.lstm(X, W, R)


def test_activations_that_are_no_list():
    arrays = inputs("RNN", np.random.default_rng(9), F64)
    with pytest.raises(TypeError, match="^activations: expected a list of names, got int$"):
        onnx_ops.rnn(**arrays, activations=3)


def test_the_package_onnx_is_not_needed():
    code = "import sys; sys.modules['onnx'] = None; from rnnfast import onnx_ops; print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
