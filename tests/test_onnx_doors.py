"""rnnfast.onnx.load: whole models with recurrent nodes anywhere in them, against the node tests of ONNX, its reference
implementation, ONNX Runtime and the equations."""

import importlib
import itertools
import random
import subprocess
import sys
import warnings

import numpy as np
import onnx_equations
import pytest
from onnx_equations import inputs
from onnx_models import (
    OPS,
    ORDER,
    OUTPUTS,
    ReferenceEvaluator,
    TensorProto,
    export,
    helper,
    load,
    model_of,
    node_of,
    numpy_helper,
    onnx,
    runtime,
    same,
    single,
)

import rnnfast


# ---- single nodes -----------------------------------------------------------------------------------------------------------
def node_tests():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tests of other operators, which are made as well
        cases = importlib.import_module("onnx.backend.test.case.node").collect_testcases()
    return [case for case in cases if case.model.graph.node[0].op_type in OPS]


def test_the_node_tests_of_onnx():
    """Those of the package; its own tolerances are wider."""
    cases = node_tests()
    assert len(cases) >= 18  # of onnx 1.23
    for case in cases:
        session = load(case.model)
        for given, expected in case.data_sets:
            found = session.run(None, dict(zip([i.name for i in session.get_inputs()], given, strict=True)))
            for a, b in zip(found, expected, strict=True):
                assert a.dtype == b.dtype and a.shape == b.shape, case.name
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7, err_msg=case.name)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("op", OPS)
def test_against_onnxruntime(op, seed):
    """Every attribute but layout, which it does not have. Lengths of 1 and more, since of 0 it makes zeros."""
    chooser, rng = random.Random(f"{op}{seed}"), np.random.default_rng(seed)
    direction = chooser.choice(["forward", "reverse", "bidirectional"])
    D = 2 if direction == "bidirectional" else 1
    attributes = {"direction": direction}
    if chooser.random() < 0.6:
        names = [chooser.choice(list(onnx_equations.ACTIVATIONS)) for _ in onnx_equations.DEFAULTS[op] * D]
        with_alpha, with_beta = onnx_equations.WITH_ALPHA, onnx_equations.WITH_BETA
        attributes["activations"] = names
        attributes["activation_alpha"] = [chooser.uniform(0.1, 0.9) for name in names if name in with_alpha] or None
        attributes["activation_beta"] = [chooser.uniform(0.1, 0.9) for name in names if name in with_beta] or None
    if chooser.random() < 0.4:
        attributes["clip"] = chooser.uniform(0.1, 1.5)
    if op == "GRU":
        attributes["linear_before_reset"] = chooser.choice([0, 1])
    if op == "LSTM":
        attributes["input_forget"] = chooser.choice([0, 0, 1])
    sizes = {name: chooser.randint(1, most) for name, most in (("T", 8), ("batch", 5), ("I", 9), ("H", 20))}
    given = inputs(op, rng, "float32", D=D, scale=0.3, **sizes)
    given["sequence_lens"] = np.maximum(given["sequence_lens"], 1)
    given = {name: a for name, a in given.items() if name in "XWR" or chooser.random() < 0.6}
    model = single(op, given, **attributes)
    same(load(model).run(None, given), runtime(model).run(None, given))


@pytest.mark.parametrize("op", OPS)
def test_against_the_reference_implementation(op):
    """In float64, with what it does not leave out."""
    rng = np.random.default_rng(0)
    for direction, layout in itertools.product(["forward", "reverse", "bidirectional"], [0, 1]):
        given = inputs(op, rng, "float64", D=2 if direction == "bidirectional" else 1, layout=layout)
        del given["sequence_lens"]
        for more in ({"linear_before_reset": 0}, {"linear_before_reset": 1}) if op == "GRU" else ({},):
            model = single(op, given, direction=direction, layout=layout, **more)
            same(load(model).run(None, given), ReferenceEvaluator(model).run(None, given))


@pytest.mark.parametrize("opset", [7, 14, 22])
def test_older_operators(opset):
    given = inputs("LSTM", np.random.default_rng(1), "float32")
    model = model_of([node_of("LSTM", given)], given, dict.fromkeys(OUTPUTS, "float32"), opset=opset)
    same(load(model).run(None, given), onnx_equations.run("LSTM", **given))


