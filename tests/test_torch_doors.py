"""rnnfast.torch's RNN, LSTM and GRU compute what PyTorch's compute: results and gradients in float64, packed sequences, state
shapes, errors; a model that is accelerated trains the same."""

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence  # noqa: E402

import rnnfast.torch as doors  # noqa: E402

torch.set_num_threads(1)
F64 = torch.float64
CELLS = ("RNN", "LSTM", "GRU")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(params=CELLS)
def cell(request):
    return request.param


def states_of(state):
    return state if isinstance(state, tuple) else (state,)


def pair(name, *arguments, **options):
    """PyTorch's module and rnnfast's with the same parameters."""
    options = {"dtype": F64, **options}
    plain = getattr(torch.nn, name)(*arguments, **options)
    ours = getattr(doors, name)(*arguments, **options)
    ours.load_state_dict(plain.state_dict())
    return plain, ours


def outcome(net, x, hx, weights, wanted):
    """y, the final states, and the gradients of x, hx and the parameters that require them."""
    leaf = {k: t.clone().requires_grad_(wanted) for k, t in {"x": x, **{f"h{i}": t for i, t in enumerate(hx)}}.items()}
    given = tuple(leaf[f"h{i}"] for i in range(len(hx)))
    y, state = net(leaf["x"], *([given if len(given) > 1 else given[0]] if given else []))
    loss = sum((w * t).sum() for w, t in zip(weights, (y, *states_of(state)), strict=True))
    net.zero_grad()
    loss.backward()
    return [y, *states_of(state), *[t.grad for t in leaf.values()], *[p.grad for p in net.parameters()]]


def assert_same(found, expected, tolerance=1e-9):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("seed", range(60))
def test_results_and_gradients(seed):
    """Random sizes and options; parameters that do not require gradients get none."""
    rng = np.random.default_rng(seed)
    name = CELLS[seed % 3]
    options = {"bidirectional": rng.random() < 0.4, "bias": rng.random() < 0.8, "batch_first": rng.random() < 0.5}
    if name == "RNN":
        options["nonlinearity"] = str(rng.choice(["tanh", "relu"]))
    I, H, L, T, B = (int(n) for n in rng.integers(1, (7, 9, 4, 8, 6)))
    plain, ours = pair(name, I, H, L, **options)
    for net in (plain, ours):
        choices = np.random.default_rng(seed)
        for p in net.parameters():
            p.requires_grad_(bool(choices.random() < 0.7))
    places, unbatched = L * (2 if options["bidirectional"] else 1), rng.random() < 0.25
    x = torch.randn(*((T, I) if unbatched else (B, T, I) if options["batch_first"] else (T, B, I)), dtype=F64)
    hx = []
    if rng.random() < 0.6:
        shape = (places, H) if unbatched else (places, B, H)
        hx = [torch.randn(shape, dtype=F64) for _ in range(2 if name == "LSTM" else 1)]
    y, state = plain(x, *([tuple(hx) if len(hx) > 1 else hx[0]] if hx else []))
    weights = [torch.randn_like(t) for t in (y, *states_of(state))]
    assert_same(outcome(ours, x, hx, weights, True), outcome(plain, x, hx, weights, True))


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True}], ids=str)
@pytest.mark.parametrize("lengths", [(3, 5, 1, 4), (4, 4, 4), (1,), (6, 6, 2)], ids=str)
@pytest.mark.parametrize("initial", [False, True])
def test_packed_sequences(cell, options, lengths, initial):
    """enforce_sorted=False: samples in any order, whose states are in the order of the caller."""
    plain, ours = pair(cell, 3, 4, **options)
    packed = pack_sequence([torch.randn(n, 3, dtype=F64) for n in lengths], enforce_sorted=False)
    places = plain.num_layers * (2 if plain.bidirectional else 1)
    hx = [torch.randn(places, len(lengths), 4, dtype=F64) for _ in range(2 if cell == "LSTM" else 1)] if initial else []
    found = []
    for net in (plain, ours):
        data = packed.data.clone().requires_grad_()
        given = [t.clone().requires_grad_() for t in hx]
        out, state = net(packed._replace(data=data), *([tuple(given) if len(given) > 1 else given[0]] if hx else []))
        assert type(out) is type(packed) and torch.equal(out.batch_sizes, packed.batch_sizes)
        assert torch.equal(out.unsorted_indices, packed.unsorted_indices)
        net.zero_grad()
        (out.data.sin().sum() + sum((t * t).sum() for t in states_of(state))).backward()
        found.append([out.data, *states_of(state), data.grad, *[t.grad for t in given], *[p.grad for p in net.parameters()]])
    assert_same(found[1], found[0])


