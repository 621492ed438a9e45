"""Cells of the zoo against other libraries' own code, in float64: ncps, snnTorch, ONNX's reference evaluator, Keras."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from rnnfast import zoo

T, B, I, H = 6, 4, 3, 5


def layer(cell, **options):
    return cell(I, H, dtype=np.float64, rng=1, **options)


def case(states):
    """x, the initial states (1, B, H) each, dy."""
    rng = np.random.default_rng(2)
    return (
        rng.standard_normal((T, B, I)),
        [rng.standard_normal((1, B, H)) for _ in range(states)],
        rng.standard_normal((T, B, H)),
    )


def same(ours, theirs, rtol=1e-9):
    theirs = theirs.detach().numpy() if hasattr(theirs, "detach") else theirs
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())
    assert np.abs(theirs).max() > 1e-3  # it says something


def put(module, values):
    """Parameters of a PyTorch module, by name."""
    import torch

    with torch.no_grad():
        for name, value in values.items():
            found = module.get_parameter(name)
            found.copy_(torch.from_numpy(np.ascontiguousarray(value)).reshape(found.shape))


@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
def test_cfc_of_ncps(mode):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
    ncps = pytest.importorskip("ncps.torch", reason="ncps is not installed (pip install ncps)")
    net = layer(zoo.CfC, mode=mode)
    p = {name.removesuffix("_l0"): a for name, a in net.params.items()}
    rng = np.random.default_rng(3)
    if mode == "pure":
        p["A"][...], p["w"][...] = rng.uniform(0.5, 1.5, H), rng.uniform(-1, 1, H)
    theirs = ncps.CfCCell(I, H, mode=mode, backbone_units=H).double()
    blocks = {gate: slice(k * H, (k + 1) * H) for k, gate in enumerate(net._form.variant.h_gates)}
    names = {"ff1": "f"} if mode == "pure" else {"ff1": "f", "ff2": "g", "time_a": "s", "time_b": "t"}
    put(theirs, {"backbone.0.weight": np.hstack([p["weight_ih"], p["weight_hh"][blocks["b"]]])})
    put(theirs, {"backbone.0.bias": p["bias_ih"] + p["bias_hh"][blocks["b"]]})
    for name, gate in names.items():
        put(theirs, {f"{name}.weight": p["weight_hh"][blocks[gate]], f"{name}.bias": p["bias_hh"][blocks[gate]]})
    if mode == "pure":
        put(theirs, {"A": p["A"], "w_tau": p["w"]})
    x, (h0,), dy = case(1)
    dt = rng.uniform(0.1, 2, (T, B))
    y, _, tape = net.record(x, h0, inputs={"dt": dt})
    g = tape.backward(dy)
    tx, tdt, h = (torch.from_numpy(a).requires_grad_() for a in (x, dt, h0[0]))
    state, ys = h, []
    for t in range(T):
        one, state = theirs(tx[t], state, tdt[t][:, None])
        ys.append(one)
    torch.stack(ys).backward(torch.from_numpy(dy))
    same(y, torch.stack(ys))
    for ours, leaf in ((g.x, tx), (g.inputs["dt"], tdt), (g.state[0], h)):
        same(ours, leaf.grad)
    for name, gate in names.items():
        same(g.params["weight_hh_l0"][blocks[gate]], theirs.get_parameter(f"{name}.weight").grad)
    if mode == "pure":
        same(g.params["A_l0"], theirs.A.grad[0])
        same(g.params["w_l0"], theirs.w_tau.grad[0])


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("surrogate", ["atan", "fast_sigmoid", "sigmoid"])
def test_lif_of_snntorch(reset, surrogate, monkeypatch):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
    snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed (pip install snntorch)")
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # its spikes are float32 in layers of float64, too
    net = layer(zoo.LIF, reset=reset, surrogate=surrogate, threshold=0.3, decay=0.8)
    p = {name.removesuffix("_l0"): a for name, a in net.params.items()}
    function = getattr(snntorch.surrogate, surrogate)()
    theirs = snntorch.RLeaky(0.8, linear_features=H, threshold=0.3, spike_grad=function, reset_mechanism=reset).double()
    theirs.beta, theirs.threshold = theirs.beta.new_tensor(0.8), theirs.threshold.new_tensor(0.3)  # not rounded to float32
    put(theirs, {"recurrent.weight": p["weight_hh"], "recurrent.bias": p["bias_hh"]})
    x, (s0, v0), dy = case(2)
    s0 = (s0 > 0).astype(np.float64)
    y, (_, v), tape = net.record(x, (s0, v0))
    g = tape.backward(dy)
    tx, s1, v1, w, b = (torch.from_numpy(a).requires_grad_() for a in (x, s0[0], v0[0], p["weight_ih"], p["bias_ih"]))
    spikes, mem, ys = s1, v1, []
    for t in range(T):
        spikes, mem = theirs(torch.nn.functional.linear(tx[t], w, b), spikes, mem)
        ys.append(spikes)
    assert 0.1 < y.mean() < 0.9
    torch.stack(ys).backward(torch.from_numpy(dy))
    same(y, torch.stack(ys))
    same(v[0], mem)
    for ours, leaf in ((g.x, tx), (g.state[0][0], s1), (g.state[1][0], v1), (g.params["weight_ih_l0"], w)):
        same(ours, leaf.grad)
    same(g.params["weight_hh_l0"], theirs.recurrent.weight.grad)


def test_peephole_of_onnx():
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install onnx)")
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    net = layer(zoo.LSTM, peephole=True)
    p = {name.removesuffix("_l0"): a for name, a in net.params.items()}
    order = [net._form.variant.x_gates.index(gate) for gate in "iofg"]

    def blocks(a):
        return a.reshape(4, H, -1)[order].reshape(1, *a.shape)

    x, (h0, c0), _ = case(2)
    bias = np.hstack([blocks(p["bias_ih"]), blocks(p["bias_hh"])])
    peepholes = np.concatenate([p["p_i"], p["p_o"], p["p_f"]])[None]
    feeds = {"X": x, "W": blocks(p["weight_ih"]), "R": blocks(p["weight_hh"]), "B": bias}
    feeds |= {"initial_h": h0, "initial_c": c0, "P": peepholes}
    results = {"Y": (T, 1, B, H), "Y_h": (1, B, H), "Y_c": (1, B, H)}
    node = helper.make_node("LSTM", ["X", "W", "R", "B", "", "initial_h", "initial_c", "P"], list(results), hidden_size=H)
    kinds = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, a.shape) for name, a in feeds.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name, shape in results.items()]
    model = helper.make_model(helper.make_graph([node], "lstm", kinds, ends), opset_imports=[helper.make_opsetid("", 22)])
    onnx.checker.check_model(model)
    expected, last_h, last_c = ReferenceEvaluator(model).run(None, feeds)
    y, (h, c) = net(x, (h0, c0))
    same(y, expected[:, 0])
    same(h, last_h)
    same(c, last_c)


KERAS = """
import sys
import numpy as np
import torch
import keras
from keras.src.backend.common import dtypes
keras.config.set_floatx("float64")  # else what comes from NumPy is rounded to float32, and so are products
dtypes.result_type = lambda *given: "float64"
given = np.load(sys.argv[1])
cell = getattr(keras.layers, sys.argv[2] + "Cell")(5, recurrent_dropout=0.25, dtype="float64", **eval(sys.argv[3]))
cell.build((4, 3))
cell.set_weights([given["kernel"], given["recurrent"], given["bias"]])
masks = given["masks"]
cell._recurrent_dropout_mask = [torch.from_numpy(m) for m in masks] if len(masks) > 1 else torch.from_numpy(masks[0])
x = torch.from_numpy(given["x"]).requires_grad_()
states, ys = [torch.from_numpy(a) for a in given["states"]], []
for x_t in x:
    y, states = cell.call(x_t, states, training=True)
    ys.append(y)
