"""The training kit: values and gradients against PyTorch in float64, what is refused, and its data tools."""

import numpy as np
import pytest

import rnnfast
from rnnfast import nn

F64 = np.float64


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def close(a, b, tolerance=1e-12):
    b = b.detach().numpy() if hasattr(b, "detach") else np.asarray(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def tensor(torch, a, grad=False):
    t = torch.tensor(np.ascontiguousarray(a))
    return t.requires_grad_() if grad else t


# ---- layers ----------------------------------------------------------------------------------------------------------------
def test_dense(torch):
    layer, x, dy = nn.Dense(5, 3, dtype=F64, rng=0), draw(4, 2, 5), draw(4, 2, 3, seed=1)
    y, tape = layer.record(x)
    g = tape.backward(dy)
    tx, w, b = tensor(torch, x, True), tensor(torch, layer.params["weight"], True), tensor(torch, layer.params["bias"], True)
    ty = torch.nn.functional.linear(tx, w, b)
    ty.backward(tensor(torch, dy))
    assert close(y, ty) and np.array_equal(layer(x), y)
    assert close(g.x, tx.grad) and close(g.params["weight"], w.grad) and close(g.params["bias"], b.grad)
    assert tape.backward(dy, need_x=False).x is None
    assert "bias" not in nn.Dense(5, 3, bias=False).params


@pytest.mark.parametrize("ids", [[[3, 0], [3, 3], [1, 6]], np.zeros((0, 2), np.int32), [[5]]])
def test_embedding(torch, ids):
    layer, ids = nn.Embedding(7, 4, dtype=F64, rng=0), np.asarray(ids)
    y, tape = layer.record(ids)
    dy = draw(*y.shape)
    w = tensor(torch, layer.params["weight"], True)
    ty = torch.nn.functional.embedding(torch.tensor(ids.astype(np.int64)), w)
    ty.backward(tensor(torch, dy))
    assert close(y, ty) and close(tape.backward(dy).params["weight"], w.grad)


def test_dropout():
    layer, x = nn.Dropout(0.25), np.ones((200, 300), np.float32)
    assert np.array_equal(layer(x), x)
    y, tape = layer.record(x, rng=3)
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)} and abs((y == 0).mean() - 0.25) < 0.01
    assert np.array_equal(tape.backward(x).x, y)
    again, _ = layer.record(x, rng=3)
    assert np.array_equal(again, y)


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("lengths", [None, [4, 1, 3]])
def test_attention(torch, one, lengths):
    layer = nn.AdditiveAttention(5, 6, 7, dtype=F64, rng=0)
    q, k, d = draw(2, 3, 5), draw(4, 3, 6, seed=1), draw(2, 3, 6, seed=2)
    if one:
        q, d = q[0], d[0]
    context, weights, tape = layer.record(q, k, lengths=lengths)
    g = tape.backward(d)
    tq, tk = tensor(torch, q, True), tensor(torch, k, True)
    w1, w2, v = (tensor(torch, layer.params[name], True) for name in ("query", "keys", "score"))
    scores = torch.tanh((tq @ w1.T).reshape(-1, 1, 3, 7) + tk @ w2.T) @ v
    if lengths is not None:
        scores = scores.masked_fill(torch.arange(4)[:, None] >= torch.tensor(lengths), -torch.inf)
    tw = torch.softmax(scores, dim=1)
    tc = torch.einsum("stb,tbk->sbk", tw, tk)
    tc, tw = (tc[0], tw[0]) if one else (tc, tw)
    tc.backward(tensor(torch, d))
    assert close(context, tc) and close(weights, tw)
    assert close(g.query, tq.grad) and close(g.keys, tk.grad)
    for name, t in (("query", w1), ("keys", w2), ("score", v)):
        assert close(g.params[name], t.grad)