# ---- models -----------------------------------------------------------------------------------------------------------------
def test_subgraph_of_if():
    """An LSTM with lengths in one branch, a GRU with a limit in the other: the reference implementation ignores both."""
    rng = np.random.default_rng(2)
    lstm, gru = inputs("LSTM", rng, "float64"), inputs("GRU", rng, "float64")
    gru["X"] = lstm["X"]
    branches = {}
    for op, given, attributes in (("LSTM", lstm, {}), ("GRU", gru, {"clip": 0.5})):
        own = {name: a for name, a in given.items() if name != "X"}
        branches[op] = helper.make_graph(
            [node_of(op, given, ["out"], **attributes)],
            op,
            [],
            [helper.make_tensor_value_info("out", TensorProto.DOUBLE, None)],
            [numpy_helper.from_array(a, name) for name, a in own.items()],
        )
    node = helper.make_node("If", ["which"], ["Y"], then_branch=branches["LSTM"], else_branch=branches["GRU"])
    which = np.array(True)
    model = load(model_of([node], {"which": which, "X": lstm["X"]}, {"Y": "float64"}))
    same([model(which, lstm["X"])], [onnx_equations.run("LSTM", **lstm)[0]])
    same([model(~which, lstm["X"])], [onnx_equations.run("GRU", **gru, clip=0.5)[0]])


def test_subgraph_of_loop():
    """Chunk after chunk through an LSTM with peepholes and coupled gates, the states carried from one to the next; weights
    come from the graph around."""
    rng, T, chunks = np.random.default_rng(3), 4, 3
    given = inputs("LSTM", rng, "float64", T=T * chunks)
    del given["sequence_lens"]
    weights = {name: given[name] for name in "WRBP"}
    parts = given["X"].reshape(chunks, T, 3, 4)
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["parts", "i"], ["x"], axis=0),
            helper.make_node("LSTM", ["x", "W", "R", "B", "", "h", "c", "P"], ["y", "h2", "c2"], hidden_size=6, input_forget=1),
            helper.make_node("Identity", ["go"], ["go2"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            *[helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in "hc"],
        ],
        [
            helper.make_tensor_value_info("go2", TensorProto.BOOL, []),
            *[helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in ("h2", "c2", "y")],
        ],
    )
    loop = helper.make_node("Loop", ["times", "go", "initial_h", "initial_c"], ["Y_h", "Y_c", "Y"], body=body)
    fed = {"parts": parts, "initial_h": given["initial_h"], "initial_c": given["initial_c"]}
    constants = {**weights, "times": np.array(chunks), "go": np.array(True)}
    model = model_of([loop], fed, dict.fromkeys(["Y_h", "Y_c", "Y"], "float64"), constants=constants)
    Y_h, Y_c, Y = load(model).run(None, fed)
    same([Y.reshape(T * chunks, 1, 3, 6), Y_h, Y_c], onnx_equations.run("LSTM", **given, input_forget=1))


def test_function_of_the_model():
    """A local function that has the direction as its attribute, with a GRU inside."""
    given = inputs("GRU", np.random.default_rng(4), "float64")
    node = helper.make_node("GRU", list(given), ["Y", ""], hidden_size=6, clip=0.5)
    kind = onnx.AttributeProto.STRING
    node.attribute.append(onnx.AttributeProto(name="direction", ref_attr_name="way", type=kind))
    function = helper.make_function("own", "Clipped", list(given), ["Y"], [node], [helper.make_opsetid("", 22)], ["way"])
    call = helper.make_node("Clipped", list(given), ["Y"], domain="own", way="reverse")
    model = model_of([call], given, {"Y": "float64"}, functions=[function])
    same(load(model).run(None, given), [onnx_equations.run("GRU", **given, clip=0.5, direction="reverse")[0]])


def test_an_output_without_a_name_is_no_input_of_others():
    rng = np.random.default_rng(5)
    given = {name: inputs("RNN", rng, "float64", I=6)[name] for name in "XWR"}
    nodes = [node_of("RNN", given, ["", "h"]), helper.make_node("RNN", ["X", "W", "R", "", "", "h"], ["Y"], hidden_size=6)]
    Y = load(model_of(nodes, given, {"Y": "float64"}))(*given.values())
    _, h = onnx_equations.run("RNN", **given)
    same([Y], [onnx_equations.run("RNN", **given, initial_h=h)[0]])


