"""500 random configurations against PyTorch: outputs, states and all gradients, ragged batches through packed sequences."""

import random

import numpy as np
import pytest
import stacks

import rnnfast
from rnnfast.proof.prove import error

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")

BOUNDS = {"float64": 1e-9, "float32": 1e-4}


def random_configuration(seed):
    rng = random.Random(seed)
    cell, nonlinearity = rng.choice([("simple_rnn", "tanh"), ("simple_rnn", "relu"), ("lstm", None), ("gru", None)])
    row = {
        "cell": cell,
        "nonlinearity": nonlinearity,
        # a relu unit that rounding moves across its kink has another gradient: no error, so float64 only
        "dtype": "float64" if nonlinearity == "relu" else rng.choice(["float32", "float64"]),
        "layers": rng.choice([1, 2, 3]),
        "bidirectional": rng.random() < 0.5,
        "bias": rng.random() < 0.7,
        "batch_first": rng.random() < 0.5,
        "ragged": rng.random() < 0.5,
        "state": rng.random() < 0.6,
        "isa": rng.choice(rnnfast.runtime.PRESENT),
        "threads": rng.choice([1, 2, 3]),
        "checkpoint": rng.choice([None, None, 1, 4]),
    }
    sizes = {name: rng.randint(1, high) for name, high in (("T", 14), ("B", 12), ("I", 40), ("H", 70))}
    return {**row, **sizes}


@pytest.mark.parametrize("seed", range(500))
def test_against_torch(seed, small_work_splits):
    row = random_configuration(seed)
    dtype, rng = np.dtype(row["dtype"]), np.random.default_rng(seed)
    shared = {"bias": row["bias"], "batch_first": row["batch_first"], "bidirectional": row["bidirectional"]}
    option = {"nonlinearity": row["nonlinearity"]} if row["nonlinearity"] else {}
    net = stacks.make(
        row["cell"], input_size=row["I"], hidden_size=row["H"], num_layers=row["layers"], dtype=dtype, seed=rng,
        **shared, **option,
    )  # fmt: skip
    kind = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[row["cell"]]
    peer = kind(row["I"], row["H"], row["layers"], dtype=getattr(torch, row["dtype"]), **shared, **option)
    assert [name for name, _ in peer.named_parameters()] == list(net.params)
    with torch.no_grad():
        for name, parameter in peer.named_parameters():
            parameter.copy_(torch.from_numpy(net.params[name]))

    T, B, D = row["T"], row["B"], 2 if row["bidirectional"] else 1
    lengths = rng.integers(1, T + 1, B) if row["ragged"] else None
    if lengths is not None:
        lengths[rng.integers(B)] = T  # a packed sequence is as long as its longest
    x = rng.standard_normal((B, T, row["I"]) if row["batch_first"] else (T, B, row["I"])).astype(dtype)
    dy = rng.standard_normal((*x.shape[:2], D * row["H"])).astype(dtype)

    def state():
        return [rng.standard_normal((row["layers"] * D, B, row["H"])).astype(dtype) for _ in net.cell.states]

    initial, dstate = state() if row["state"] else None, state()

    rnnfast.set_num_threads(row["threads"])
    with rnnfast.use_isa(row["isa"]):
        y, final, tape = net.record(
            x,
            None if initial is None else stacks.as_argument(initial),
            lengths=lengths,
            checkpoint_every=row["checkpoint"],
        )
        g = tape.backward(dy, stacks.as_argument(dstate))

    tx = torch.from_numpy(x).requires_grad_()
    starts = [torch.from_numpy(a).requires_grad_() for a in (initial or [np.zeros_like(a) for a in dstate])]
    start = tuple(starts) if len(starts) == 2 else starts[0]
    if lengths is None:
        ty, tfinal = peer(tx, start)
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(tx, lengths, row["batch_first"], enforce_sorted=False)
        ty, tfinal = peer(packed, start)
        ty, _ = torch.nn.utils.rnn.pad_packed_sequence(ty, row["batch_first"])
    tfinal = tfinal if isinstance(tfinal, tuple) else (tfinal,)
    total = (ty * torch.from_numpy(dy)).sum() + sum(
        (a * torch.from_numpy(d)).sum() for a, d in zip(tfinal, dstate, strict=True)
    )
    total.backward()

    pairs = [("y", y, ty), ("dx", g.x, tx.grad)]
    pairs += [("state", a, b) for a, b in zip(stacks.as_tuple(final), tfinal, strict=True)]
    pairs += [("dstate", a, b.grad) for a, b in zip(stacks.as_tuple(g.state), starts, strict=True)]
    pairs += [(name, g.params[name], parameter.grad) for name, parameter in peer.named_parameters()]
    errors = {name: error(a, b.detach().numpy()) for name, a, b in pairs}
    assert max(errors.values()) <= BOUNDS[row["dtype"]], (row, errors)
