"""Keras layers fused against the same layers in Keras's own loop, on the backend that KERAS_BACKEND names. Run by
test_keras_doors.py, once for each backend, in a process of its own: Keras reads the variable when it is imported."""

import random

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.src.backend.common import dtypes

import rnnfast.keras

TORCH = keras.backend.backend() == "torch"
dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"  # else Keras adds and multiplies float64 in float32: no reference
if TORCH:
    import torch

    torch.set_num_threads(1)
    # torch's own has gradients in float64 that are wrong by 1e-8, as if 1/6 were rounded to float32
    torch.nn.functional.hardsigmoid = lambda v: torch.clamp(v / 6 + 0.5, 0, 1)
KINDS = {"LSTM": layers.LSTM, "GRU": layers.GRU, "SimpleRNN": layers.SimpleRNN}
ACTIVATIONS = ("tanh", "sigmoid", "relu", "linear", "hard_sigmoid", "hard_tanh", "softsign", "softplus", "elu")
GATES = ("sigmoid", "hard_sigmoid")


@pytest.fixture(autouse=True)
def as_imported():
    yield
    rnnfast.keras.disable()
    keras.config.set_floatx("float32")


def array(tensor):
    return tensor.detach().numpy() if TORCH else np.asarray(tensor)


def close(found, expected, bound):
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert np.isfinite(expected).all() and found.size
    error = np.max(np.abs(found - expected)) / max(1.0, np.max(np.abs(expected)))
    assert error <= bound, error


def fuse(call):
    """The result of a call with rnnfast enabled, all of whose layers must have been fused."""
    rnnfast.keras.enable()
    try:
        result = call()
    finally:
        rnnfast.keras.disable()
    assert rnnfast.keras.report().fused and not rnnfast.keras.report().left, str(rnnfast.keras.report())
    return result