def test_ways_to_load_and_to_call(tmp_path):
    given = {name: a for name, a in inputs("LSTM", np.random.default_rng(6), "float32").items() if name in "XWRB"}
    model = single("LSTM", given)
    for i, name in enumerate(OUTPUTS):
        model.graph.output[i].name = name
    constants = [numpy_helper.from_array(given[name], name) for name in "WRB"]
    model.graph.initializer.extend(constants)  # as models of IR version 3 have them: among the inputs as well
    onnx.save(model, tmp_path / "model.onnx")
    X, expected = given["X"], onnx_equations.run("LSTM", **given)
    for source in (model, tmp_path / "model.onnx", str(tmp_path / "model.onnx"), model.SerializeToString()):
        session = load(source)
        assert [i.name for i in session.get_inputs()] == ["X"]
        for found in (session.run(None, {"X": X}), session(X), session(X=X), session.run(OUTPUTS, {"X": X, "B": given["B"]})):
            same(found, expected)
        same(session.run(["Y_c"], {"X": X}), expected[2:])
    assert session.get_inputs()[0] == ("X", "tensor(float)", [5, 3, 4])
    assert [o.name for o in session.get_outputs()] == OUTPUTS
    assert repr(session) == "rnnfast.onnx.Model(X -> Y, Y_h, Y_c)"


def test_constant_weights_are_packed_once_and_those_that_are_given_every_time():
    given = {name: a for name, a in inputs("LSTM", np.random.default_rng(11), "float64", T=3).items() if name in "XWRBP"}
    for attributes in ({}, {"clip": 0.5}):  # compiled, and a formula
        names = [name for name in given if name != "P" or attributes]
        model = model_of(
            [node_of("LSTM", {name: given[name] for name in names}, **attributes)],
            {name: given[name] for name in names},
            {"Y": "float64"},
            constants={name: given[name] for name in names if name != "X"},
        )
        session = load(model)
        expected = onnx_equations.run("LSTM", *[given.get(name) if name in names else None for name in ORDER], **attributes)[0]
        for isa in rnnfast.runtime.PRESENT * 2:
            with rnnfast.use_isa(isa):
                same([session(given["X"])], [expected])
        other = {**given, "B": given["B"].copy()}
        same(session.run(["Y"], {"X": other["X"], "B": other["B"]}), [expected])
        other["B"] *= -1  # the same array with other values
        expected = onnx_equations.run("LSTM", *[other.get(name) if name in names else None for name in ORDER], **attributes)[0]
        same(session.run(["Y"], {"X": other["X"], "B": other["B"]}), [expected])


def test_external_data(tmp_path):
    given = {name: a for name, a in inputs("LSTM", np.random.default_rng(7), "float32").items() if name in "XWRB"}
    constants = {name: given[name] for name in "WRB"}
    model = model_of([node_of("LSTM", given)], {"X": given["X"]}, {"Y": "float32"}, constants=constants)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0, location="weights")
    assert (tmp_path / "weights").exists()
    same([load(tmp_path / "model.onnx")(given["X"])], onnx_equations.run("LSTM", **given)[:1])


