"""rnnfast.onnx.export: layers written as models, run by ONNX Runtime and ONNX's reference implementation."""

import importlib
import itertools
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx_models import (
    ReferenceEvaluator,
    export,
    load,
    onnx,
    runtime,
    same,
)

import rnnfast
from rnnfast import zoo

# ---- export -----------------------------------------------------------------------------------------------------------------
KINDS = [
    *[(rnnfast.SimpleRNN, {"nonlinearity": f}) for f in ("tanh", "relu", "sigmoid", "identity")],
    (rnnfast.LSTM, {}),
    (rnnfast.GRU, {"reset_after": True}),
    (rnnfast.GRU, {"reset_after": False}),
]


def exported(net, opset, rng, **options):
    """The model, what to feed it with, and what the layers compute."""
    T, B, D, L = 5, 3, 2 if net.bidirectional else 1, net.num_layers
    x = rng.standard_normal((B, T, net.input_size) if net.batch_first else (T, B, net.input_size)).astype(net.dtype)
    feeds, state, lengths = {"x": x}, None, None
    if options.get("state"):
        letters = net._form.variant.states
        parts = {f"{s}0": rng.standard_normal((L * D, B, net.hidden_size)).astype(net.dtype) for s in letters}
        feeds, state = {**feeds, **parts}, tuple(parts.values()) if len(parts) > 1 else next(iter(parts.values()))
    if options.get("lengths"):
        lengths = np.array([2, T, 1], np.int32)
        feeds["lengths"] = lengths
    y, final = net(x, state, lengths=lengths)
    return export(net, opset=opset, **options), feeds, [y, *(final if isinstance(final, tuple) else (final,))]


@pytest.mark.parametrize("kind, option", KINDS, ids=[f"{kind.__name__}-{'-'.join(map(str, o.values()))}" for kind, o in KINDS])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_export(kind, option, bidirectional, layers):
    rng = np.random.default_rng(9)
    for bias, batch_first, options in itertools.product(
        [True, False], [True, False], [{}, {"state": True}, {"lengths": True, "state": True}, {"lengths": True}]
    ):
        opset = [14, 17, 22][int(rng.integers(3))]
        shared = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional, **option}
        net = kind(4, 6, layers, **shared, dropout=0.5, rng=rng)
        model, feeds, expected = exported(net, opset, rng, **options)
        same(runtime(model).run(None, feeds), expected)
        same(load(model).run(None, feeds), expected)
        double = kind(4, 6, layers, **shared, dtype=np.float64, rng=rng).freeze()
        model, feeds, expected = exported(double, opset, rng, **options)
        same(load(model).run(None, feeds), expected)
        if not options.get("lengths") and option.get("nonlinearity", "tanh") == "tanh":  # what it does not leave out
            same(ReferenceEvaluator(model).run(None, feeds), expected)


def test_export_of_other_sizes_than_it_was_tried_with():
    net = rnnfast.LSTM(4, 6, bidirectional=True, rng=0)
    rng, model = np.random.default_rng(10), export(net)
    session, own = runtime(model), load(model)
    assert own.get_inputs() == [("x", "tensor(float)", ["time", "batch", 4])]
    for T, B in ((1, 1), (7, 2), (50, 3)):
        x = rng.standard_normal((T, B, 4)).astype(np.float32)
        y, state = net(x)
        same(session.run(None, {"x": x}), [y, *state])
        same(own(x), [y, *state])
    fixed = load(export(net, batch=2, time="frames", state=True))
    assert [i.shape for i in fixed.get_inputs()] == [["frames", 2, 4], [2, 2, 6], [2, 2, 6]]


def test_threads_share_a_model():
    net = rnnfast.LSTM(4, 6, 2, bidirectional=True, rng=0)
    model, xs = load(export(net)), np.random.default_rng(12).standard_normal((40, 5, 3, 4)).astype(np.float32)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(model, xs))
    for x, (y, *_) in zip(xs, found, strict=True):
        assert np.array_equal(y, net(x)[0])


def test_export_writes_a_file(tmp_path):
    net, x = rnnfast.GRU(4, 6, rng=0), np.ones((5, 3, 4), np.float32)
    model = export(net, tmp_path / "net.onnx")
    assert onnx.load(tmp_path / "net.onnx") == model and model.producer_name == "rnnfast"
    same(load(tmp_path / "net.onnx")(x), net(x))
    assert np.array_equal(load(model)(x)[0], net(x)[0])  # the same kernels with the same weights


