"""Layers and checkpoints in safetensors files; what is hostile, or cannot be read, is a clear error."""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import tracemalloc

import numpy as np
import pytest
import stacks
from foreign import a_file, close, same_params, saved, tensor

import rnnfast
from rnnfast import weights, zoo


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", ["lstm", "gru", "simple_rnn", "zoo", "own"])
def test_layers_in_safetensors(safetensors, kind, frozen, tmp_path, dtype):
    if kind == "own":

        @rnnfast.cell(gates="a", states="h", vectors="p")
        def Own(x, U, h, p, *, share=0.5):
            return share * h + p * np.tanh(x.a + U.a @ h)

        net = Own(3, 4, rng=0, dtype=dtype, share=0.25)
    elif kind == "zoo":
        net = zoo.LSTM(3, 4, 2, peephole=True, zoneout_h=0.5, rng=0, dtype=dtype)
    else:
        net = stacks.make(kind, input_size=3, hidden_size=4, num_layers=2, bidirectional=True, batch_first=True, dtype=dtype)
    net = net.freeze() if frozen else net
    file = tmp_path / "net.safetensors"
    net.save(file)
    assert os.listdir(tmp_path) == ["net.safetensors"]
    x = stacks.draw(5, 6, 3, dtype=dtype)
    with open(file, "rb") as stream:
        loaded = [rnnfast.load(file), rnnfast.load(str(file)), rnnfast.load(stream), rnnfast.load(io.BytesIO(saved(net)))]
    npz = io.BytesIO()
    net.save(npz)
    assert npz.getvalue().startswith(b"PK")
    for again in (*loaded, rnnfast.load(io.BytesIO(npz.getvalue()))):
        assert (
            again._arguments() == net._arguments()
            and again.rng is None
            and same_params(again, net)
            and stacks.same(again(x), net(x))
        )
        assert all(a.flags.writeable != frozen and a.flags.aligned for a in again.params.values())
    arrays = safetensors.numpy.load_file(file)
    assert arrays.keys() == net.params.keys() and all(np.array_equal(arrays[name], a) for name, a in net.params.items())
    assert stacks.same(tuple(weights.read_safetensors(file)[name] for name in net.params), tuple(net.params.values()))


def test_a_loaded_layer_trains(safetensors):
    net = rnnfast.load(io.BytesIO(saved(stacks.small("lstm", num_layers=2))))
    y, _, tape = net.record(stacks.draw(4, 3, net.input_size))
    for name, gradient in tape.backward(y).params.items():
        net.params[name][...] -= 0.1 * gradient
    assert not np.array_equal(net(stacks.draw(4, 3, net.input_size))[0], y)


def test_without_the_package(monkeypatch, tmp_path):
    file = tmp_path / "net.safetensors"
    file.write_bytes(a_file({}))
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    net = stacks.small("gru")
    for call in (lambda: net.save(file), lambda: rnnfast.load(file), lambda: weights.read_safetensors(file)):
        with pytest.raises(
            ModuleNotFoundError, match=r'^safetensors: expected the package .*pip install "rnnfast\[safetensors\]"$'
        ):
            call()
    assert file.read_bytes() == a_file({})


def test_without_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r'^onnx: expected the package .*pip install "rnnfast\[onnx\]"$'):
        weights.from_onnx("model.onnx")


def test_a_checkpoint_of_torch_without_torch(torch, safetensors, tmp_path):
    from safetensors.torch import save_file

    model = torch.nn.ModuleDict(
        {"encoder": torch.nn.ModuleDict({"rnn": torch.nn.LSTM(3, 4, 2)}), "head": torch.nn.Linear(2, 3)}
    )
    x, file = torch.randn(5, 2, 3), tmp_path / "model.safetensors"
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        rounded = {name: a.to(dtype) for name, a in model.state_dict().items()}
        save_file({**rounded, "other": torch.zeros(3, dtype=torch.float8_e5m2)}, file)
        with open(file, "rb") as stream:
            found = weights.read_safetensors(stream, prefix="encoder")
        assert found and all(name.startswith("encoder") for name in found)
        kept = torch.float64 if dtype == torch.float64 else torch.float32
        assert all(np.array_equal(a, rounded[name].to(kept)) for name, a in found.items())
        with pytest.raises(ValueError, match=rf"^{file}: other: expected a dtype that NumPy has, or BF16, got F8_E5M2"):
            weights.read_safetensors(file)
        net = weights.from_torch(found, prefix="encoder.rnn")
        module = torch.nn.LSTM(3, 4, 2, dtype=kept)
        module.load_state_dict({name.removeprefix("encoder.rnn."): a.to(kept) for name, a in rounded.items() if "rnn" in name})
        assert close(net(x.to(kept))[0], module(x.to(kept))[0].detach())