def test_errors_of_load_and_run(tmp_path):
    given = inputs("LSTM", np.random.default_rng(8), "float32")
    session = load(single("LSTM", given))
    others = {name: a for name, a in given.items() if name != "X"}
    with pytest.raises(TypeError, match="^model: expected a path, bytes or an onnx.ModelProto, got int$"):
        load(3)
    with pytest.raises(ValueError, match="^model: expected an ONNX model, got 9 bytes, which"):
        load(b"not a one")
    with pytest.raises(ValueError, match="^model: expected an ONNX model, got 0 bytes, which has no nodes"):
        load(b"")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match="^output_names: expected one of 'Y', 'Y_h', 'Y_c', got 'y'$"):
        session.run(["y"], given)
    with pytest.raises(ValueError, match="^feeds: expected the names X, .*, P, got missing X$"):
        session.run(None, others)
    with pytest.raises(ValueError, match="^feeds: expected the names X, .*, P, got unknown x$"):
        session.run(None, {**given, "x": given["X"]})
    with pytest.raises(TypeError, match="^feeds: expected a mapping with the names X, .*, got ndarray$"):
        session.run(None, given["X"])
    with pytest.raises(TypeError, match=r"^inputs: expected 8 \(X, .*\), got 9$"):
        session(*given.values(), None)
    with pytest.raises(
        TypeError, match=r"^X: expected dtype float32, as the model declares, got float64; use X.astype\(np.float32"
    ):
        session.run(None, {**given, "X": given["X"].astype("f8")})
    with pytest.raises(TypeError, match="^X: expected dtype float32, as the model declares, got None$"):
        session.run(None, {**given, "X": None})
    with pytest.raises(ValueError, match="^X: expected an array, got nested sequences of unequal lengths"):
        session.run(None, {**given, "X": [[1.0], [1.0, 2.0]]})
    with pytest.raises(TypeError, match="^X: expected a plain array, got a masked array; fill it first"):
        session.run(None, {**given, "X": np.ma.array(given["X"])})
    half = {name: a.astype("f2") if a.dtype == np.float32 else a for name, a in given.items()}
    with pytest.raises(TypeError, match=r"^node 'cell' \(LSTM\): X: expected dtype float32 or float64, got float16; cast it"):
        load(single("LSTM", half)).run(None, half)