def random_mask(rng, B, T):
    """Right-padded, left-padded or with holes; samples without any step, and with all of them."""
    kind = rng.choice(["right", "left", "holes", "late"])
    lengths = np.array([rng.randint(0, T) for _ in range(B)])
    if kind == "right":
        return np.arange(T) < lengths[:, None]
    if kind == "left":
        return np.arange(T) >= lengths[:, None]
    mask = np.array([[rng.random() < 0.6 for _ in range(T)] for _ in range(B)])
    if kind == "late":
        mask[:, : T // 2] = False
    return mask


def random_configuration(seed):
    rng = random.Random(seed)
    kind, unroll = rng.choice(list(KINDS)), rng.random() < 0.2
    options = {
        "activation": "tanh" if rng.random() < 0.5 else rng.choice(ACTIVATIONS),
        "use_bias": rng.random() < 0.7,
        "return_sequences": rng.random() < 0.6,
        "return_state": rng.random() < 0.5,
        "go_backwards": rng.random() < 0.4,
        "stateful": rng.random() < 0.3,
        "unroll": unroll,
        "zero_output_for_mask": rng.random() < 0.4,
        "bias_initializer": "random_normal",
    }
    if kind != "SimpleRNN":
        options["recurrent_activation"] = "sigmoid" if rng.random() < 0.7 else rng.choice(GATES)
        options["use_cudnn"] = rng.choice(["auto", False])
    if kind == "GRU":
        options["reset_after"] = rng.random() < 0.5
    sizes = {"B": rng.randint(1, 7), "T": rng.randint(1, 9), "I": rng.randint(1, 6), "U": rng.randint(1, 9)}
    masked = rng.random() < 0.7 and not (TORCH and unroll)  # Keras's torch backend: see test_what_is_left
    bidirectional = rng.random() < 0.3
    if bidirectional:
        options["go_backwards"] = False
        options["stateful"] = options["stateful"] and not options["return_state"]  # an error of Keras, in compute_mask
    return {
        "kind": kind,
        "options": options,
        **sizes,
        "mask": random_mask(rng, sizes["B"], sizes["T"]) if masked else None,
        "initial": rng.random() < 0.5,
        "dtype": rng.choice(["float32", "float64"]),
        "merge": rng.choice(["concat", "sum", "mul", "ave", None]) if bidirectional else "",
        "training": rng.random() < 0.5,
    }


def make(row):
    layer = KINDS[row["kind"]](row["U"], dtype=row["dtype"], **row["options"])
    if row["merge"] != "":
        layer = layers.Bidirectional(layer, merge_mode=row["merge"], dtype=row["dtype"])
    layer.build((row["B"], row["T"], row["I"]))
    rng = np.random.default_rng(row["seed"])
    layer.set_weights([rng.uniform(-0.6, 0.6, w.shape) for w in layer.get_weights()])
    return layer


def outcome(row):
    """Two calls of a new layer, the second of which goes on from the first where it is stateful: all results, the states that
    it keeps, and on torch all gradients of a weighted sum of the results."""
    layer, rng = make(row), np.random.default_rng(row["seed"] + 1)
    if row["options"]["stateful"]:
        layer.reset_state()
    found, tensors = [], []
    for _ in range(2):
        x = ops.convert_to_tensor(rng.standard_normal((row["B"], row["T"], row["I"])), dtype=row["dtype"])
        states = None
        if row["initial"]:
            count = (2 if row["kind"] == "LSTM" else 1) * (1 if row["merge"] == "" else 2)
            drawn = rng.standard_normal((count, row["B"], row["U"]))
            states = [ops.convert_to_tensor(state, dtype=row["dtype"]) for state in drawn]
        if TORCH:
            tensors = [x.requires_grad_(), *(s.requires_grad_() for s in states or ())]
        mask = None if row["mask"] is None else ops.convert_to_tensor(row["mask"])
        results = layer(x, initial_state=states, mask=mask, training=row["training"])
        results = list(results) if isinstance(results, (list, tuple)) else [results]
        found += map(array, results)
        if TORCH and (states or not row["options"]["stateful"]):  # Keras's loop changes a state that its backward needs
            weights = [rng.standard_normal(tuple(r.shape)) for r in results]
            loss = sum((r * torch.from_numpy(w).to(r.dtype)).sum() for r, w in zip(results, weights, strict=True))
            tensors += [w.value for w in layer.trainable_weights]
            gradients = torch.autograd.grad(loss, tensors, allow_unused=True)
            found += [np.zeros(tuple(t.shape)) if g is None else g.numpy() for g, t in zip(gradients, tensors, strict=True)]
            found = [a.astype(row["dtype"]) for a in found]
    if row["options"]["stateful"]:
        found += [array(state.value).copy() for state in layer.states]
    return found


@pytest.mark.parametrize("seed", range(200))
def test_random_configurations(seed):
    row = {**random_configuration(seed), "seed": seed}
    if TORCH and row["options"]["activation"] in ("relu", "hard_tanh", "hard_sigmoid", "elu"):
        row["dtype"] = "float64"  # a unit that rounding moves across a kink has another gradient: no error
    keras.config.set_floatx(row["dtype"])  # the precision of tanh in Keras's numpy backend, whatever that of the layer is
    expected, found = outcome(row), fuse(lambda: outcome(row))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        close(a, b, 1e-9 if row["dtype"] == "float64" else 2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backwards", [False, True])
def test_unroll_with_a_mask(kind, backwards):
    keras.config.set_floatx("float64")
    if TORCH and backwards:
        return  # see test_what_is_left
    x = np.random.default_rng(0).standard_normal((4, 5, 3))
    mask = np.array([[0, 1, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 1]], bool)
    for zero in (False, True):
        options = {"unroll": True, "zero_output_for_mask": zero, "go_backwards": backwards, "return_state": True}
        for sequences in (False, True):
            layer = KINDS[kind](3, dtype="float64", return_sequences=sequences, **options)
            expected = [array(a) for a in layer(x, mask=ops.convert_to_tensor(mask))]
            found = [array(a) for a in fuse(lambda layer=layer: layer(x, mask=ops.convert_to_tensor(mask)))]
            for a, b in zip(found, expected, strict=True):
                close(a, b, 1e-9)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "GRU before", "SimpleRNN", "LSTM no recurrent", "SimpleRNN no recurrent"])
def test_dropout_draws_the_same_masks(name, masked, dropout):
    keras.config.set_floatx("float64")
    kind, _, more = name.partition(" ")
    option = {"reset_after": False} if more == "before" else {}
    option["recurrent_dropout"] = 0.0 if more == "no recurrent" else 0.3
    x = np.random.default_rng(0).standard_normal((5, 6, 3))
    mask = ops.convert_to_tensor(np.random.default_rng(1).random((5, 6)) < 0.7) if masked else None
    layer = KINDS[kind](4, dropout=dropout, seed=1, dtype="float64", return_sequences=True, **option)
    layer.build(x.shape)
    seed = array(layer.cell.seed_generator.state.value).copy()

    def run(training=True):
        layer.cell.seed_generator.state.assign(seed)
        given = ops.convert_to_tensor(x)
        y = layer(given.requires_grad_() if TORCH else given, mask=mask, training=training)
        if not TORCH:
            return [array(y)]
        tensors = [given, *(w.value for w in layer.trainable_weights)]
        return [array(y), *map(array, torch.autograd.grad((y**2).sum(), tensors))]

    expected = run()
    for a, b in zip(fuse(run), expected, strict=True):
        close(a, b, 1e-9)
    if dropout or option["recurrent_dropout"]:
        assert not np.allclose(run(training=False)[0], expected[0])


