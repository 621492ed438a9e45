"""Weights of ONNX models in layers of rnnfast; the table of conventions."""

from __future__ import annotations

import numpy as np
import pytest
import stacks
from foreign import close, configuration, filled, node_model, same_params

import rnnfast
from rnnfast import weights, zoo
from rnnfast.cells.conventions import CONVENTIONS


def linear(cell, net):
    return {"linear_before_reset": int(net.reset_after)} if cell == "gru" else {}


@pytest.mark.parametrize("seed", range(40))
def test_onnx(onnx, onnxruntime, seed, tmp_path):
    cell, arguments = configuration(seed)
    arguments |= {"num_layers": 1, "dtype": np.dtype(np.float32)}
    ours = {"reset_after": seed % 2 == 0} if cell == "gru" else {}
    net, x = filled(cell, arguments, seed, **ours)
    model = node_model(onnx, cell, weights.to_onnx(net)[0], net.hidden_size, constants=seed % 3 == 0, **linear(cell, net))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"X": x})  # (T, D, B, H)
    expected = expected.transpose(0, 2, 1, 3).reshape(len(x), x.shape[1], -1)
    file = tmp_path / "model.onnx"
    onnx.save(model, file)
    for again in (
        weights.from_onnx(model),
        weights.from_onnx(model, "rnn"),
        weights.from_onnx(file),
        weights.from_onnx(str(file), ["rnn"]),
        weights.from_onnx(weights.to_onnx(net)[0], **ours),
        weights.from_onnx(weights.to_onnx(net), **ours),
    ):
        assert repr(again) == repr(net) and same_params(again, net)
        assert close(again(x)[0], expected)


@pytest.mark.parametrize("cell", stacks.CELL_NAMES)
def test_onnx_stacks_layouts_and_graphs(onnx, cell):
    net, x = filled(cell, {"input_size": 3, "hidden_size": 4, "num_layers": 3, "bidirectional": True, "dtype": np.float64}, 1)
    more = {"reset_after": True} if cell == "gru" else {}
    assert same_params(weights.from_onnx(weights.to_onnx(net), **more), net)
    one = weights.to_onnx(net)[0]
    assert weights.from_onnx(node_model(onnx, cell, one, 4, layout=1, **linear(cell, net))).batch_first is True
    inner = node_model(onnx, cell, one, 4, inner=True, constants=True, **linear(cell, net))
    assert np.array_equal(
        weights.from_onnx(inner, dtype=np.float32).params["weight_hh_l0"], net.params["weight_hh_l0"].astype("f")
    )


def test_onnx_of_torch(onnx, torch, tmp_path):
    """What PyTorch's exporter writes: a node a layer."""
    module = torch.nn.Sequential(torch.nn.GRU(3, 4, 2, bidirectional=True))
    file, x = tmp_path / "model.onnx", torch.randn(5, 2, 3)
    with pytest.warns() as _:
        torch.onnx.export(module, (x,), str(file), dynamo=False)
    with pytest.raises(
        ValueError, match="^name: expected that of a recurrent node, or of several to stack, got None; there are"
    ) as told:
        weights.from_onnx(file)
    names = [text for text in str(told.value).split("'") if "GRU" in text]
    net = weights.from_onnx(file, names)
    assert net.num_layers == 2 and close(net(x)[0], module(x)[0].detach())


def test_onnx_activations(onnx, onnxruntime):
    net, x = filled("lstm", {"input_size": 3, "hidden_size": 4}, 0)
    one = weights.to_onnx(net)[0]
    for cell, arrays, ours, activations in (
        ("lstm", one, zoo.LSTM, ["Sigmoid", "Softsign", "Relu"]),
        ("gru", [one[0][:, :12], one[1][:, :12], one[2][:, :24]], zoo.GRU, ["Sigmoid", "Softsign"]),
        ("simple_rnn", [one[0][:, :4], one[1][:, :4], one[2][:, :8]], zoo.SimpleRNN, ["Softsign"]),
        ("simple_rnn", [one[0][:, :4], one[1][:, :4], one[2][:, :8]], rnnfast.SimpleRNN, ["Sigmoid"]),
    ):
        model = node_model(onnx, cell, arrays, 4, activations=activations)
        (y,) = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"X": x})
        again = weights.from_onnx(model)
        assert type(again) is ours and close(again(x)[0], y[:, 0])