def test_packed_and_padded_agree(cell):
    """A batch that is padded and packed in the usual way, sorted."""
    plain, ours = pair(cell, 3, 4, batch_first=True)
    x, lengths = torch.randn(3, 6, 3, dtype=F64), [6, 4, 1]
    with torch.no_grad():
        found = [
            pad_packed_sequence(net(pack_padded_sequence(x, lengths, batch_first=True))[0], batch_first=True)[0]
            for net in (ours, plain)
        ]
    assert_same(found[:1], found[1:])


def test_float32(cell):
    plain, ours = pair(cell, 5, 7, 2, dtype=torch.float32, bidirectional=True)
    x = torch.randn(9, 3, 5)
    weights = [torch.randn_like(t) for t in (plain(x)[0], *states_of(plain(x)[1]))]
    assert_same(outcome(ours, x, [], weights, True), outcome(plain, x, [], weights, True), 2e-4)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(cell, mode):
    plain, ours = pair(cell, 3, 4, 2)
    x = torch.randn(5, 2, 3, dtype=F64)
    with mode():
        y, state = ours(x)
        assert_same([y, *states_of(state)], [plain(x)[0], *states_of(plain(x)[1])])
        assert not y.requires_grad and y.is_inference() == (mode is torch.inference_mode)
        y.add_(1)  # results are ordinary tensors
    assert not ours.requires_grad_(False)(x)[0].requires_grad


def test_inputs_of_any_memory_order(cell):
    plain, ours = pair(cell, 3, 4)
    base = torch.randn(3, 2, 10, dtype=F64)
    for x in (base.permute(2, 1, 0), base.permute(2, 1, 0)[::2], torch.randn(2, 3, dtype=F64).expand(5, 2, 3), base[..., :3]):
        dense = x.contiguous()
        assert_same([ours(x)[0]], [plain(dense)[0]])
        assert torch.equal(x, dense)
    with torch.no_grad():
        for net in (plain, ours):
            net.weight_hh_l0.data = net.weight_hh_l0.data.t().contiguous().t()  # not in C order
    assert_same([ours(dense)[0]], [plain(dense)[0]])


def fails(net, *arguments):
    with pytest.raises(Exception) as info:
        net(*arguments)
    return info.type, str(info.value)


def test_errors_are_those_of_pytorch(cell):
    plain, ours = pair(cell, 3, 4, 2)
    z = torch.zeros
    wrong = [
        (z(5, 2, 2, dtype=F64),),  # input size
        (z(5, dtype=F64),),
        (z(5, 2, 3),),  # dtype
        (z(0, 2, 3, dtype=F64),),
        ("no tensor",),
        (np.zeros((5, 2, 3)),),
    ]
    states = [z(2, 3, 4, dtype=F64), z(2, 2, 5, dtype=F64), z(1, 2, 4, dtype=F64), z(2, 4, dtype=F64), z(2, 2, 4), None]
    if cell == "LSTM":
        wrong += [(z(5, 2, 3, dtype=F64), (h, h)) for h in states]
        wrong += [(z(5, 2, 3, dtype=F64), (z(2, 2, 4, dtype=F64),)), (z(5, 2, 3, dtype=F64), z(2, 2, 4, dtype=F64))]
    else:
        wrong += [(z(5, 2, 3, dtype=F64), h) for h in states[:-1]]
    for arguments in wrong:
        assert fails(ours, *arguments) == fails(plain, *arguments)
    kind = getattr(doors, cell)
    for arguments in ((0, 3), (3, 0), ("a", 3), (3, 4, 0)):
        assert fails(lambda *a: kind(*a), *arguments) == fails(lambda *a: getattr(torch.nn, cell)(*a), *arguments)


def test_batch_of_no_samples(cell):
    plain, ours = pair(cell, 3, 4)
    x = torch.zeros(5, 0, 3, dtype=F64)
    try:
        expected = plain(x)[0]
    except RuntimeError as error:
        assert fails(ours, x) == (type(error), str(error))
    else:
        assert_same([ours(x)[0]], [expected])


# ---- files, copies, models -------------------------------------------------------------------------------------------------
def test_state_dict_goes_both_ways(cell):
    plain, ours = pair(cell, 3, 4, 2, bidirectional=True)
    assert list(ours.state_dict()) == list(plain.state_dict())
    again = getattr(torch.nn, cell)(3, 4, 2, bidirectional=True, dtype=F64)
    again.load_state_dict(ours.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), ours.parameters(), strict=True))
    with torch.no_grad():
        later = {name: torch.randn_like(value) for name, value in plain.state_dict().items()}
    for net in (plain, ours):
        net.load_state_dict(later, assign=True)
    x = torch.randn(4, 2, 3, dtype=F64)
    assert_same([ours(x)[0]], [plain(x)[0]])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["deepcopy", "pickle"])