torch.stack(ys).backward(torch.from_numpy(given["dy"]))
found = {"y": torch.stack(ys).detach(), "dx": x.grad, "d_recurrent": cell.recurrent_kernel.value.grad}
np.savez(sys.argv[4], **{name: a.numpy() for name, a in found.items()})
"""
CASES = {  # Keras's cell and arguments, ours, and the gates in Keras's order
    "LSTM": ("LSTM", {"activation": "softsign", "recurrent_activation": "hard_tanh"}, zoo.LSTM, {}, "ifgo"),
    "LSTM, elu": ("LSTM", {"activation": "elu", "recurrent_activation": "sigmoid"}, zoo.LSTM, {}, "ifgo"),
    "GRU": ("GRU", {"activation": "softplus", "reset_after": False}, zoo.GRU, {"reset_after": False}, "zrn"),
    "GRU, reset after": ("GRU", {"activation": "relu"}, zoo.GRU, {}, "zrn"),
}


@pytest.mark.parametrize("name", CASES)
def test_masks_and_activations_of_keras(name, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
    if importlib.util.find_spec("keras") is None:  # it must be imported with its own environment
        pytest.skip("Keras is not installed (pip install keras)")
    theirs, arguments, cell, own, gates = CASES[name]
    options = {k: v for k, v in arguments.items() if k != "reset_after"}
    net = layer(cell, recurrent_dropout=0.25, **own, **options)
    variant = net._form.variant
    assert set(variant.x_gates) == set(gates)
    p = {key.removesuffix("_l0"): a for key, a in net.params.items()}
    states = len(variant.states)
    two_biases = theirs == "GRU" and arguments.get("reset_after", True)
    if not two_biases:
        p["bias_hh"][...] = 0

    def blocks(a, of):
        order = [of.index(gate) for gate in gates]
        return a.reshape(len(gates), H, *a.shape[1:])[order].reshape(a.shape)

    x, initial, dy = case(states)
    rng = np.random.default_rng(4)
    masks = (rng.random((len(gates), B, H)) < 0.75) / 0.75
    biases = [blocks(p["bias_ih"], variant.x_gates), blocks(p["bias_hh"], variant.h_gates)]
    np.savez(
        tmp_path / "given.npz",
        kernel=blocks(p["weight_ih"], variant.x_gates).T,
        recurrent=blocks(p["weight_hh"], variant.h_gates).T,
        bias=np.array(biases) if two_biases else biases[0],
        masks=masks,
        x=x,
        dy=dy,
        states=np.concatenate(initial),
    )
    program = [sys.executable, "-c", KERAS, tmp_path / "given.npz", theirs, repr(arguments), tmp_path / "found.npz"]
    done = subprocess.run(program, env={**os.environ, "KERAS_BACKEND": "torch"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = np.load(tmp_path / "found.npz")
    draws = {f"m_{gate}": masks[k] for k, gate in enumerate(gates)}
    y, _, tape = net.record(x, tuple(initial) if states > 1 else initial[0], draws=draws)
    g = tape.backward(dy)
    same(y, expected["y"])
    same(g.x, expected["dx"])
    same(blocks(g.params["weight_hh_l0"], variant.h_gates).T, expected["d_recurrent"])
