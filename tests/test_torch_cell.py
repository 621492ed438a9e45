"""rnnfast.torch.Cell: formula cells as modules with autograd."""

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from test_torch_doors import F64, assert_same, states_of  # noqa: E402

import rnnfast  # noqa: E402
from rnnfast import ops, zoo  # noqa: E402
from rnnfast.torch import Cell  # noqa: E402

torch.set_num_threads(1)
SPIKING = ("LIF", "ALIF")  # their derivatives are surrogates, which differences do not show


@rnnfast.cell(gates="a", states="v w", inputs="dt u", vectors="p", draws={"m": ("dropout", "step", "drop")})
def Driven(x, U, v, w, dt, u, p, m, *, drop=0.0, training, louder=2.0):
    """A cell with all that a formula may have."""
    force = np.tanh(x.a + U.a @ (v * m)) + p * u
    if training:
        force = louder * force
    return v + dt * force, ops.sigmoid(w + v)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def inputs_of(module, steps=5):
    return {name: torch.rand(steps, 2, dtype=F64) for name in module._layer._form.variant.inputs}


def arrays(net, module):
    net.load_params({name: p.detach().numpy() for name, p in module.named_parameters()})
    return net


@pytest.mark.parametrize("name", zoo.CELLS)
@pytest.mark.parametrize("training", [True, False])
def test_as_the_layer(name, training):
    """Results and gradients are the layer's own; parameters have its names."""
    kind = zoo.CELLS[name]
    module = Cell(kind, 3, 4, 2, bidirectional=True, dtype=F64).train(training)
    layer = arrays(kind(3, 4, 2, bidirectional=True, dtype=np.float64), module)
    assert list(layer.params) == list(dict(module.named_parameters()))
    x = torch.randn(5, 2, 3, dtype=F64, requires_grad=True)
    given = inputs_of(module)
    y, state = module(x, lengths=torch.tensor([5, 2]), inputs=given)
    own = {k: t.numpy() for k, t in given.items()}
    expected, ends, tape = layer.record(x.detach().numpy(), lengths=[5, 2], inputs=own, rng=0)
    assert np.array_equal(y.detach(), expected)
    assert all(np.array_equal(a.detach(), b) for a, b in zip(states_of(state), states_of(ends), strict=True))
    dy = torch.randn_like(y)
    y.backward(dy)
    g = tape.backward(dy.numpy())
    assert np.array_equal(x.grad, g.x)
    assert all(np.array_equal(p.grad, g.params[n]) for n, p in module.named_parameters())
    with torch.no_grad():
        assert torch.equal(module.eval()(x, lengths=[5, 2], inputs=given)[0], y)


@pytest.mark.parametrize("name", [name for name in zoo.CELLS if name not in SPIKING])
def test_gradcheck(name):
    module = Cell(zoo.CELLS[name], 2, 3, dtype=F64)
    names = [n for n, _ in module.named_parameters()]
    count = len(module._layer._form.variant.states)
    x, given = torch.randn(3, 2, 2, dtype=F64, requires_grad=True), inputs_of(module, 3)
    hx = [torch.rand(1, 2, 3, dtype=F64, requires_grad=True) for _ in range(count)]

    def function(x, *rest):
        state = rest[:count] if count > 1 else rest[0]
        values = dict(zip(names, rest[count:], strict=True))
        y, last = torch.func.functional_call(module, values, (x, state), {"inputs": given})
        return (y, *states_of(last))

    assert torch.autograd.gradcheck(function, (x, *hx, *module.parameters()))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rows", [True, False])
def test_inputs_draws_and_options(training, rows):
    module = Cell(Driven, 2, 3, 2, drop=0.5, louder=3.0, dtype=F64).train(training)
    x = torch.randn(3, 2, 2, dtype=F64, requires_grad=True)
    shape = (3, 2) if rows else (3, 2, 3)
    dt, u = (torch.rand(shape, dtype=F64, requires_grad=True) for _ in range(2))

    def function(x, dt, u, *params):
        torch.manual_seed(3)
        y, state = module(x, inputs={"u": u, "dt": dt})
        return y, *state

    assert torch.autograd.gradcheck(function, (x, dt, u, *module.parameters()))
    layer = arrays(Driven(2, 3, 2, drop=0.5, louder=3.0, dtype=np.float64), module)
    given = {"dt": dt.detach().numpy(), "u": u.detach().numpy()}
    if training:
        torch.manual_seed(3)
        expected = layer.record(x.detach().numpy(), inputs=given, rng=int(torch.randint(2**63 - 1, ())))[0]
    else:
        expected = layer(x.detach().numpy(), inputs=given)[0]
    assert np.array_equal(function(x, dt, u)[0].detach(), expected)
    with torch.no_grad():
        assert np.array_equal(function(x, dt, u)[0], expected)


def test_initial_values_and_draws_follow_the_seed():
    def made(seed):
        torch.manual_seed(seed)
        module = Cell(zoo.LSTM, 3, 4, 2, recurrent_dropout=0.4, dropout=0.3)
        return [*module.parameters(), module(torch.ones(5, 2, 3))[0]]

    assert all(torch.equal(a, b) for a, b in zip(made(1), made(1), strict=True))
    assert not torch.equal(made(1)[-1], made(2)[-1])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["deepcopy", "pickle"])
def test_copies_and_state_dict(again):
    module = Cell(zoo.LayerNormLSTM, 3, 4, 2, bidirectional=True)
    other, x = again(module), torch.randn(5, 2, 3)
    assert torch.equal(other(x)[0], module(x)[0]) and repr(other) == repr(module)
    fresh = Cell(zoo.LayerNormLSTM, 3, 4, 2, bidirectional=True)
    assert not torch.equal(fresh(x)[0], module(x)[0])
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh(x)[0], module(x)[0])
    module.double()
    assert module(x.double())[0].dtype is F64
    assert_same([module(x.double())[0].float()], [other(x)[0]], 1e-5)


