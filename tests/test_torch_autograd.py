"""rnnfast.torch's modules under autograd: gradcheck, second derivatives, repeated passes, changes in place, hooks, ties,
parametrizations; what rnnfast does not compute goes to PyTorch's own forward pass, or raises."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from test_torch_doors import CELLS, F64, assert_same, fails, pair, seeded, states_of  # noqa: E402, F401
from torch.nn.utils import parametrizations, parametrize, weight_norm  # noqa: E402

import rnnfast.torch as doors  # noqa: E402
from rnnfast.torch import _passes  # noqa: E402


@pytest.fixture(params=CELLS)
def cell(request):
    return request.param


@pytest.fixture
def passes(monkeypatch):
    """Counts the passes that rnnfast computes."""
    counted = []
    given = _passes.Pass.given
    monkeypatch.setattr(_passes.Pass, "given", lambda self, tensors: counted.append(self) or given(self, tensors))
    return counted


def as_function(net, states):
    """A function of x, the initial states and the parameters."""
    names = [name for name, _ in net.named_parameters()]

    def function(x, *rest):
        hx = rest[:states] if states > 1 else rest[0]
        y, state = torch.func.functional_call(net, dict(zip(names, rest[states:], strict=True)), (x, hx))
        return (y, *states_of(state))

    return function


def leaves(net, unbatched=False):
    shape = (net.num_layers * (2 if net.bidirectional else 1), *(() if unbatched else (2,)), net.hidden_size)
    x = torch.randn(*((3, 2) if unbatched else (2, 3, 2) if net.batch_first else (3, 2, 2)), dtype=F64, requires_grad=True)
    hx = [torch.randn(shape, dtype=F64, requires_grad=True) for _ in range(2 if net.mode == "LSTM" else 1)]
    return x, hx, [p.detach().clone().requires_grad_() for p in net.parameters()]


@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True, "num_layers": 2}, {"batch_first": True, "bias": False}], ids=str
)
def test_gradcheck_and_second_derivatives(cell, options, passes):
    net = getattr(doors, cell)(2, 3, dtype=F64, **options)
    x, hx, params = leaves(net)
    function = as_function(net, len(hx))
    assert torch.autograd.gradcheck(function, (x, *hx, *params)) and passes
    if not options.get("num_layers"):
        assert torch.autograd.gradgradcheck(function, (x, *hx, *params))


def test_second_derivatives_unbatched_and_in_float32(cell):
    plain, ours = pair(cell, 2, 3, dtype=torch.float32)
    x = torch.randn(4, 2)
    found = []
    for net in (ours, plain):
        leaf = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(net(leaf)[0].sin().sum(), leaf, create_graph=True)
        found.append([g, *torch.autograd.grad(g.pow(2).sum(), [leaf, net.weight_hh_l0])])
    assert_same(*found, 1e-4)


def test_second_derivatives_with_one_weight_in_two_places(cell):
    """Tied parameters: each place has a gradient of its own."""
    plain, ours = pair(cell, 3, 3)
    x = torch.randn(4, 2, 3, dtype=F64)
    found = []
    for net in (ours, plain):
        net.weight_hh_l0 = net.weight_ih_l0
        (g,) = torch.autograd.grad(net(x)[0].sin().sum(), net.weight_ih_l0, create_graph=True)
        (h,) = torch.autograd.grad(g.pow(2).sum(), net.weight_ih_l0)
        found.append([g, h])
    assert_same(*found)


def test_second_derivatives_with_dropout_raise(cell):
    net = getattr(doors, cell)(2, 3, 2, dropout=0.5)
    y, _ = net(torch.randn(4, 1, 2))
    with pytest.raises(RuntimeError, match="create_graph=False, since a pass with dropout has no second derivatives"):
        torch.autograd.grad(y.sum(), net.weight_ih_l0, create_graph=True)


def test_two_backward_passes(cell):
    """Without retain_graph PyTorch's own error; with it the same gradients again, with the masks of dropout that were drawn."""
    net = getattr(doors, cell)(2, 3, 2, dropout=0.5, dtype=F64)
    x = torch.randn(4, 1, 2, dtype=F64, requires_grad=True)
    y, _ = net(x)
    torch.rand(3)
    first = torch.autograd.grad(y.sum(), [x, *net.parameters()], retain_graph=True)
    again = torch.autograd.grad(y.sum(), [x, *net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.sum().backward()


@pytest.mark.parametrize("what", ["weight", "input", "state", "result"])
def test_changes_in_place_before_backward_are_noticed(cell, what):
    net = getattr(doors, cell)(2, 3, dtype=F64)
    x, hx, _ = leaves(net)
    x, hx = x.detach(), [t.detach() for t in hx]
    y, _ = net(x, tuple(hx) if len(hx) > 1 else hx[0])
    if what == "weight":
        step = torch.optim.SGD(net.parameters(), lr=0.1)
        for p in net.parameters():
            p.grad = torch.ones_like(p)
        step.step()
    else:
        with torch.no_grad():
            {"input": x, "state": hx[0], "result": y}[what].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_outputs_that_are_not_used(cell):
    """Only the state, or only a part of it, has a gradient."""
    plain, ours = pair(cell, 2, 3, 2)
    x = torch.randn(4, 2, 2, dtype=F64)
    for pick in range(2 if cell == "LSTM" else 1):
        found = []
        for net in (ours, plain):
            net.zero_grad()
            states_of(net(x)[1])[pick].sin().sum().backward()
            found.append([p.grad for p in net.parameters()])
        assert_same(*found)


def test_gradients_of_any_memory_order(cell):
    plain, ours = pair(cell, 2, 3, bidirectional=True)
    x = torch.randn(4, 2, 2, dtype=F64)
    for use in (lambda y: y.sum(), lambda y: y[..., 1:3].transpose(0, 2).sin().sum(), lambda y: y[::2].sum()):
        found = []
        for net in (ours, plain):
            net.zero_grad()
            use(net(x)[0]).backward()
            found.append([p.grad for p in net.parameters()])
        assert_same(*found)


def test_hooks(cell):
    plain, ours = pair(cell, 2, 3)
    x = torch.randn(4, 2, 2, dtype=F64)
    found = []
    for net in (ours, plain):
        seen = []
        net.register_forward_pre_hook(lambda m, a: (a[0] * 2,))
        net.register_forward_hook(lambda m, a, out: (out[0] + 1, out[1]))
        net.register_full_backward_hook(lambda m, gi, go, seen=seen: seen.append(go[0]))
        net.weight_hh_l0.register_hook(lambda g: g * 3)
        net.weight_ih_l0.register_post_accumulate_grad_hook(lambda p, seen=seen: seen.append(p.grad))
        y, _ = net(x.clone().requires_grad_())
        y.pow(2).sum().backward()
        found.append([y, net.weight_hh_l0.grad, *seen])
    assert_same(*found)


def test_parametrized_weights(cell):
    """Parametrized before and after the swap, weight_norm old and new; PyTorch's classes come back at the end."""
    x = torch.randn(4, 2, 3, dtype=F64)
    for when in ("before", "after"):
        plain, _ = pair(cell, 3, 4)
        ours = copy.deepcopy(plain)
        parametrizations.weight_norm(plain, "weight_hh_l0")
        if when == "after":
            doors.accelerate(ours)
        parametrizations.weight_norm(ours, "weight_hh_l0")
        report = doors.accelerate(ours)
        assert report.swapped == [""] and isinstance(ours, getattr(doors, cell))
        assert torch.equal(copy.deepcopy(ours)(x)[0], ours(x)[0])
        found = []
        for net in (ours, plain):
            for p in net.parameters():
                torch.manual_seed(p.numel())
                p.data.copy_(torch.randn_like(p))
            y, _ = net(x)
            y.sin().sum().backward()
            found.append([y, *[p.grad for p in net.parameters()]])
        assert_same(*found)
        assert doors.restore(ours) == [""] and parametrize.is_parametrized(ours) and not isinstance(ours, getattr(doors, cell))
        assert_same([ours(x)[0]], [plain(x)[0]])
        doors.accelerate(ours)
        parametrize.remove_parametrizations(ours, "weight_hh_l0")
        assert type(ours) is getattr(doors, cell)
        assert_same([ours(x)[0]], [plain(x)[0]])


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_weights_set_by_a_hook(cell):
    plain, ours = pair(cell, 3, 4)
    x = torch.randn(4, 2, 3, dtype=F64)
    found = []
    for net in (ours, plain):
        weight_norm(net, "weight_hh_l0")
        y, _ = net(x)
        y.sin().sum().backward()
        found.append([y, net.weight_hh_l0_g.grad, net.weight_hh_l0_v.grad])
    assert_same(*found)


def test_checkpointing(cell):
    from torch.utils.checkpoint import checkpoint

    plain, ours = pair(cell, 3, 4)
    x = torch.randn(4, 2, 3, dtype=F64, requires_grad=True)
    for reentrant in (False, True):
        found = []
        for net in (ours, plain):
            y = checkpoint(lambda t, net=net: net(t)[0], x, use_reentrant=reentrant)
            net.zero_grad()
            y.sin().sum().backward()
            found.append([y, *[p.grad for p in net.parameters()]])
        assert_same(*found)


# ---- what is PyTorch's -----------------------------------------------------------------------------------------------------
def test_half_precision_meta_and_projections_are_pytorchs(passes):
    plain, ours = pair("LSTM", 3, 4, dtype=torch.bfloat16)
    x = torch.randn(5, 2, 3, dtype=torch.bfloat16)
    assert torch.equal(ours(x)[0], plain(x)[0])
    plain, ours = pair("LSTM", 3, 4, proj_size=2)
    x = torch.randn(5, 2, 3, dtype=F64)
    assert torch.equal(ours(x)[0], plain(x)[0])
    assert doors.GRU(3, 4, device="meta")(torch.zeros(5, 2, 3, device="meta"))[0].shape == (5, 2, 4)
    assert not passes


def test_autocast_is_pytorchs(cell, passes):
    plain, ours = pair(cell, 3, 4, dtype=torch.float32)
    x = torch.randn(5, 2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        a, b = ours(x)[0], plain(x)[0]
    assert a.dtype == b.dtype and torch.equal(a, b) and not passes
    with torch.autocast("cpu", enabled=False):
        ours(x)
    assert passes


def outcome_of(function):
    try:
        return function()
    except Exception as error:
        return type(error)


def test_function_transforms_are_pytorchs(cell, passes):
    """vmap, grad, jvp and batched gradients: what PyTorch's module computes, or the error it raises."""
    plain, ours = pair(cell, 3, 4)
    x, direction = torch.randn(2, 4, 5, 3, dtype=F64), torch.randn(4, 5, 3, dtype=F64)
    tried = [
        lambda net: torch.vmap(lambda t: net(t)[0], randomness="different")(x),
        lambda net: torch.func.grad(lambda t: net(t)[0].sin().sum())(x[0]),
        lambda net: torch.func.jvp(lambda t: net(t)[0], (x[0],), (direction,))[1],
    ]
    for one in tried:
        expected = outcome_of(lambda one=one: one(plain))
        found = outcome_of(lambda one=one: one(ours))
        if isinstance(expected, torch.Tensor):
            assert_same([found], [expected])
        else:
            assert found is expected
    assert not passes


def test_batched_gradients(cell):
    plain, ours = pair(cell, 3, 4)
    leaf = torch.randn(4, 2, 3, dtype=F64, requires_grad=True)
    several = torch.randn(5, 4, 2, 4, dtype=F64)

    def batched(net):
        return torch.autograd.grad(net(leaf)[0], leaf, several, is_grads_batched=True)[0]

    one_by_one = torch.stack([torch.autograd.grad(plain(leaf)[0], leaf, d)[0] for d in several])
    assert_same([batched(ours)], [one_by_one])
    y, _ = ours(leaf)
    found = torch.vmap(lambda d: torch.autograd.grad(y, leaf, d, retain_graph=True)[0])(several)
    assert_same([found], [one_by_one])


def test_forward_mode_is_pytorchs(cell, passes):
    plain, ours = pair(cell, 3, 4)
    x, tangent = torch.randn(4, 2, 3, dtype=F64), torch.randn(4, 2, 3, dtype=F64)

    def along(net):
        with torch.no_grad(), torch.autograd.forward_ad.dual_level():
            y, _ = net(torch.autograd.forward_ad.make_dual(x, tangent))
            return torch.autograd.forward_ad.unpack_dual(y).tangent

    assert_same([along(ours)], [along(plain)])
    assert not passes


def test_tracing_and_modes_are_pytorchs(cell, passes):
    from torch.utils.flop_counter import FlopCounterMode

    plain, ours = pair(cell, 3, 4)
    x = torch.randn(4, 2, 3, dtype=F64)
    traced = torch.jit.trace(ours, x, check_trace=False)  # which would call the module once more, untraced
    assert_same([traced(x)[0]], [plain(x)[0]])
    counts = []
    for net in (ours, plain):
        with FlopCounterMode(display=False) as counter:
            net(x)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1]
    assert not passes


def test_a_model_is_exported_as_pytorchs(cell, passes):
    plain, ours = pair(cell, 3, 4)
    x = torch.randn(4, 2, 3, dtype=F64)
    program = torch.export.export(ours, (x,)).module()
    assert_same([program(x)[0]], [plain(x)[0]])
    assert not passes


def test_torch_compile_breaks_the_graph_at_the_module(cell, passes):
    """As it does at PyTorch's; what is around it is compiled, and rnnfast computes the module, gradients included."""
    torch._dynamo.reset()
    plain, ours = pair(cell, 3, 4)
    graphs = []

    class Around(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x * 2 + 1)[0].sin() * 3

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    model = torch.compile(Around(ours), backend=backend)
    x = torch.randn(4, 2, 3, dtype=F64)
    found = []
    for net in (model, Around(plain)):
        y = net(x)
        y.sum().backward()
        found.append([y, *[p.grad for p in net.parameters()]])
    assert_same(*found)
    assert len(graphs) == 2 and passes  # before the module and after it; nothing inside of it
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(Around(ours), backend=backend, fullgraph=True)(x)


def test_wrong_weights_are_pytorchs_error(cell):
    plain, ours = pair(cell, 3, 4)
    x = torch.randn(4, 2, 3, dtype=F64)
    for net in (plain, ours):
        net.bias_hh_l0.data = net.bias_hh_l0.data.float()
    assert fails(ours, x) == fails(plain, x)


@pytest.mark.parametrize("change", [{"num_layers": 3}, {"bias": False}, {"bidirectional": True}])
def test_attributes_that_no_longer_fit_the_weights_are_pytorchs(cell, change):
    plain, ours = pair(cell, 3, 4)
    x = torch.randn(4, 2, 3, dtype=F64)
    for net in (plain, ours):
        vars(net).update(change)
    with torch.no_grad():
        assert fails(ours, x) == fails(plain, x)


def test_threads_may_share_a_module(cell):
    from concurrent.futures import ThreadPoolExecutor

    net = getattr(doors, cell)(3, 8, 2, dtype=F64)
    xs = [torch.randn(6, 2, 3, dtype=F64) for _ in range(8)]

    def work(x):
        y, _ = net(x)
        return [y, *torch.autograd.grad(y.sin().sum(), list(net.parameters()))]

    expected = [work(x) for x in xs]
    with ThreadPoolExecutor(4) as pool:
        for found, one in zip(pool.map(work, xs), expected, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(found, one, strict=True))


def test_numpy_and_rnnfast_agree():
    """The same parameters give the same bits as rnnfast's own layer."""
    import rnnfast

    net = doors.LSTM(3, 4, 2, bidirectional=True)
    layer = rnnfast.LSTM(3, 4, 2, bidirectional=True)
    layer.load_params({name: p.detach().numpy() for name, p in net.named_parameters()})
    x = torch.randn(5, 2, 3)
    assert np.array_equal(net(x)[0].detach().numpy(), layer(x.numpy())[0])