def test_copies_are_apart(cell, again):
    plain, ours = pair(cell, 3, 4)
    x = torch.randn(4, 2, 3, dtype=F64)
    ours(x)
    other = again(ours)
    assert type(other) is type(ours)
    assert_same([other(x)[0]], [plain(x)[0]])
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1)
    assert_same([ours(x)[0]], [plain(x)[0]])


def test_parameters_that_change_between_calls(cell):
    """By an optimizer, by a new parameter, and by a change of dtype."""
    plain, ours = pair(cell, 3, 4)
    x = torch.randn(4, 2, 3, dtype=F64)
    for change in (
        lambda net: net.weight_hh_l0.data.mul_(0.5),
        lambda net: setattr(net, "weight_ih_l0", torch.nn.Parameter(torch.ones_like(net.weight_ih_l0))),
        lambda net: setattr(net.bias_ih_l0, "data", torch.ones_like(net.bias_ih_l0)),
        lambda net: net.float(),
    ):
        for net in (plain, ours):
            change(net)
        dtype = ours.weight_ih_l0.dtype
        assert_same([ours(x.to(dtype))[0]], [plain(x.to(dtype))[0]], 1e-9 if dtype is F64 else 1e-5)


def test_functional_call(cell):
    plain, ours = pair(cell, 3, 4)
    x = torch.randn(4, 2, 3, dtype=F64)
    found = []
    for net in (ours, plain):
        values = {name: (p * 0.3).detach().requires_grad_() for name, p in net.named_parameters()}
        y, _ = torch.func.functional_call(net, values, (x,))
        found.append([y, *torch.autograd.grad(y.sin().sum(), list(values.values()))])
    assert_same(*found)


class Tagger(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 6)
        self.below = torch.nn.LSTM(6, 8, bidirectional=True, batch_first=True)
        self.above = torch.nn.GRU(16, 7, 2, batch_first=True)
        self.rest = torch.nn.RNN(7, 5, nonlinearity="relu", batch_first=True)
        self.out = torch.nn.Linear(5, 3)

    def forward(self, ids):
        y, (h, _) = self.below(self.embedding(ids))
        y, state = self.above(y, torch.tanh(h.sum(0)[None, :, :7]).repeat(2, 1, 1))
        return self.out(self.rest(y)[0]) + state.sum()


@pytest.mark.parametrize(("optimizer", "lr"), [("SGD", 1.0), ("Adam", 0.02)])
def test_fifty_steps_of_training(optimizer, lr):
    plain = Tagger().double()
    ours = copy.deepcopy(plain)
    ids, tags = torch.randint(0, 11, (4, 9)), torch.randint(0, 3, (4, 9))
    losses = []
    for net in (plain, ours):
        steps = getattr(torch.optim, optimizer)(net.parameters(), lr=lr)
        if net is ours:
            assert len(doors.accelerate(net).swapped) == 3
        losses.append([])
        for _ in range(50):
            steps.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(ids).flatten(0, 1), tags.flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            steps.step()
            losses[-1].append(loss.item())
    assert losses[0][-1] < losses[0][0] - 0.03
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-8, atol=1e-8)


# ---- dropout ---------------------------------------------------------------------------------------------------------------
def test_dropout_follows_the_seed(cell):
    net = getattr(doors, cell)(3, 16, 3, dropout=0.5, dtype=F64)
    x = torch.randn(5, 2, 3, dtype=F64)

    def drawn(seed):
        torch.manual_seed(seed)
        return net(x)[0]

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))
    with torch.no_grad():
        assert torch.equal(drawn(1), net.train()(x)[0]) is False  # drawn anew at each call
        assert torch.equal(drawn(1), drawn(1))
    assert torch.equal(net.eval()(x)[0], net(x)[0])


def test_dropout_of_all_and_its_gradients(cell):
    """With dropout 1 nothing reaches the second layer, in PyTorch either; else gradients are those of the masks drawn."""
    plain, ours = pair(cell, 3, 4, 2, dropout=1.0)
    x = torch.randn(5, 2, 3, dtype=F64)
    weights = [torch.randn_like(t) for t in (plain(x)[0], *states_of(plain(x)[1]))]
    assert_same(outcome(ours, x, [], weights, True), outcome(plain, x, [], weights, True))
    net = getattr(doors, cell)(2, 3, 2, dropout=0.5, dtype=F64)

    def again(*tensors):
        torch.manual_seed(5)
        return net(tensors[0])[0]

    assert torch.autograd.gradcheck(again, (torch.randn(3, 2, 2, dtype=F64, requires_grad=True), *net.parameters()))