def local_cell():
    @rnnfast.cell(gates="a", states="h", draws={"m": ("dropout", "sequence", "p")})
    def Local(x, U, h, m, *, p=0.3, training):
        y = np.tanh(x.a + U.a @ (h * m))
        return 2 * y if training else y

    return Local


def test_a_pickle_of_a_cell_that_cannot_be_imported():
    """It holds the traced formula, of training and of inference."""
    module, x = Cell(local_cell(), 3, 4), torch.randn(5, 2, 3)
    other = pickle.loads(pickle.dumps(module))
    for training in (True, False):
        found = []
        for net in (module, other):
            torch.manual_seed(1)
            y, _ = net.train(training)(x)
            found.append([y, *torch.autograd.grad(y.sin().sum(), list(net.parameters()))])
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_arrangements_and_unused_results():
    module = Cell(zoo.MGU, 3, 4, batch_first=True, dtype=F64)
    x = torch.randn(2, 5, 3, dtype=F64, requires_grad=True)
    y, h = module(x, torch.zeros(1, 2, 4, dtype=F64))
    one, h1 = module(x[0], torch.zeros(1, 4, dtype=F64))
    assert torch.equal(one, y[0]) and torch.equal(h1, h[:, 0])
    h.sum().backward()
    assert x.grad.shape == x.shape and x.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", [rnnfast.SimpleRNN, rnnfast.LSTM, rnnfast.GRU])
def test_built_in_layers_are_cells_too(kind):
    """The module computes what the layer computes, and what PyTorch's module of the same weights computes."""
    module, x = Cell(kind, 3, 4, 2, bidirectional=True, dtype=F64), torch.randn(5, 2, 3, dtype=F64)
    theirs = {rnnfast.SimpleRNN: torch.nn.RNN, rnnfast.LSTM: torch.nn.LSTM, rnnfast.GRU: torch.nn.GRU}[kind]
    other = theirs(3, 4, 2, bidirectional=True, dtype=F64)
    other.load_state_dict(module.state_dict())
    outputs = []
    for net in (module, other):
        y, state = net(x)
        y.square().sum().backward()
        outputs.append([y, *(state if kind is rnnfast.LSTM else [state]), *(p.grad for p in net.parameters())])
    assert len(outputs[0]) == len(outputs[1])
    for a, b in zip(*outputs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_options_of_built_in_layers():
    module = Cell(rnnfast.GRU, 3, 4, reset_after=False, dtype=F64)
    x = torch.randn(5, 2, 3, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: module(x)[0], (x,))
    assert "reset_after=False" in repr(module)


def test_it_trains():
    module, out = Cell(zoo.LayerNormLSTM, 1, 8), torch.nn.Linear(8, 1)
    x = torch.sin(torch.arange(31.0) / 3)[:, None, None]
    optimizer = torch.optim.Adam([*module.parameters(), *out.parameters()], 0.02)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (out(module(x[:-1])[0]) - x[1:]).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_torch_compile_breaks_the_graph():
    torch._dynamo.reset()
    module, graphs = Cell(zoo.MGU, 3, 4), []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    x = torch.randn(5, 2, 3)

    class Around(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = module

        def forward(self, x):
            return self.net(x * 2)[0].sin()

    compiled = torch.compile(Around(), backend=backend)(x)
    compiled.sum().backward()
    expected = module(x * 2)[0].sin()
    assert torch.equal(compiled, expected) and module.weight_ih_l0.grad is not None
    assert len(graphs) == 2


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m, x: m(x.double()), TypeError, r"x: expected a plain tensor of torch.float32, .*; use x.float\(\)$"),
        (lambda m, x: m(x.numpy()), TypeError, r"x: expected a torch.Tensor, got ndarray"),
        (lambda m, x: m(x, (x, x)), TypeError, r"state \(h\): expected a torch.Tensor, got tuple"),
        (lambda m, x: m(x, x), ValueError, r"state: expected shape \(1, 2, 4\)"),
        (lambda m, x: m(x, lengths=[6, 1]), ValueError, "lengths: expected 0 <= length <= 5"),
        (lambda m, x: m(x, inputs={"dt": x}), ValueError, "inputs: expected none, as the cell declares none, got dt"),
        (lambda m, x: m(x, inputs=[x]), TypeError, "inputs: expected a mapping"),
        (lambda m, x: m.to(torch.float16)(x.half()), TypeError, "parameters: expected torch.float32 or torch.float64"),
        (lambda m, x: torch.vmap(lambda t: m(t)[0])(x[None]), RuntimeError, "expected plain operations, got a call under vmap"),
        (lambda m, x: Cell(zoo, 2, 3), TypeError, "cell: expected a layer class of rnnfast"),
        (lambda m, x: Cell(torch.nn.LSTM, 2, 3), TypeError, "cell: expected a layer class of rnnfast"),
        (lambda m, x: Cell(zoo.MGU, 2, 3, dtype=torch.float16), TypeError, "dtype: expected torch.float32"),
        (lambda m, x: Cell(zoo.MGU, 0, 3), ValueError, "input_size: expected an integer >= 1"),
        (
            lambda m, x: torch.autograd.grad(m(x)[0].sum(), m.weight_ih_l0, create_graph=True),
            RuntimeError,
            "this cell has no second derivatives",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(Cell(zoo.MGU, 3, 4), torch.randn(5, 2, 3))


def test_inputs_that_are_missing():
    with pytest.raises(ValueError, match="inputs: expected tensors named dt, u, got none"):
        Cell(Driven, 2, 3)(torch.randn(3, 2, 2))
