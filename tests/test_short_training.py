"""Short training passes of layers take a way of their own, which gives the same bits as the general one."""

import itertools

import numpy as np
import pytest

import rnnfast
from rnnfast._engine.tapes import PlainTape
from rnnfast.layers import LAYERS
from rnnfast.zoo import CELLS

FORMULAS = {f"zoo.{name}": cell for name, cell in CELLS.items() if cell(2, 3)._plain is not None}
FORMS = [
    {"num_layers": layers, "bidirectional": both, "batch_first": first, "bias": bias, "dtype": dtype}
    for layers, both, first, bias, dtype in itertools.product((1, 2, 4), *[(False, True)] * 3, (np.float32, np.float64))
]


def record(net, x, state, *, general=False, **options):
    """What `record` gives, on the general way if wanted."""
    plain = net._plain
    net.__dict__["_plain"] = None if general else plain
    try:
        y, last, tape = net.record(x, state, **options)
    finally:
        net.__dict__["_plain"] = plain
    return y, last, tape


def arrays(value):
    return list(value) if isinstance(value, tuple) else [value]


def same(ours, general):
    for a, b in zip(ours, general, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_which_cells_take_it():
    others = {name for name in CELLS if f"zoo.{name}" not in FORMULAS}
    assert others == {name for name, cell in CELLS.items() if cell(2, 3)._form.variant.inputs or cell(2, 3)._form.variant.draws}
    assert len(FORMULAS) > 10


@pytest.mark.parametrize("cell", [*LAYERS, *FORMULAS])
@pytest.mark.parametrize("given", ["nothing", "all", "some"])
def test_the_same_bits(cell, given):
    rng = np.random.default_rng(0)
    for form in FORMS if cell in LAYERS else FORMS[:: 1 + len(FORMS) // 12]:
        net = {**LAYERS, **FORMULAS}[cell](3, 5, rng=1, **form)
        x = rng.standard_normal((2, 4, 3)).astype(net.dtype)

        def states(net=net, B=2 if form["batch_first"] else 4):
            one = [rng.standard_normal((net._form.places, B, 5)).astype(net.dtype) for _ in net._form.variant.states]
            if given == "some":
                one[-1] = None
            return None if given == "nothing" else tuple(one) if len(one) > 1 else one[0]

        state, dstate = states(), states()
        (y, last, tape), (general_y, general_last, general) = record(net, x, state), record(net, x, state, general=True)
        assert type(tape) is PlainTape and type(general) is not PlainTape
        same([y, *arrays(last)], [general_y, *arrays(general_last)])
        need_x, dy = bool(rng.integers(2)), rng.standard_normal(y.shape).astype(net.dtype)
        g, other = tape.backward(dy, dstate, need_x=need_x), general.backward(dy, dstate, need_x=need_x)
        assert list(g.params) == list(other.params) == list(net.params)
        same([g.flat, *g.params.values(), *arrays(g.state)], [other.flat, *other.params.values(), *arrays(other.state)])
        assert (g.x is not None) == (other.x is not None) == need_x
        if need_x:
            same([g.x], [other.x])


def test_gradients_are_views_of_flat():
    net = rnnfast.LSTM(3, 5, 2, bidirectional=True)
    y, _, tape = net.record(np.ones((4, 2, 3), np.float32))
    g = tape.backward(2 * y)
    g.flat[...] = np.arange(g.flat.size)
    assert np.array_equal(np.concatenate([a.ravel() for a in g.params.values()]), np.arange(g.flat.size))


def test_y_stays_read_only_and_the_given_state_is_copied():
    net, state = rnnfast.GRU(3, 5), np.ones((1, 2, 5), np.float32)
    y, _, tape = net.record(np.ones((4, 2, 3), np.float32), state)
    with pytest.raises(ValueError):
        y.flags.writeable = True
    general = record(net, np.ones((4, 2, 3), np.float32), state, general=True)[2]
    state[...] = 7
    same([tape.backward(2 * y).flat], [general.backward(2 * y).flat])


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (np.ones((4, 3), np.float32), {}),
        (np.ones((3, 2, 4), np.float32).T, {}),
        (np.ones((4, 2, 3), np.float32)[::-1], {}),
        (np.ones((0, 2, 3), np.float32), {}),
        (np.ones((4, 2, 3), np.float32), {"lengths": [4, 2]}),
        (np.ones((4, 2, 3), np.float32), {"checkpoint_every": 2}),
        (np.ones((4096, 64, 3), np.float32), {}),
    ],
)
def test_what_is_unusual_takes_the_general_way(x, options):
    assert type(rnnfast.GRU(3, 5).record(x, **options)[2]) is not PlainTape
    assert type(rnnfast.GRU(3, 5, 2, dropout=0.5).record(np.ones((4, 2, 3), np.float32))[2]) is not PlainTape