def test_stacked_model_predicts_and_trains_the_same():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 20, (48, 12)), rng.standard_normal((48, 2))

    def model():
        keras.utils.set_random_seed(0)
        net = keras.Sequential(
            [
                keras.Input((12,)),
                layers.Embedding(20, 6, mask_zero=True),
                layers.Bidirectional(layers.LSTM(7, return_sequences=True)),
                layers.GRU(5, return_sequences=True, recurrent_dropout=0.2),
                layers.SimpleRNN(4, dropout=0.1),
                layers.Dense(2),
            ]
        )
        net.compile("adam", "mse")
        return net

    def run():
        net = model()
        found = [net.predict(x, verbose=0)]
        if TORCH:
            net.fit(x, y, batch_size=16, epochs=2, verbose=0)
            found += [net.predict(x, verbose=0), *net.get_weights()]
        return found

    for a, b in zip(fuse(run), run(), strict=True):
        close(a, b, 1e-5)


def test_save_and_load_are_keras_own(tmp_path):
    x = np.random.default_rng(0).standard_normal((3, 5, 2)).astype("float32")
    net = keras.Sequential([keras.Input((5, 2)), layers.Bidirectional(layers.LSTM(4)), layers.Dense(1)])
    net.compile("adam", "mse")
    expected, config = net.predict(x, verbose=0), net.get_config()
    rnnfast.keras.enable()
    net.save(tmp_path / "net.keras")
    assert net.get_config() == config
    close(keras.saving.load_model(tmp_path / "net.keras").predict(x, verbose=0), expected, 1e-6)
    rnnfast.keras.disable()
    close(keras.saving.load_model(tmp_path / "net.keras").predict(x, verbose=0), expected, 0)


def test_enable_twice_and_disable_put_the_identical_functions_back():
    classes = (layers.LSTM, layers.GRU, layers.SimpleRNN, layers.RNN)
    before = [vars(c).get("inner_loop") for c in classes]
    rnnfast.keras.enable()
    inside = [vars(c)["inner_loop"] for c in classes]
    rnnfast.keras.enable()
    assert [vars(c)["inner_loop"] for c in classes] == inside
    rnnfast.keras.disable()
    rnnfast.keras.disable()
    after = [vars(c).get("inner_loop") for c in classes]
    assert all(a is b for a, b in zip(after, before, strict=True)) and before[2] is None


def test_symbolic_calls_leave_no_line():
    rnnfast.keras.enable()
    inputs = keras.Input((None, 3))
    net = keras.Model(inputs, layers.LSTM(4)(layers.GRU(4, return_sequences=True)(inputs)))
    assert net.output_shape == (None, 4) and rnnfast.keras.report() == ()
    net(np.zeros((2, 5, 3), np.float32))
    assert [row[1:] for row in rnnfast.keras.report()] == [
        ("GRU", True, "compiled gru", 1),
        ("LSTM", True, "compiled lstm", 1),
    ]


class OwnCell(layers.LSTMCell):
    def call(self, *args, **kwargs):
        output, states = super().call(*args, **kwargs)
        return 2 * output, states


class OwnLayer(layers.LSTM):
    def __init__(self, units):
        super().__init__(units)
        self.cell = OwnCell(units)