def test_names_of_nodes(onnx):
    import rnnfast.onnx

    model = rnnfast.onnx.export(rnnfast.LSTM(2, 3, 2))
    for wrong in (3, {"l0"}):
        with pytest.raises(TypeError, match="^name: expected that of a recurrent node, or a list of several to stack, got "):
            weights.from_onnx(model, wrong)


def test_a_model_is_no_file_of_a_layer(onnx, tmp_path):
    import rnnfast.onnx

    rnnfast.onnx.export(rnnfast.GRU(2, 3), tmp_path / "net.onnx")
    for read in (rnnfast.load, weights.read_safetensors):
        with pytest.raises(
            ValueError, match="net.onnx: expected .*; of an ONNX model, rnnfast.weights.from_onnx reads the weights"
        ):
            read(tmp_path / "net.onnx")


def test_onnx_errors(onnx):
    net, _ = filled("lstm", {"input_size": 3, "hidden_size": 4}, 0)
    one = weights.to_onnx(net)[0]

    def refuse(text, source, name=None, error=ValueError, **options):
        with pytest.raises(error, match=text):
            weights.from_onnx(source, name, **options)

    def model(**attributes):
        return node_model(onnx, "lstm", one, 4, **attributes)

    refuse("^name: expected that of a recurrent node, .* got 'x'; there are 'rnn'$", model(), "x")
    refuse("^name: .*got .'rnn', 'x'.; there are 'rnn'$", model(), ["rnn", "x"])
    refuse("^name: .* there are none$", onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])))
    refuse(r"^rnn: expected no clip, got 3.0; the option clip of rnnfast.zoo.LSTM and GRU has it", model(clip=3.0))
    refuse(r"^rnn: expected no input_forget, got 1; rnnfast.zoo.LSTM\(coupled=True\)", model(input_forget=1))
    refuse("^rnn: expected no activation_alpha", model(activations=["HardSigmoid", "Tanh", "Tanh"], activation_alpha=[0.2]))
    refuse("^rnn: expected activations .*, got HardSigmoid", model(activations=["HardSigmoid", "Tanh", "Tanh"]))
    refuse("^rnn: expected the direction forward or bidirectional, got reverse", model(direction="reverse"))
    refuse("^rnn: expected the direction forward or bidirectional, got side", model(direction="side"))
    peephole = model()
    peephole.graph.node[0].input.extend(["", "", "", "P"])
    refuse(r"^rnn: expected no peepholes \(input P\), got some; rnnfast.zoo.LSTM\(peephole=True\) has it", peephole)
    refuse("^rnn: activations: expected 3 names for each direction, got", model(activations=["Sigmoid", "Tanh"]))
    weights.from_onnx(model(activations=["sigmoid", "TANH", "tanh"]))  # their case does not count
    given = model()
    del given.graph.initializer[1]
    refuse("^rnn: R: expected an initializer or a Constant, got 'R', which is computed or given", given)
    refuse("^reset_after: expected True or False for the arrays of a GRU", (np.ones((1, 9, 2), "f"), np.ones((1, 9, 3), "f")))
    refuse("^source: expected an onnx.ModelProto, a path, or arrays", 3, error=TypeError)
    for wrong in ((one[0],), one + one, ([one[0]],), ()):
        refuse(r"^source: expected arrays \(W, R, B\)", wrong)
    W, R, B = one
    for wrong in (
        (W[0], R, B),
        (W, R[0], B),
        (W, R, B[0]),
        (W, R, B[:, 1:]),
        (np.repeat(W, 3, 0), R, B),
        (W[:, 1:], R, B),
        (W, R[:, 1:], B),
    ):
        refuse("expected shape", wrong)


# ---- the table -------------------------------------------------------------------------------------------------------------
def test_every_convention_is_complete():
    for one in CONVENTIONS:
        for cell, order in one.gate_order.items():
            assert not order or sorted(order.split()) == sorted(rnnfast.layers.LAYERS[cell].cell.gates)
        assert set(one.classes) in (set(), set(stacks.CELL_NAMES))
        assert set(one.activations.values()) <= set(zoo.ACTIVATIONS)
