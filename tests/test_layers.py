"""Forward and every gradient of layers by value against the reference in float64: cell x dtype x ISA x direction x layers x
lengths x sizes, and against PyTorch where it is installed."""

import numpy as np
import pytest
import stacks
from covering import covering_set, random_set

import rnnfast
from rnnfast.proof.prove import BOUNDS, error


def name_of(row):
    cell, options = row["cell"]
    return "-".join(str(v) for v in (cell, *dict(options).values(), *list(row.values())[1:]))


def arguments(row):
    """The layer and random arguments of a configuration, in its dtype."""
    cell, options = row["cell"]
    dtype = np.dtype(row["dtype"])
    rng = np.random.default_rng(sum(map(ord, name_of(row))))
    net = stacks.make(
        cell,
        input_size=row["I"],
        hidden_size=row["H"],
        num_layers=row["layers"],
        bias=row["bias"],
        batch_first=row["batch_first"],
        bidirectional=row["direction"] == "both",
        dtype=dtype,
        seed=rng,
        **dict(options),
    )
    T, B, places = row["T"], row["B"], row["layers"] * (2 if net.bidirectional else 1)
    x = rng.standard_normal((B, T, row["I"]) if net.batch_first else (T, B, row["I"])).astype(dtype)
    dy = rng.standard_normal((*x.shape[:2], row["H"] * (2 if net.bidirectional else 1))).astype(dtype)
    lengths = {
        "all": None,
        "ragged": rng.integers(1, T + 1, B),
        "zeros": np.where(rng.random(B) < 0.5, 0, rng.integers(0, T + 1, B)),
    }[row["lengths"]]

    def state():
        parts = [rng.standard_normal((places, B, row["H"])).astype(dtype) for _ in net.cell.states]
        return stacks.as_argument(parts) if row["state"] else None

    initial, dstate = state(), state()
    if dict(options).get("nonlinearity") == "relu":
        # away from relu's kink, where rounding alone flips a gradient: weights of one sign a row, positive inputs
        for i, (name, value) in enumerate(net.params.items()):
            sign = np.where((np.arange(len(value)) + i // 4) % 3, 1, -1).astype(dtype)
            value[...] = (np.abs(value).T * sign).T
            if name.startswith("weight_ih") and value.shape[1] > 1:
                value[:, 0] += sign * dtype.type(0.1)
        for name, value in net.params.items():  # rows of one direction agree in sign across all its parameters
            lead = net.params[name.replace("bias", "weight").replace("_hh_", "_ih_")]
            value[...] = np.abs(value) * np.sign(lead[:, :1] if value.ndim == 2 else lead[:, 0])
        x = np.abs(x) + dtype.type(0.1)
        initial = None if initial is None else np.abs(initial)
    return net, x, initial, lengths, dy, dstate


def to64(value):
    if isinstance(value, tuple):
        return tuple(a.astype(np.float64) for a in value)
    return None if value is None else value.astype(np.float64)


@pytest.mark.parametrize("row", covering_set() + random_set(200), ids=name_of)
def test_against_the_reference(row, small_work_splits):
    net, x, initial, lengths, dy, dstate = arguments(row)
    kept = [a.copy() for a in (x, dy)]
    rnnfast.set_num_threads(row["threads"])
    with rnnfast.use_isa(row["isa"]):
        y, state, tape = net.record(x, initial, lengths=lengths, checkpoint_every=row["checkpoint"])
        again, state_again = net(x, initial, lengths=lengths)
        g = tape.backward(dy, dstate)
    ry, rstate, rdx, rdstate, rparams = stacks.run(net, to64(x), to64(initial), lengths, to64(dy), to64(dstate))

    assert np.array_equal(y, again)  # record and inference: the same bits
    assert all(map(np.array_equal, stacks.as_tuple(state), stacks.as_tuple(state_again)))
    errors = {"y": error(y, ry), "dx": error(g.x, rdx)}
    for letter, a, b in zip(net.cell.states, stacks.as_tuple(state), rstate, strict=True):
        errors[letter] = error(a, b)
    for letter, a, b in zip(net.cell.states, stacks.as_tuple(g.state), rdstate, strict=True):
        errors[f"d{letter}"] = error(a, b)
    assert g.params.keys() == rparams.keys() == net.params.keys()
    for name, value in g.params.items():
        errors[name] = error(value, rparams[name])
    assert max(errors.values()) <= BOUNDS[row["dtype"]], errors
    assert np.array_equal(x, kept[0]) and np.array_equal(dy, kept[1])  # inputs are not modified


def test_the_set_covers_every_pair():
    import itertools

    from covering import FACTORS

    rows = covering_set()
    for a, b in itertools.combinations(FACTORS, 2):
        met = {(row[a], row[b]) for row in rows}
        assert met == set(itertools.product(FACTORS[a], FACTORS[b])), (a, b)


@pytest.mark.parametrize(("cell", "order"), [("lstm", "i f o g"), ("gru", "zrn")])
def test_load_params_in_another_order_of_gates(cell, order):
    """From transposed arrays in Fortran order too, as Keras keeps them."""
    a, b = stacks.make(cell, input_size=3, hidden_size=4, seed=0), stacks.make(cell, input_size=3, hidden_size=4, seed=1)
    own, letters = a.cell.gates, order.replace(" ", "")
    moved = {name: np.concatenate([np.split(p, len(own))[own.index(g)] for g in letters]) for name, p in a.params.items()}
    b.load_params({name: np.asfortranarray(value) for name, value in moved.items()}, gate_order=order)
    assert all(np.array_equal(b.params[name], value) for name, value in a.params.items())
    with pytest.raises(ValueError, match="^gate_order: expected the letters"):
        b.load_params(moved, gate_order="i f")