def test_every_dtype_and_shape(safetensors):
    codes = ("f8", "f4", "f2", "c8", "?", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1")
    arrays = {name: (np.arange(6).reshape(2, 3) % 2).astype(name) for name in codes}
    arrays |= {"none": np.zeros((0, 3)), "number": np.array(3.0), "one": np.zeros((1, 0, 2), "i4")}
    content = safetensors.numpy.save(arrays)
    found = weights.read_safetensors(io.BytesIO(content))
    assert found.keys() == arrays.keys()
    places = [content.index(b'"%s":{' % name.encode()) for name in found]
    assert places == sorted(places)  # the order of the file
    for name, a in arrays.items():
        assert found[name].dtype == (np.float32 if name == "f2" else a.dtype) and found[name].shape == a.shape
        assert np.array_equal(found[name], a) and found[name].flags.writeable
    bits = weights.read_safetensors(io.BytesIO(a_file({"a": tensor(0, 3, (3,), "BOOL")}, b"\x00\x01\x07")))["a"]
    assert bits.dtype == bool and bits.tobytes() == b"\x00\x01\x01"
    patterns = np.arange(2**16, dtype=np.uint16)
    found = weights.read_safetensors(io.BytesIO(a_file({"a": tensor(0, 2**17, (2**16,), "BF16")}, patterns.tobytes())))["a"]
    assert np.array_equal(found.view(np.uint32), patterns.astype(np.uint32) << 16)  # all of bfloat16, NaN and infinity too


F = tensor(0, 4)
HOSTILE = {  # content, what the error says
    "empty": (b"", "starts with b''"),
    "no file of this kind": (b"PK\x05\x06 and more", "starts with b'PK"),
    "a file of PyTorch": (b"PK\x03\x04 and more", r"PyTorch reads a .pt file: torch.load\(path, weights_only=True\)"),
    "a length and no more": (struct.pack("<Q", 2), "starts with b"),
    "spaces before the header": (a_file(b"  {}"), "starts with b"),
    "a header beyond the file": (a_file(b"{}", size=99_000_000), "invalid header length"),
    "a header of 2**63 bytes": (a_file(b"{}", size=2**63), "header too large"),
    "a header of 2**64 - 1 bytes": (a_file(b"{}", size=2**64 - 1), "header too large"),
    "a header of no bytes": (a_file(b"", b"{}"), "invalid|header"),
    "no JSON": (a_file(b"{a}"), "invalid JSON"),
    "no UTF-8": (a_file(b'{"\xff": 1}'), "invalid UTF-8"),
    "NaN": (a_file(b'{"a": NaN}'), "invalid JSON"),
    "NaN as an offset": (a_file(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [NaN, 4]}}', bytes(4)), "invalid JSON"),
    "deep JSON": (a_file(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "recursion limit"),
    "deep objects": (a_file(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "invalid JSON"),
    "metadata that are no texts": (a_file({"__metadata__": {"a": 1}}), "invalid JSON"),
    "two of one name": (a_file(b'{"a": %s, "a": %s}' % ((json.dumps(F).encode(),) * 2), bytes(4)), "two entries of one name"),
    "two fields of one name": (a_file(b'{"a": {"dtype": "F32", "dtype": "F32"}}', bytes(4)), "duplicate field"),
    "two metadata of one name": (a_file(b'{"__metadata__": {"a": "1", "a": "2"}}'), "two entries of one name"),
    "overlap": (a_file({"a": F, "b": F}, bytes(4)), "invalid offset"),
    "partial overlap": (a_file({"a": tensor(0, 8, (2,)), "b": tensor(4, 12, (2,))}, bytes(12)), "invalid offset"),
    "a hole": (a_file({"a": F, "b": tensor(8, 12)}, bytes(12)), "invalid offset"),
    "bytes after the data": (a_file({"a": F}, bytes(5)), "incomplete|not fully covered"),
    "cut": (a_file({"a": F}, bytes(3)), "incomplete|not fully covered"),
    "negative offsets": (a_file({"a": tensor(-4, 0)}, bytes(4)), "invalid value: integer `-4`"),
    "offsets the other way": (a_file({"a": tensor(4, 0)}, bytes(4)), "invalid|offset"),
    "offsets of 2**64": (a_file({"a": tensor(0, 2**64)}, bytes(4)), "invalid"),
    "a float as an offset": (a_file({"a": tensor(0.0, 4.0)}, bytes(4)), "invalid type"),
    "a shape of another size": (a_file({"a": tensor(0, 4, (2,))}, bytes(4)), "invalid"),
    "a negative shape": (a_file({"a": tensor(0, 4, (-1, -1))}, bytes(4)), "invalid value"),
    "a shape that overflows": (a_file({"a": tensor(0, 4, (2**40, 2**40))}, bytes(4)), "overflow"),
    "a bool in a shape": (a_file({"a": tensor(0, 4, (True,))}, bytes(4)), "invalid type"),
    "an unknown dtype": (a_file({"a": tensor(0, 4, dtype="F99")}, bytes(4)), "unknown variant"),
    "a dtype that NumPy has not": (
        a_file({"a": tensor(0, 1, dtype="F8_E4M3")}, bytes(1)),
        "a: expected a dtype that NumPy has",
    ),
    "100 axes": (a_file({"a": tensor(0, 4, (1,) * 100)}, bytes(4)), "a: expected a shape that NumPy can have"),
    "an axis of 2**62 beside one of 0": (a_file({"a": tensor(0, 0, (2**62, 2**62, 0))}), "a: expected a shape|overflow"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(safetensors, name, tmp_path):
    content, text = HOSTILE[name]
    file = tmp_path / "hostile.safetensors"
    file.write_bytes(content)
    tracemalloc.start()
    try:
        for given in (file, str(file), io.BytesIO(content)):
            with pytest.raises(ValueError, match=text) as told:
                weights.read_safetensors(given)
            assert str(told.value).startswith("file: " if given is not file and not isinstance(given, str) else f"{file}: ")
            with pytest.raises(ValueError, match="expected"):
                rnnfast.load(given)
        assert tracemalloc.get_traced_memory()[1] < 30 * len(content) + 1_000_000
    finally:
        tracemalloc.stop()


def redescribed(net, change, header=lambda h: h):
    """Its file with another description and header."""
    content = saved(net)
    size = int.from_bytes(content[:8], "little")
    found = json.loads(content[8 : 8 + size])
    text = found["__metadata__"]["description.json"]
    found["__metadata__"]["description.json"] = change(text)
    return a_file(header(found), content[8 + size :])


def test_hostile_descriptions(safetensors):
    """The checks of .npz files: they are the same ones."""
    net = stacks.small("gru", I=2, H=3)

    def refuse(text, content):
        with pytest.raises(ValueError, match=text):
            rnnfast.load(io.BytesIO(content))

    def arguments(**changes):
        def change(text):
            found = json.loads(text)
            return json.dumps({**found, "arguments": {**found["arguments"], **changes}})

        return redescribed(net, change)

    for text in ("", "{", "[" * 100_000, '{"version": 1' + "1" * 5000 + "}", "\x00"):
        refuse("^file: description.json: expected JSON, got", redescribed(net, lambda _, text=text: text))
    refuse("^file: description.json: expected an object, got list", redescribed(net, lambda _: "[]"))
    refuse("^file: format: expected one of 'rnnfast layer', got None", redescribed(net, lambda _: "{}"))
    refuse("^file: weight_ih_l0: expected float32 .3145728, 2., got F32 .9, 2.", arguments(hidden_size=2**20))
    refuse("^file: weight_ih_l0: expected float64 .9, 2., got F32 .9, 2.", arguments(dtype="float64"))
    refuse(".*expected an array of at most", arguments(input_size=2**40, hidden_size=2**40))
    refuse("^file: entries: .* got missing", arguments(num_layers=10_000))
    for value in (float("nan"), 1e400, "0.5"):
        refuse("^file: dropout: expected a number between 0 and 1", arguments(dropout=value))
    renamed = redescribed(net, str, lambda h: {("more" if k == "weight_ih_l0" else k): v for k, v in h.items()})
    refuse("^file: entries: expected the names .* got missing weight_ih_l0", renamed)
    refuse("^file: expected an entry description.json, got none; rnnfast.weights reads", a_file({"a": F}, bytes(4)))
    same = redescribed(net, str)
    assert same_params(rnnfast.load(io.BytesIO(same)), net)