def test_errors_are_the_general_ones_and_leave_the_tape_usable():
    net, x = rnnfast.LSTM(3, 5), np.ones((4, 2, 3), np.float32)
    for bad in (np.ones((4, 2, 2), np.float32), np.ones((4, 2, 3)), None):
        with pytest.raises((TypeError, ValueError), match="^x: expected"):
            net.record(bad)
    with pytest.raises(TypeError, match="^rng: expected"):
        net.record(x, rng="seven")
    y, _, tape = net.record(x)
    with pytest.raises(ValueError, match="^dy: expected"):
        tape.backward(y[:2])
    assert tape.backward(2 * y).x.shape == x.shape
    with pytest.raises(RuntimeError, match="got a second one"):
        tape.backward(y)


def test_modules_of_pytorch_take_the_short_way_too():
    """The same bits as on the general way, also where a tensor has another layout, or x gets other memory before backward."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from rnnfast._kernels._training import arrays_of
    from rnnfast.torch import GRU, LSTM, modules

    a = torch.arange(6.0).reshape(2, 3)
    for t in (a, a.T, torch._neg_view(a), a.double(), torch.nn.Parameter(a), a[:0], a[0, 0]):
        (array,) = arrays_of([t])
        same([array], [t.detach().clone().resolve_neg().numpy()])
    assert arrays_of([None]) == (None,)

    torch.manual_seed(0)
    for kind in (GRU, LSTM):
        for options in ({}, {"bidirectional": True, "num_layers": 2, "batch_first": True}, {"bias": False}):
            net, memory = kind(3, 5, **options), torch.randn(4, 2, 3)
            layer = modules._pass(
                net.mode, torch.float32, 0.0, 3, 5, net.num_layers, net.bias, net.batch_first, net.bidirectional
            ).layer
            plain, found = layer._plain, []
            for general in (False, True):
                layer.__dict__["_plain"] = None if general else plain
                try:
                    x = memory.clone().requires_grad_()
                    y, state = net(x)
                    assert (type(y.grad_fn.tape) is PlainTape) != general
                    x.data = torch.zeros(4, 2, 3)
                    grads = torch.autograd.grad((y**2).sum(), [x, *net.parameters()])
                finally:
                    layer.__dict__["_plain"] = plain
                found.append([t.detach().numpy() for t in (y, *(state if kind is LSTM else (state,)), *grads)])
            same(*found)


@pytest.mark.parametrize("kind", ["layer", "general", "batch first", "function", "inputs"])
def test_x_that_is_given_another_shape_before_backward(kind):
    """The values must not change, but an array may get another shape: the tape has a view of its own."""
    x = np.ones((6, 2, 3), np.float32)
    if kind == "function":
        y, *_, tape = rnnfast.gru(x, *rnnfast.GRU(3, 5, rng=0).params.values(), record=True)
    else:
        cell = CELLS["CfC"] if kind == "inputs" else rnnfast.GRU
        net, given = cell(3, 5, rng=0, batch_first=kind == "batch first"), np.ones((6, 2), np.float32)
        options = {"inputs": {"dt": given}} if kind == "inputs" else {}
        y, _, tape = record(net, x, None, general=kind == "general", **options)
        given.shape = (2, 6)
    shape = y.shape
    x.shape = (1, 12, 3)
    g = tape.backward(np.ones(shape, np.float32), **({"need_inputs": True} if kind == "inputs" else {}))
    assert g.x.shape == (6, 2, 3)
    if kind == "layer":
        with pytest.raises(ValueError, match="dstate: expected shape"):
            record(net, np.ones((6, 2, 3), np.float32), None)[2].backward(y, np.zeros((1, 12, 5), np.float32))


def test_modules_of_cells_take_it():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
    from rnnfast.torch import Cell

    for net in (Cell(rnnfast.LSTM, 3, 5), Cell(CELLS["LayerNormLSTM"], 3, 5), Cell(CELLS["MGU"], 3, 5).eval()):
        y, _ = net(torch.randn(4, 2, 3))
        assert type(y.grad_fn.tape) is PlainTape
        (y**2).sum().backward()
        assert all(p.grad is not None for p in net.parameters())