def test_inputs_that_do_not_have_the_shape_that_the_model_declares():
    net = rnnfast.LSTM(4, 6, rng=0)
    session, x = load(export(net, state=True, lengths=True, batch=3)), np.zeros((5, 3, 4), np.float32)
    good = {"x": x, "lengths": np.full(3, 5, np.int32), "h0": x[:1, :, [0] * 6], "c0": x[:1, :, [0] * 6]}
    assert len(session.run(None, good)) == 3
    for name, wrong, expected in (
        ("x", x[0], r"\(time, 3, 4\), as the model declares, got \(3, 4\)"),
        ("x", x[..., :3], r"\(time, 3, 4\), as the model declares, got \(5, 3, 3\)"),
        ("x", x[:, :2], r"\(time, 3, 4\), as the model declares, got \(5, 2, 4\)"),
        ("lengths", good["lengths"][:2], r"\(3,\), as the model declares, got \(2,\)"),
        ("h0", x, r"\(1, 3, 6\), as the model declares, got \(5, 3, 4\)"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: expected shape {expected}$"):
            session.run(None, {**good, name: wrong})
    model = export(net)
    model.graph.input[0].type.tensor_type.ClearField("shape")  # then the node tells
    with pytest.raises(
        ValueError, match=r"^node 'l0' \(LSTM\): X: expected shape \(T, B, 4\) .*; W of shape \(1, 24, 4\) has 4"
    ):
        load(model)(x[..., :3])
    with pytest.raises(ValueError, match=r"^node 'l0' \(LSTM\): X: expected 3 dimensions \(time, batch, input\), got shape"):
        load(model)(x[0])


def broken(change):
    model = export(rnnfast.LSTM(4, 6, rng=0))
    change(model, model.graph)
    return model


def with_attribute(name, value):
    return lambda model, graph: graph.node[0].attribute.append(helper.make_attribute(name, value))


BROKEN = {  # what to change of a good model, and what load or run then says
    "no nodes": (
        lambda m, g: g.ClearField("node"),
        "^model: expected an ONNX model, got an onnx.ModelProto, which has no nodes",
    ),
    "no opset": (lambda m, g: m.ClearField("opset_import"), "^model: expected one .* can run, got RuntimeError: Domain ''"),
    "other domain": (lambda m, g: setattr(g.node[0], "domain", "com.microsoft"), "got RuntimeError: Domain 'com.microsoft'"),
    "unknown operator": (lambda m, g: setattr(g.node[0], "op_type", "LSTMs"), "got NotImplementedError: No registered schema"),
    "short weights": (lambda m, g: setattr(g.initializer[1], "raw_data", b"123"), "got ValueError: buffer size must be"),
    "huge weights": (lambda m, g: g.initializer[1].dims.__setitem__(0, 2**60), "got ValueError: cannot reshape array"),
    "weights of no dtype": (
        lambda m, g: setattr(g.initializer[1], "data_type", 99),
        "^model: expected one .*, got KeyError: 99",
    ),
    "input of no dtype": (lambda m, g: setattr(g.input[0].type.tensor_type, "elem_type", 99), "no name defined for value 99"),
    "missing weights": (lambda m, g: g.ClearField("initializer"), "can run with these inputs, got RuntimeError: .*'W_l0'"),
    "cycle": (
        lambda m, g: g.node[0].input.__setitem__(0, g.node[0].output[0]),
        "got RuntimeError: Unable to find input 'Y_l0'",
    ),
    "missing output": (lambda m, g: setattr(g.output[0], "name", "q"), "got RuntimeError: Unable to find output name 'q'"),
    "node without inputs": (lambda m, g: g.node[0].ClearField("input"), r"^node 'l0' \(LSTM\): X: expected dtype .*, got None"),
    "no X": (lambda m, g: g.node[0].input.__setitem__(0, ""), r"^node 'l0' \(LSTM\): X: expected dtype .*, got None"),
    "clip below 0": (with_attribute("clip", -1.0), r"^node 'l0' \(LSTM\): clip: expected a number > 0"),
    "two activations": (with_attribute("activations", ["Tanh"] * 2), r"^node 'l0' \(LSTM\): activations: expected 3 names"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_models(name):
    """Always a ValueError or TypeError that says what is wrong, of whatever kind that of the package onnx was."""
    change, text = BROKEN[name]
    with pytest.raises((ValueError, TypeError), match=text) as told:
        load(broken(change))(np.ones((5, 3, 4), np.float32))
    assert len(str(told.value)) < 500


def test_models_without_declared_dtypes_and_shapes():
    x = np.ones((5, 3, 4), np.float32)
    expected = load(broken(lambda model, graph: None))(x)
    for change in (
        lambda model, graph: setattr(graph.input[0].type.tensor_type, "elem_type", 0),
        lambda model, graph: graph.input[0].ClearField("type"),
        lambda model, graph: graph.input[0].type.tensor_type.ClearField("shape"),
    ):
        same(load(broken(change))(x), expected)


def test_ways_to_call_that_do_not_fit():
    model = load(memoryview(export(rnnfast.LSTM(4, 6, rng=0)).SerializeToString()))
    x = np.ones((5, 3, 4), np.float32)
    for wrong in ("y", 3):
        with pytest.raises(TypeError, match="^output_names: expected a sequence of names or None, got "):
            model.run(wrong, {"x": x})
    with pytest.raises(TypeError, match="^inputs: expected each once, got x by position and by name$"):
        model(x, x=x)
    model = export(rnnfast.LSTM(4, 6, rng=0), lengths=True)
    with pytest.raises(TypeError, match=r"^lengths: expected dtype int32, .*; use lengths.astype\(np.int32\)$"):
        load(model)(x, np.full(3, 5))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    with pytest.raises(TypeError, match=r"^x: expected dtype bfloat16, .*; use x.astype\(ml_dtypes.bfloat16\)$"):
        load(model)(x, np.full(3, 5, np.int32))


def test_tensors_of_pytorch_as_inputs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
    net = rnnfast.GRU(4, 6, rng=0)
    session, x = load(export(net)), torch.ones(5, 3, 4)
    same(session(x), net(x))
    with pytest.raises(TypeError, match=r"^x: expected dtype float32, as the model declares, got float64; use x\.float\(\)$"):
        session(x.double())
    with_lengths = load(export(net, lengths=True))
    with pytest.raises(TypeError, match=r"^lengths: expected dtype int32, .*, got int64; use lengths\.to\(torch\.int32\)$"):
        with_lengths(x, torch.full((3,), 5))
    same(with_lengths(x, torch.full((3,), 5).to(torch.int32)), net(x))
    with pytest.raises(TypeError, match=r"^x: expected an array, got Tensor that requires grad; pass x\.detach\(\)$"):
        session(x.requires_grad_())


def test_without_the_package_onnx():
    code = "import sys; sys.modules['onnx'] = None; import rnnfast.onnx"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.endswith('ModuleNotFoundError: rnnfast.onnx needs the package onnx: pip install "rnnfast[onnx]"\n')