LEFT = {
    "a cell in RNN": (
        lambda: layers.RNN(layers.LSTMCell(3)),
        {},
        "only the layers LSTM, GRU and SimpleRNN run on rnnfast; use one",
    ),
    "own cell": (
        lambda: OwnLayer(3),
        {},
        "rnnfast computes LSTM layers with LSTMCell, and the cell is OwnCell; use the cell of LSTM",
    ),
    "gelu": (lambda: layers.GRU(3, activation="gelu"), {}, "the activation gelu is not one that rnnfast has; use one of elu, "),
    "own function": (lambda: layers.SimpleRNN(3, activation=lambda v: v / 2), {}, "the activation <lambda> is not one"),
    "float16": (
        lambda: layers.LSTM(3, dtype="mixed_float16"),
        {},
        "rnnfast computes in float32 and float64, and the weights are float16; make the layer with dtype='float32'",
    ),
    "state of one row": (
        lambda: layers.GRU(3),
        {"initial_state": np.ones((1, 3), "float32")},
        "rnnfast needs initial states of shape (2, 3) = (batch, units), and one has (1, 3); repeat or reshape it",
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left(name):
    made, given, reason = LEFT[name]
    x, layer = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("float32"), made()
    given = {name: ops.convert_to_tensor(value) for name, value in given.items()}
    expected = array(layer(x, **given))
    rnnfast.keras.enable()
    assert np.array_equal(array(layer(x, **given)), expected)
    (row,) = rnnfast.keras.report()
    assert row == (layer.name, type(layer).__name__, False, row.how, 1) and rnnfast.keras.report().left == (row,)
    assert row.how.startswith(reason) and f"Keras: {reason}" in str(rnnfast.keras.report())


def test_errors_of_keras_stay():
    x, mask = np.zeros((2, 4, 3), "float32"), ops.convert_to_tensor(np.array([[True, False, True, True]] * 2))

    def problem(layer):
        with pytest.raises(Exception) as caught:
            layer(x, mask=mask)
        return type(caught.value)

    wrong = [layers.LSTM(3, use_cudnn=True)]
    if TORCH:  # torch.flip of a tuple, in keras/src/backend/torch/rnn.py
        wrong.append(layers.GRU(3, unroll=True, go_backwards=True))
    for layer in wrong:
        layer.build(x.shape)
        expected = problem(layer)
        rnnfast.keras.enable()
        assert problem(layer) is expected and not rnnfast.keras.report().fused
        rnnfast.keras.disable()


def test_integers_and_views_are_read_as_keras_reads_them():
    layer = layers.LSTM(3)
    for x in (np.arange(24).reshape(2, 4, 3), np.arange(48.0).reshape(2, 3, 8)[:, :, ::2].swapaxes(1, 2).astype("float32") / 9):
        given = ops.convert_to_tensor(x)
        before = array(given).copy()
        expected = array(layer(given))
        close(array(fuse(lambda given=given: layer(given))), expected, 1e-6)
        assert np.array_equal(array(given), before)


if TORCH:

    def test_jit_compile_is_left_to_keras():
        net = keras.Sequential([keras.Input((3, 2)), layers.LSTM(3, name="rnn"), layers.Dense(1)])
        net.compile("sgd", "mse", jit_compile=True)
        x = np.zeros((2, 3, 2), "float32")
        rnnfast.keras.enable()
        torch._dynamo.reset()
        compiled = torch.compile(lambda a: net(a), backend="eager")
        for _ in range(2):
            compiled(torch.from_numpy(x))
        rows = rnnfast.keras.report()
        assert not rows.fused and len(rows) == 1 and "jit_compile=False" in rows[0].how and rows[0].calls >= 1

    def test_a_change_in_place_before_backward_is_torchs_error():
        layer, x = layers.LSTM(3), torch.ones((2, 4, 3))
        y = fuse(lambda: layer(x))
        x += 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_second_backward_and_second_derivative_are_errors():
        layer, x = layers.GRU(3), torch.ones((2, 4, 3), requires_grad=True)
        y = fuse(lambda: layer(x))
        y.sum().backward()
        with pytest.raises(RuntimeError, match="second time"):
            y.sum().backward()
        x = (y.detach()[:, None].expand(2, 4, 3) * torch.ones(2, 4, 3)).requires_grad_()
        (g,) = torch.autograd.grad((fuse(lambda: layer(x)) ** 2).sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            g.sum().backward()

    def test_functional_transformations_are_left():
        layer = layers.SimpleRNN(3)
        layer.build((2, 4, 3))
        rnnfast.keras.enable()
        torch.func.vmap(lambda x: layer(x))(torch.ones((5, 2, 4, 3)))
        assert rnnfast.keras.report()[0].how == (
            "rnnfast cannot see into transformations of torch such as vmap, grad and jvp; call the model outside of them"
        )

    def test_tensors_that_are_left_to_keras():
        from rnnfast.keras._on_torch import foreign

        class Own(torch.Tensor):
            pass

        plain = torch.ones(2, 3)
        assert foreign(plain) is foreign(torch.nn.Parameter(plain)) is foreign(plain.T) is None
        assert foreign(plain.to("meta")) == (
            "rnnfast computes on the CPU, and a tensor is on meta; use the model under keras.device('cpu')"
        )
        assert foreign(plain.to_sparse()) == (
            "rnnfast reads dense tensors, and one has the layout torch.sparse_coo; pass x.to_dense()"
        )
        assert foreign(plain.as_subclass(Own)) == (
            "rnnfast reads plain tensors, and one is a Own; pass x.as_subclass(torch.Tensor)"
        )

    def test_frozen_weights_and_no_gradients():
        layer, x = layers.LSTM(3), torch.ones((2, 4, 3))
        layer.build((2, 4, 3))
        with torch.no_grad():
            assert not fuse(lambda: layer(x)).requires_grad
        layer.trainable = False
        assert not fuse(lambda: layer(x)).requires_grad