def test_errors_of_export():
    net = rnnfast.LSTM(4, 6)
    for wrong, text in (
        ({"opset": 13}, "opset: expected a version from 14 to "),
        ({"opset": 1000}, "opset: expected an integer from 1 to "),
        ({"batch": 0}, "batch: expected an integer >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=f"^{text}"):
            export(net, **wrong)
    with pytest.raises(TypeError, match="^state: expected True or False, got str$"):
        export(net, state="h0")
    with pytest.raises(TypeError, match="^net: expected layers of rnnfast, frozen or not, got ndarray$"):
        export(np.ones(3))


# ---- cells of the zoo that are cases of ONNX's operators --------------------------------------------------------------------
GATED = ("tanh", "sigmoid", "relu", "identity", "linear", "hard_sigmoid", "softsign", "softplus", "elu", "leaky_relu")
WRITTEN = {  # options to choose from; clip has a value that float32 holds exactly, as attributes of ONNX are float32
    zoo.LSTM: {
        "peephole": [True, False],
        "coupled": [True, False],
        "activation": GATED,
        "recurrent_activation": GATED,
        "cell_activation": [None, *GATED],
        "clip": [None, 0.5],
        "recurrent_dropout": [0.0, 0.3],
    },
    zoo.GRU: {
        "reset_after": [True, False],
        "update": ["old", "new"],
        "activation": GATED,
        "recurrent_activation": ["sigmoid", "hard_sigmoid"],
        "clip": [None, 0.5],
    },
    zoo.SimpleRNN: {"activation": GATED},
    zoo.IndRNN: {"activation": GATED},
    zoo.MGU: {},
    zoo.LiGRU: {"activation": GATED},
    zoo.MinGRU: {"positive": [False]},
    zoo.JANET: {"beta": [1.0, 0.25]},
    zoo.LeakyRNN: {"alpha": [0.2, 0.75, 1.0], "noise": [0.0, 0.1], "activation": GATED},
}
INEXACT = ("hard_sigmoid", "leaky_relu")  # slopes of 1/6 and 0.01


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", WRITTEN, ids=lambda kind: kind.__name__)
def test_export_of_the_zoo(kind, seed):
    """ONNX Runtime and rnnfast compute the model as the layers do."""
    chooser, rng = random.Random(f"{kind.__name__}{seed}"), np.random.default_rng(seed)
    options = {name: chooser.choice(values) for name, values in WRITTEN[kind].items()}
    form = {name: chooser.choice([True, False]) for name in ("bias", "batch_first", "bidirectional")}
    asked = {name: chooser.choice([True, False]) for name in ("state", "lengths")}
    layers = chooser.choice([1, 2])
    model, feeds, expected = exported(kind(4, 6, layers, **form, **options, rng=rng), 22, rng, **asked)
    same(runtime(model).run(None, feeds), expected)
    same(load(model).run(None, feeds), expected)
    if not set(INEXACT) & {value for value in options.values() if isinstance(value, str)}:
        model, feeds, expected = exported(
            kind(4, 6, layers, **form, **options, dtype=np.float64, rng=rng).freeze(), 14, rng, **asked
        )
        same(load(model).run(None, feeds), expected)


def test_parameters_of_activations_are_written():
    rng = np.random.default_rng(13)
    for activation, alpha, beta in (
        ("leaky_relu", 0.25, None),
        ("elu", 0.5, None),
        ("hard_sigmoid", 0.25, 0.375),
        ("elu", None, None),
    ):
        net = zoo.SimpleRNN(4, 6, activation=activation, alpha=alpha, beta=beta, bidirectional=True, dtype=np.float64, rng=rng)
        model, feeds, expected = exported(net, 22, rng)
        same(load(model).run(None, feeds), expected)


def test_formulas_are_computed_by_onnx_itself():
    """Its reference implementation computes peepholes, and knows none of the other options."""
    rng = np.random.default_rng(14)
    for net in (zoo.LSTM(4, 6, peephole=True, dtype=np.float64, rng=rng), zoo.MGU(4, 6, dtype=np.float64, rng=rng)):
        model, feeds, expected = exported(net, 22, rng)
        same(ReferenceEvaluator(model).run(None, feeds), expected)


def test_each_cell_of_the_zoo_is_written_or_refused_with_a_reason():
    written = importlib.import_module("rnnfast.onnx.nodes")
    known = {cell.cell for cell in zoo.CELLS.values()}
    assert known <= written.NODES.keys() | written.WHY_NOT.keys() and not written.NODES.keys() & written.WHY_NOT.keys()
    assert {kind.cell for kind in WRITTEN} == written.NODES.keys() & known
    for cell in zoo.CELLS.values():
        if cell.cell in written.WHY_NOT:
            why = f"got {cell.__name__}, which is none: {written.WHY_NOT[cell.cell]}"
            with pytest.raises(TypeError, match=rf"^net: expected a cell that is a case of ONNX's operators .*{why}$"):
                export(cell(4, 4).freeze())

    @rnnfast.cell(gates="a", states="h")
    def Own(x, U, h):
        return np.tanh(x.a + U.a @ h)

    with pytest.raises(TypeError, match="got Own, which is none: it is a formula of your own$"):
        export(Own(4, 6))


@pytest.mark.parametrize(
    "net, text",
    [
        (zoo.LSTM(4, 6, cell_clip=1.0), "net: expected options .*, got cell_clip=1.0; their clip limits"),
        (zoo.LSTM(4, 6, zoneout_c=0.1), "net: expected options .*, got zoneout_c=0.1, which mixes"),
        (zoo.LSTM(4, 6, zoneout_h=0.1), "net: expected options .*, got zoneout_h=0.1, which mixes"),
        (zoo.GRU(4, 6, zoneout=0.1), "net: expected options .*, got zoneout=0.1, which mixes"),
        (zoo.GRU(4, 6, activation="hard_tanh"), "net: expected options .*, got the activation 'hard_tanh'; they have elu, "),
        (
            zoo.GRU(4, 6, update="new", recurrent_activation="relu"),
            "update: expected 'old' with recurrent_activation='relu', got",
        ),
        (zoo.MinGRU(4, 6), "net: expected options .*, got positive=True, whose activation"),
        (zoo.LeakyRNN(4, 6, form="voltage"), "net: expected options .*, got form='voltage', whose y"),
        (zoo.LeakyRNN(4, 6, alpha=1.5), "net: expected options .*, got alpha=1.5, which is no value of a gate"),
    ],
    ids=lambda value: "" if isinstance(value, str) else repr(value),
)
def test_options_that_onnx_does_not_have(net, text):
    with pytest.raises(ValueError, match=f"^{text}"):
        export(net)


def test_arguments_of_export(tmp_path):
    net = rnnfast.GRU(2, 3, rng=0)
    with pytest.raises(TypeError, match=r"^file: expected a path or None, got int"):
        export(net, 3)
    with pytest.raises(ValueError, match=r"^batch: expected an integer >= 1 or the name of an open size, got ''"):
        export(net, batch="")
    with pytest.raises(ValueError, match=r"^time: expected another name than that of batch, got 'n'"):
        export(net, batch="n", time="n")
    whole, slope = (
        zoo.SimpleRNN(2, 3, activation="elu", alpha=1, rng=0),
        zoo.SimpleRNN(2, 3, activation="elu", alpha=1.0, rng=0),
    )
    assert export(whole) == export(slope)  # an integer is a number as well
    with pytest.raises(ValueError, match=r"^net: expected options .*, got clip=1e-60, which is 0 in float32"):
        export(zoo.LSTM(2, 3, clip=1e-60))


def test_a_folder_of_models_is_no_package(tmp_path):
    (tmp_path / "onnx").mkdir()
    code = (
        f"import sys; sys.path = [p for p in sys.path if 'site-packages' not in p] + [{str(tmp_path)!r}]; import rnnfast.onnx"
    )
    code = "import numpy, rnnfast; " + code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.endswith('ModuleNotFoundError: rnnfast.onnx needs the package onnx: pip install "rnnfast[onnx]"\n')


@pytest.mark.filterwarnings("ignore")  # PyTorch's exporters warn of themselves
@pytest.mark.parametrize("dynamo", [False, True], ids=["TorchScript", "dynamo"])
def test_a_model_that_pytorch_exported(dynamo, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
    if dynamo:
        pytest.importorskip("onnxscript", reason="onnxscript, of PyTorch's exporter, is not installed")
    torch.manual_seed(0)
    model, x, file = torch.nn.LSTM(4, 6, 2, bidirectional=True).eval(), torch.randn(5, 3, 4), tmp_path / "torch.onnx"
    torch.onnx.export(model, (x,), file, dynamo=dynamo, verbose=False)
    with torch.no_grad():
        y, (h, c) = model(x)
    same(load(file)(x.numpy()), [y.numpy(), h.numpy(), c.numpy()])