@pytest.mark.parametrize("make", [rnnfast.LSTM, rnnfast.GRU])
@pytest.mark.parametrize("output", ["sequence", "last"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_chain(torch, make, output, bidirectional):
    """Embedding, a ragged recurrent layer and Dense, against the same in PyTorch."""
    D, lengths = 2 if bidirectional else 1, np.array([5, 2, 4])
    rnn = make(4, 6, 2, bidirectional=bidirectional, dtype=F64, rng=1)
    model = nn.Sequential(nn.Embedding(9, 4, dtype=F64, rng=0), nn.Recurrent(rnn, output), nn.Dense(6 * D, 3, dtype=F64, rng=2))
    ids = np.random.default_rng(0).integers(0, 9, (5, 3))
    y, tape = model.record(ids, lengths=lengths)
    dy = draw(*y.shape)
    g = tape.backward(dy)
    assert g.x is None and g.params.keys() == model.params.keys()
    assert np.array_equal(model(ids, lengths=lengths), y)

    peer = getattr(torch.nn, make.__name__)(4, 6, 2, bidirectional=bidirectional, dtype=torch.float64)
    with torch.no_grad():
        for name, p in peer.named_parameters():
            p.copy_(tensor(torch, rnn.params[name]))
    table, w, b = (tensor(torch, model.params[name], True) for name in ("0.weight", "2.weight", "2.bias"))
    x = torch.nn.functional.embedding(torch.tensor(ids), table)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    ty, state = peer(packed)
    h = state[0] if isinstance(state, tuple) else state
    if output == "sequence":
        ty = torch.nn.utils.rnn.pad_packed_sequence(ty)[0]
    else:
        ty = h[-D:].transpose(0, 1).reshape(3, -1)
    ty = ty @ w.T + b
    ty.backward(tensor(torch, dy))
    assert close(y, ty) and close(g.params["0.weight"], table.grad) and close(g.params["2.weight"], w.grad)
    for name, p in peer.named_parameters():
        assert close(g.params[f"1.{name}"], p.grad)


@pytest.mark.parametrize("output", ["sequence", "last"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_inputs_of_a_cell_are_the_last_columns(output, batch_first):
    """Also their gradients."""

    @rnnfast.cell(gates="a", states="h c", inputs="dt gain")
    def Two(x, U, h, c, dt, gain):
        c = np.exp(-dt) * c + gain * np.tanh(x.a + U.a @ h)
        return np.tanh(c), c

    net = Two(3, 4, batch_first=batch_first, dtype=F64, rng=0)
    x, lengths = np.abs(draw(6, 6, 5)), [6, 0, 3, 1, 6, 2]
    given = {"inputs": {"dt": x[..., 3], "gain": x[..., 4]}, "lengths": lengths}
    chain = nn.Sequential(nn.Recurrent(net, output))
    y, tape = chain.record(x, lengths=lengths)
    whole, (h, c), own = net.record(x[..., :3], **given)
    dy = draw(*y.shape)
    g = tape.backward(dy)
    theirs = own.backward(dy) if output == "sequence" else own.backward(None, (dy[None], None))
    assert np.array_equal(y, whole if output == "sequence" else h[0]) and np.array_equal(chain(x, lengths=lengths), y)
    assert np.array_equal(g.x, np.dstack([theirs.x, theirs.inputs["dt"], theirs.inputs["gain"]])) and g.x[..., 3:].any()
    assert all(np.array_equal(g.params[f"0.{name}"], a) for name, a in theirs.params.items())


def test_number_of_parameters():
    rnn, dense = rnnfast.LSTM(3, 4), nn.Dense(4, 2)
    assert dense.num_params == 10 and nn.Dropout(0.5).num_params == 0 and nn.Embedding(6, 3).num_params == 18
    assert nn.AdditiveAttention(2, 3, 4).num_params == 4 * (2 + 3 + 1)
    assert nn.Recurrent(rnn).num_params == rnn.num_params == 16 * (3 + 4 + 2)
    assert nn.Sequential(nn.Embedding(6, 3), rnn, dense).num_params == 18 + rnn.num_params + 10


def test_layers_refuse():
    dense, embedding = nn.Dense(3, 2), nn.Embedding(4, 2)
    with pytest.raises(ValueError, match=r"x: expected shape \(\.\.\., 3\)"):
        dense(np.zeros((2, 4), "f"))
    with pytest.raises(TypeError, match="dtype float32 like the layer, got float64"):
        dense(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"dy: expected shape \(2, 2\)"):
        dense.record(np.zeros((2, 3), "f"))[1].backward(np.zeros((2, 3), "f"))
    with pytest.raises(TypeError, match="x: expected integers"):
        embedding(np.zeros(3))
    for wrong in ([4], [-1]):
        with pytest.raises(ValueError, match="x: expected 0 <= x < 4"):
            embedding(wrong)
    with pytest.raises(ValueError, match="output: expected one of 'sequence', 'last'"):
        nn.Recurrent(rnnfast.GRU(2, 2), "first")
    with pytest.raises(ValueError, match="layers: expected at least one"):
        nn.Sequential()
    attention = nn.AdditiveAttention(2, 3, 4)
    with pytest.raises(ValueError, match="query, keys: expected shapes"):
        attention(np.zeros((5, 2), "f"), np.zeros((4, 6, 3), "f"))
    with pytest.raises(ValueError, match="keys: expected at least one"):
        attention(np.zeros((2, 2), "f"), np.zeros((4, 2, 3), "f"), lengths=[4, 0])


# ---- losses ----------------------------------------------------------------------------------------------------------------
MASK = np.array([[True, False], [True, True], [False, False]])


@pytest.mark.parametrize("mask", [None, MASK])
def test_mean_squared_and_absolute_error(torch, mask):
    y, target = draw(3, 2, 4), draw(3, 2, 4, seed=1)
    value, gradient = nn.mean_squared_error(y, target, mask=mask)
    t = tensor(torch, y, True)
    chosen = slice(None) if mask is None else mask
    loss = torch.nn.functional.mse_loss(t[chosen], tensor(torch, target)[chosen])
    loss.backward()
    assert abs(value - loss.item()) < 1e-14 and close(gradient, t.grad)
    assert abs(nn.mean_absolute_error(y, target, mask=mask) - np.abs(y - target)[chosen].mean()) < 1e-14


@pytest.mark.parametrize("mask", [None, MASK])
def test_binary_cross_entropy(torch, mask):
    z, target = draw(3, 2) * 5, np.random.default_rng(1).random((3, 2))
    value, gradient = nn.binary_cross_entropy(z, target, mask=mask)
    t = tensor(torch, z, True)
    chosen = slice(None) if mask is None else mask
    loss = torch.nn.functional.binary_cross_entropy_with_logits(t[chosen], tensor(torch, target)[chosen])
    loss.backward()
    assert abs(value - loss.item()) < 1e-14 and close(gradient, t.grad)


@pytest.mark.parametrize("ignore", [None, -1, 2])
@pytest.mark.parametrize("mask", [None, MASK])
def test_cross_entropy(torch, ignore, mask):
    logits, target = draw(3, 2, 4) * 3, np.array([[0, 3], [2, 1], [1, 0]])
    if ignore == -1:
        target[1, 0] = -1
    value, gradient = nn.cross_entropy(logits, target, ignore_index=ignore, mask=mask)
    t = tensor(torch, logits, True)
    target = torch.tensor(target)
    if mask is not None:
        target = torch.where(torch.tensor(mask), target, -100 if ignore is None else ignore)
    index = -100 if ignore is None else ignore
    loss = torch.nn.functional.cross_entropy(t.reshape(-1, 4), target.reshape(-1), ignore_index=index)
    loss.backward()
    assert abs(value - loss.item()) < 1e-14 and close(gradient, t.grad)


def test_losses_are_stable():
    for scale in (1e4, -1e4):
        value, gradient = nn.binary_cross_entropy(np.array([scale], "f"), np.array([scale > 0], "f"))
        assert value == 0 and np.array_equal(gradient, [0])
        value, gradient = nn.cross_entropy(np.array([[scale, 0]], "f"), [int(scale < 0)])
        assert value == 0 and np.array_equal(gradient, [[0, 0]])
    value, gradient = nn.cross_entropy(np.zeros((2, 3), "f"), [-1, -1], ignore_index=-1)
    assert value == 0 and not gradient.any()


def test_accuracy():
    assert nn.accuracy([[1, 2], [3, 0], [0, 1]], [1, 0, 0]) == 2 / 3
    assert nn.accuracy([[1, 2], [3, 0], [0, 1]], [1, 0, -1], ignore_index=-1) == 1
    assert nn.accuracy([0.5, -1, 2], [1, 0, 0]) == 2 / 3


def test_losses_refuse():
    z = np.zeros((2, 3), "f")
    for loss in (nn.mean_squared_error, nn.binary_cross_entropy, nn.mean_absolute_error):
        with pytest.raises(ValueError, match=r"target: expected shape \(2, 3\)"):
            loss(z, np.zeros(2))
        with pytest.raises(ValueError, match="mask: expected shape"):
            loss(z, z, mask=[True])
    with pytest.raises(ValueError, match=r"target: expected 0 <= target < 3 \(classes\), got -1 to 0"):
        nn.cross_entropy(z, [0, -1])
    with pytest.raises(TypeError, match="target: expected integers"):
        nn.cross_entropy(z, [0.0, 1.0])


# ---- optimizers --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "peer"),
    [
        (lambda p: nn.SGD(p, 0.1), lambda t, p: t.optim.SGD(p, 0.1)),
        (lambda p: nn.SGD(p, 0.1, momentum=0.9), lambda t, p: t.optim.SGD(p, 0.1, momentum=0.9)),
        (lambda p: nn.RMSprop(p, 0.02, decay=0.9), lambda t, p: t.optim.RMSprop(p, 0.02, alpha=0.9)),
        (lambda p: nn.Adam(p, 0.03), lambda t, p: t.optim.Adam(p, 0.03)),
        (lambda p: nn.AdamW(p, 0.03, weight_decay=0.1), lambda t, p: t.optim.AdamW(p, 0.03, weight_decay=0.1)),
    ],
    ids=["SGD", "momentum", "RMSprop", "Adam", "AdamW"],
)
def test_optimizers(torch, make, peer):
    params = {"a": draw(3, 4), "b": draw(5, seed=1)}
    theirs = [tensor(torch, p, True) for p in params.values()]
    ours, other = make(params), peer(torch, theirs)
    arrays = list(params.values())
    for step in range(20):
        grads = {name: draw(*p.shape, seed=10 + step) for name, p in params.items()}
        for t, g in zip(theirs, grads.values(), strict=True):
            t.grad = tensor(torch, g)
        kept = {name: g.copy() for name, g in grads.items()}
        ours.step(grads)
        other.step()
        assert all(np.array_equal(grads[name], kept[name]) for name in grads)
    assert all(a is p for a, p in zip(arrays, params.values(), strict=True))  # in place
    assert all(close(p, t, 1e-10) for p, t in zip(params.values(), theirs, strict=True))


def test_optimizers_refuse():
    params = {"a": np.zeros(2)}
    adam = nn.Adam(params)
    for wrong in ({}, {"a": np.zeros(3)}, {"a": np.zeros(2), "b": np.zeros(2)}):
        with pytest.raises(ValueError, match="grads"):
            adam.step(wrong)
    assert not params["a"].any() and adam.steps == 0
    for make in (lambda: nn.Adam(params, -1), lambda: nn.Adam(params, betas=(0.9, 1)), lambda: nn.SGD({}, 1)):
        with pytest.raises(ValueError, match="expected"):
            make()


def test_clip_grad_norm():
    grads = {"a": np.full(9, 1.0), "b": np.full(16, 1.0)}
    assert nn.clip_grad_norm(grads, 10) == 5 and grads["a"][0] == 1
    assert nn.clip_grad_norm(grads, 2.5) == 5 and grads["b"][0] == 0.5


def test_schedules():
    assert [nn.StepDecay(2, 0.5)(n, 0) for n in range(5)] == [1, 1, 0.5, 0.5, 0.25]
    cosine = nn.CosineDecay(10, 0.2)
    assert [round(cosine(n, 0), 6) for n in (0, 5, 10, 20)] == [1, 0.6, 0.2, 0.2]
    plateau = nn.ReduceOnPlateau(0.5, patience=2, least=0.2)
    assert [plateau(n, v) for n, v in enumerate([3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1])] == [1] * 4 + [0.5] * 4 + [0.25] * 3 + [
        0.2
    ]


def test_more_is_refused():
    dense = nn.Dense(2, 2)
    with pytest.raises(ValueError, match="layers: expected each once"):
        nn.Sequential(dense, dense)
    with pytest.raises(TypeError, match="does not support item assignment"):
        dense.params["weight"] = np.zeros((2, 2))
    with pytest.raises(TypeError, match="dy: expected dtype float32"):
        dense.record(np.ones((1, 2), "f"))[1].backward(np.ones((1, 2)))
    with pytest.raises(ValueError, match="x: expected 3 dimensions"):
        nn.Recurrent(rnnfast.GRU(2, 2), "last")(np.ones((4, 2), "f"))
    with pytest.raises(TypeError, match="params: expected one dtype"):
        nn.Adam({"a": np.zeros(2), "b": np.zeros(2, "f")})
    with pytest.raises(TypeError, match="mask: expected bools"):
        nn.mean_squared_error(np.zeros(3), np.zeros(3), mask=[3, 0, 1])
    with pytest.raises(ValueError, match="target: expected 0 <= target <= 1"):
        nn.binary_cross_entropy(np.zeros(2), [0.0, 2.0])
    with pytest.raises(ValueError, match="target: expected shape"):
        nn.accuracy(np.zeros((4, 1)), np.zeros(4, int))
    with pytest.raises(ValueError, match="decay"):
        nn.RMSprop(dense.params, decay=1.5)
    with pytest.raises(ValueError, match="numbers: expected integers from 0 to 1"):
        nn.Vocabulary("ab").decode([-1])
    scale = nn.MinMaxScaler(np.arange(6.0).reshape(2, 3))
    with pytest.raises(ValueError, match=r"values: expected shape \(\.\.\., 3\)"):
        scale(np.zeros((2, 1)))
    x = np.ones((2, 2), "f")
    assert not np.shares_memory(nn.Dropout(0.5)(x), x)
    _, gradient = nn.cross_entropy(np.array([[np.nan, 0], [1, 0]]), [-1, 0], ignore_index=-1)
    assert not gradient[0].any() and gradient[1].any()
    assert nn.pad_sequences([[1], [2, 3]], value=0.5)[0][1, 0] == 0.5
    grads = {"a": np.full(4, 1e20, "f")}
    assert np.isclose(nn.clip_grad_norm(grads, 1.0), 2e20) and np.isclose(grads["a"][0], 0.5)


# ---- data ------------------------------------------------------------------------------------------------------------------
def test_sliding_windows():
    X, y = nn.sliding_windows(np.arange(6), 4)
    assert X.tolist() == [[0, 1, 2, 3], [1, 2, 3, 4]] and y.tolist() == [4, 5]
    data = draw(9, 2)
    X, y = nn.sliding_windows(data, 3)
    assert X.shape == (6, 3, 2) and all(
        np.array_equal(X[i], data[i : i + 3]) and np.array_equal(y[i], data[i + 3]) for i in range(6)
    )
    with pytest.raises(ValueError, match="N > n = 6"):
        nn.sliding_windows(np.arange(6), 6)


def test_pad_sequences():
    padded, lengths = nn.pad_sequences([[1, 2], [], [3]], value=-1)
    assert padded.tolist() == [[1, -1, 3], [2, -1, -1]] and lengths.tolist() == [2, 0, 1]
    assert padded.dtype.kind == "i"
    first, _ = nn.pad_sequences([np.ones((2, 3)), np.ones((1, 3))], batch_first=True)
    assert first.shape == (2, 2, 3) and not first[1, 1].any()
    with pytest.raises(ValueError, match=r"sequences\[1\]: expected shape \(T, 3\)"):
        nn.pad_sequences([np.ones((2, 3)), np.ones((1, 2))])


def test_vocabulary():
    v = nn.Vocabulary.of(["abac", "cab"], special=["<pad>"])
    assert v.tokens == ("<pad>", "a", "b", "c") and "".join(v.decode(v.encode("cab"))) == "cab"
    with pytest.raises(ValueError, match="got 'x'"):
        v.encode("x")
    words = nn.Vocabulary.of((t.split() for t in ["to be or not to be", "or"]), most=2, unknown="?")
    assert words.tokens == ("?", "to", "be") and words.encode(["be", "not"]).tolist() == [2, 0]
    assert len(nn.Vocabulary.of(["aab"], least=2)) == 1 and "b" not in nn.Vocabulary.of(["aab"], least=2)
    with pytest.raises(ValueError, match="each once"):
        nn.Vocabulary("aa")


def test_scaler_and_split():
    data = draw(50, 3) * [1, 10, 0]
    scale = nn.MinMaxScaler(data[:40], -1, 1)
    values = scale(data)
    assert values[:40, :2].min() == -1 and values[:40, :2].max() == 1 and np.allclose(scale.inverse(values), data)
    first, last = nn.time_split(data, 0.2)
    assert len(first) == 40 and np.array_equal(np.r_[first, last], data) and np.shares_memory(first, data)
