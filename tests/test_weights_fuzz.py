"""Files and arrays that nobody wrote: whatever comes from elsewhere becomes a layer that works, or a clear error."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
import stacks
from foreign import a_file, filled, needs, node_model, saved

import rnnfast
from rnnfast import weights, zoo

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed (pip install hypothesis)")
st = hypothesis.strategies
FUZZ = hypothesis.settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck), database=None
)
CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["set", "cut", "insert", "delete"]), st.integers(0, 255)), min_size=1, max_size=6
)


def changed(content, changes):
    found = bytearray(content)
    for place, what, value in changes:
        at = int(place * len(found))
        if what == "cut":
            del found[at:]
        elif what == "insert":
            found[at:at] = bytes([value])
        elif what == "delete":
            del found[at : at + 1 + value % 8]
        elif at < len(found):
            found[at] = value
    return bytes(found)


def works(net):
    """A layer that was loaded computes, or runs into its own numbers."""
    with np.errstate(all="ignore"):
        assert net(np.zeros((1, 1, net.input_size), net.dtype))[0].size == net.hidden_size * (1 + net.bidirectional)


@FUZZ
@hypothesis.given(changes=CHANGES, formula=st.booleans(), header_only=st.booleans())
def test_changed_files(changes, formula, header_only):
    """Whatever was changed in a valid file: a ValueError that names it, or a layer that works."""
    needs("safetensors", "safetensors")
    content = VALID[formula]()
    size = 8 + int.from_bytes(content[:8], "little")
    if header_only:  # with its length put right, so that what is inside is reached
        header = changed(content[8:size], changes)
        damaged = a_file(header, content[size:])
    else:
        damaged = changed(content, changes)
    for read in (weights.read_safetensors, rnnfast.load):
        try:
            found = read(io.BytesIO(damaged))
        except ValueError as problem:
            assert str(problem).startswith("file: ")
        else:
            if read is rnnfast.load:
                works(found)


VALID = {
    False: cache(lambda: saved(stacks.small("lstm", I=2, H=3, num_layers=2))),
    True: cache(lambda: saved(zoo.MGU(2, 3, rng=0))),
}


@FUZZ
@hypothesis.given(changes=CHANGES)
def test_changed_models(changes, tmp_path_factory):
    onnx = needs("onnx", "ONNX")
    net, _ = filled("gru", {"input_size": 2, "hidden_size": 3}, 0)
    content = node_model(onnx, "gru", weights.to_onnx(net)[0], 3, linear_before_reset=1).SerializeToString()
    file = tmp_path_factory.mktemp("changed") / "model.onnx"
    file.write_bytes(changed(content, changes))
    try:
        works(weights.from_onnx(file))
    except (ValueError, TypeError) as problem:
        assert "expected" in str(problem)


@FUZZ
@hypothesis.given(data=st.data(), kind=st.sampled_from(["torch", "keras", "onnx"]))
def test_arrays_of_any_shape(data, kind):
    """A ValueError, or a layer that works."""
    shape = st.lists(st.integers(0, 8), max_size=3).map(tuple)
    array = st.one_of(
        shape, st.sampled_from([(8, 2), (6, 2), (2, 2), (2, 8), (2, 6), (6,), (8,), (2, 6), (1, 8, 2), (1, 16), (2, 6, 2)])
    ).map(np.ones)
    try:
        if kind == "torch":
            names = [
                "weight_ih_l0",
                "weight_hh_l0",
                "bias_ih_l0",
                "bias_hh_l0",
                "weight_ih_l1",
                "weight_hh_l0_reverse",
                "weight_ih",
            ]
            net = weights.from_torch(data.draw(st.dictionaries(st.sampled_from(names), array)))
        elif kind == "keras":
            net = weights.from_keras(data.draw(st.lists(array, max_size=6)))
        else:
            net = weights.from_onnx(tuple(data.draw(st.lists(array, max_size=3))), reset_after=True)
    except (ValueError, TypeError) as problem:
        assert "expected" in str(problem)
    else:
        works(net)
