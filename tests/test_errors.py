"""Wrong input to functions: a TypeError or ValueError that names the argument, what was expected, what came and the remedy."""

import numpy as np
import pytest
import stacks
from right_calls import CELL_NAMES, B, H, I, T, arguments, call, layer

import rnnfast


# ---- functions -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("cell", "name"), [(cell, name) for cell in CELL_NAMES for name in arguments(cell)])
def test_shapes(cell, name):
    a = arguments(cell)[name]
    wrong = [a[..., :-1], a[..., None, None], np.zeros(())]
    if name in ("w_hh", "b_ih", "b_hh", "h0", "c0"):
        wrong += [a[:-1], a[None]]
    for value in wrong:
        with pytest.raises(ValueError, match=rf"^{name if name != 'w_ih' else '(w_ih|x)'}: expected .*got"):
            call(cell, {name: np.asarray(value, np.float32)})


@pytest.mark.parametrize("cell", CELL_NAMES)
@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.complex64, object, bool, "U3", np.longdouble, "M8[s]"])
def test_unsupported_dtypes(cell, dtype):
    for name, a in arguments(cell).items():
        with pytest.raises(TypeError, match=rf"^{name}: expected dtype float32 or float64, got .*cast it"):
            call(cell, {name: np.zeros(a.shape, dtype)})


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_mixed_dtypes_name_the_cast(cell):
    """The one array that differs from all others is told: float64 x, NumPy's default, beside float32 weights, or any other."""
    for given, other in ((np.float32, np.float64), (np.float64, np.float32)):
        for name in arguments(cell):
            changes = {n: b.astype(other if n == name else given) for n, b in arguments(cell).items()}
            cast = rf"use {name}\.astype\(np\.{np.dtype(given)}\)$"
            with pytest.raises(
                TypeError, match=rf"^{name}: expected dtype {np.dtype(given)} like .*, got {np.dtype(other)}; {cast}"
            ):
                call(cell, changes)
    with pytest.raises(
        TypeError, match=r"^x: expected dtype float32 like w_ih, got float64; use np\.asarray\(x, dtype=np\.float32\)"
    ):
        rnnfast.lstm(np.zeros((2, 1, 1)).tolist(), np.zeros((4, 1), "f"), np.zeros((4, 1), "f"))
    with pytest.raises(TypeError, match=r"^x: expected dtype float32 like w_ih"):  # the states are NumPy's default too
        rnnfast.lstm(np.zeros((2, 1, 1)), *np.zeros((2, 4, 1), "f"), None, None, *np.zeros((2, 1, 1)))
    with pytest.raises(TypeError, match=r"^state\[1\] \(c\): expected dtype float32 .*; use state\[1\]\.astype\(np\.float32\)"):
        layer("lstm")(np.zeros((T, B, I), "f"), (None, np.zeros((1, B, H))))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_layer_says_what_to_write(dtype):
    """For a list as well as for an array of any dtype; what is told to be written then works."""
    net, other = layer("gru", dtype=dtype), {"float32": "float64", "float64": "float32"}[dtype]
    fast, good = net.freeze(), np.ones((T, B, I), dtype)
    *_, tape = net.record(good)
    calls = {
        "x": (net, fast, net.record),
        "x_t": (lambda a: fast.step(a[0]), lambda a: fast.step(a[0], out=fast.step(good[0]))),
        "state": (lambda a: net(good, a[:1, :, :1].repeat(H, 2)), lambda a: fast.step(good[0], a[:1, :, :1].repeat(H, 2))),
        "dy": (lambda a: tape.backward(a[:, :, :1].repeat(H, 2)),),
    }
    for name, runs in calls.items():
        for run in runs:
            for came in (other, "int64", "bool", "uint8", "float16"):
                with pytest.raises(TypeError) as told:
                    run(good.astype(came))
                text = str(told.value)
                assert text.startswith(f"{name}: expected dtype {dtype} like ") and f", got {came}; use " in text
                assert text.endswith(f"; use {name}.astype(np.{dtype})")
    for value, came in ((good.astype(int).tolist(), "int64"), (good.astype(float).tolist(), "float64")):
        for name, run in (("x", net), ("x", fast), ("x_t", lambda a: fast.step(a[0]))):
            if came == dtype:
                assert stacks.same(run(value), run(good))
                continue
            with pytest.raises(TypeError, match=rf"^{name}: expected dtype {dtype} like the layer, got {came}; use ") as told:
                run(value)
            cast = str(told.value).partition("; use ")[2]
            assert cast == f"np.asarray({name}, dtype=np.{dtype})"
            assert stacks.same(run(eval(cast, {"np": np, name: value})), run(good))
    with pytest.raises(TypeError, match=f"^x: expected dtype {dtype} like the layer, got None$"):
        net(None)
    swapped = good.astype(good.dtype.newbyteorder())
    with pytest.raises(TypeError, match=rf"^x: expected native byte order, got .*; use x\.astype\(np\.{dtype}\)$"):
        net(swapped)
    with pytest.raises(TypeError, match=rf"^x: expected native byte order, got .*; use x\.astype\(np\.{dtype}\)$"):
        net(swapped.astype(np.dtype(other).newbyteorder()))


@pytest.mark.parametrize("dtype", ["V0", [], "S0", "V4", "O", "c8", "f2", "i4"])
def test_arrays_of_no_float_dtype(dtype):
    """Some have items of 0 bytes, by which nothing must be divided."""
    net, good = rnnfast.LSTM(3, 5), np.zeros((1, 1, 3), "f")
    bad = np.zeros((1, 1, 3), dtype)
    for run in (
        net,
        net.freeze(),
        net.record,
        lambda x: net.freeze().step(x[0]),
        lambda x: rnnfast.lstm(x, *net.params.values()),
    ):
        with pytest.raises(TypeError, match="^x(_t)?: expected dtype float32"):
            run(bad)
    for i in range(4):
        weights = list(net.params.values())
        weights[i] = np.zeros(weights[i].shape, dtype)
        with pytest.raises(TypeError, match="^[wb]_[ih]h: expected dtype float32"):
            rnnfast.lstm(good, *weights)
    with pytest.raises(TypeError, match=r"^state\[0\] \(h\): expected dtype float32"):
        net(good, (np.zeros((1, 1, 5), dtype), None))


def test_other_kinds_of_arrays():
    good = arguments("lstm")
    for name, a in good.items():
        with pytest.raises(
            TypeError, match=rf"^{name}: expected native byte order, got .*; use {name}\.astype\(np\.float32\)$"
        ):
            call("lstm", {name: a.astype(a.dtype.newbyteorder())})
        with pytest.raises(TypeError, match=rf"^{name}: expected a plain array, got a masked array; .*filled"):
            call("lstm", {name: np.ma.array(a)})
        with pytest.raises(ValueError, match=rf"^{name}: expected an array, got nested"):
            call("lstm", {name: [[1.0], [1.0, 2.0]]})
    with pytest.raises(TypeError, match=r"^w_ih: expected a plain array, got np\.matrix; .*asarray"):
        call("lstm", {"w_ih": np.matrix(good["w_ih"])})
    with pytest.raises(TypeError, match="^x: expected dtype"):
        rnnfast.lstm(None, good["w_ih"], good["w_hh"])
    with pytest.raises(TypeError, match="^x: expected dtype"):
        rnnfast.lstm("text", good["w_ih"], good["w_hh"])


def test_weights_that_are_no_gates():
    with pytest.raises(ValueError, match=r"^w_hh: expected shape \(4\*H, H\)"):
        rnnfast.lstm(np.zeros((T, B, I)), np.zeros((7, I)), np.zeros((7, 2)))
    with pytest.raises(ValueError, match=r"^w_ih: expected shape \(8, I\)"):
        rnnfast.lstm(np.zeros((T, B, I)), np.zeros((7, I)), np.zeros((8, 2)))
    for rows, columns in ((0, I), (8, 0)):
        with pytest.raises(ValueError, match="[HI] at least 1"):
            rnnfast.lstm(np.zeros((T, B, columns)), np.zeros((rows, columns)), np.zeros((rows, rows // 4)))


def test_arrays_the_other_way_round():
    """The remedy says which expression fits: of what is transposed, a column, lacks an axis, or is batch first."""
    w_ih, w_hh, b, x = np.zeros((4 * H, I)), np.zeros((4 * H, H)), np.zeros(4 * H), np.zeros((T, 1, I))
    for text, given in {
        r"^w_ih: .*transposed: pass w_ih\.T": (x, w_ih.T, w_hh),
        r"^w_hh: .*transposed: pass w_hh\.T": (x, w_ih, w_hh.T),
        r"^b_ih: .*a column: pass b_ih\.reshape\(24,\)": (x, w_ih, w_hh, b[:, None]),
        r"^h0: .*transposed: pass h0\.T": (x, w_ih, w_hh, b, b, np.zeros((H, 1))),
        r"^h0: .*a column: pass h0\.reshape\(6,\)": (x[:, 0], w_ih, w_hh, b, b, np.zeros((H, 1))),
        r"^x: .*so perhaps x\.swapaxes\(1, 2\)": (x.swapaxes(1, 2), w_ih, w_hh),
        r"^x: .*so perhaps x\.T": (x[:, 0].T, w_ih, w_hh),
    }.items():
        with pytest.raises(ValueError, match=text):
            rnnfast.lstm(*given)
    net = layer("gru")
    with pytest.raises(ValueError, match=r"^state: .*a column: pass state\.reshape\(1, 1, 6\)"):
        net(x.astype("f"), np.zeros((H, 1), "f"))
    with pytest.raises(ValueError, match=r"^state: .*; pass state\[None\]"):
        net(x.astype("f"), np.zeros((1, H), "f"))
    with pytest.raises(ValueError, match=r"^lengths: .*; with batch_first=True the batch of x is 4"):
        net(np.zeros((T, B, I), "f"), lengths=[1] * T)


@pytest.mark.parametrize("text", ["i f g", "i f g g", "i f c o", "z r n", "", "ifgoo"])
def test_gate_order(text):
    with pytest.raises(ValueError, match="^gate_order: expected the letters i f g o in any order, each once, got"):
        call("lstm", {"gate_order": text})
    with pytest.raises(TypeError, match="^gate_order: expected a string"):
        call("lstm", {"gate_order": ("i", "f", "g", "o")})


@pytest.mark.parametrize(
    ("lengths", "kind", "text"),
    [
        ([1, 2], ValueError, r"expected shape \(3,\) = \(batch\), got \(2,\)"),
        ([[1, 2, 3]], ValueError, "expected shape"),
        (3, ValueError, "expected shape"),
        ([1, 2, 5], ValueError, r"expected 0 <= length <= 4 \(time\), got 5 at index 2"),
        ([1, -1, 2], ValueError, "got -1 at index 1"),
        ([2**63, 1, 1], TypeError, "expected integers, got dtype float64"),
        ([2**70, 1, 1], TypeError, "expected integers, got dtype object"),
        ([1.0, 2.0, 3.0], TypeError, "expected integers, got dtype float64"),
        ([True, False, True], TypeError, "expected integers, got a bool"),
        ([1, np.True_, 2], TypeError, "expected integers, got a bool"),
        (np.array([True, False, True]), TypeError, "expected integers, got dtype bool"),
        (["a", "b", "c"], TypeError, "expected integers"),
        ([None] * 3, TypeError, "expected integers"),
        ([[1], [2, 3]], ValueError, "got nested sequences"),
    ],
)
def test_lengths(lengths, kind, text):
    for run in (lambda: call("gru", {}, lengths=lengths), lambda: layer("gru")(np.zeros((T, B, I), "f"), lengths=lengths)):
        with pytest.raises(kind, match=f"^lengths: .*{text}"):
            run()


def test_lengths_need_a_batch():
    with pytest.raises(ValueError, match="^lengths: expected None with unbatched x"):
        call("gru", {"x": np.zeros((T, I), "f"), "h0": None}, lengths=[1])


def test_options():
    for value in ("Tanh", None, 3, b"tanh", np.array(["tanh", "relu"]), "softmax"):
        with pytest.raises(ValueError, match="^nonlinearity: expected one of 'tanh', 'relu', 'identity', 'sigmoid', got"):
            call("simple_rnn", {}, nonlinearity=value)
        with pytest.raises(ValueError, match="^nonlinearity: expected one of"):
            rnnfast.SimpleRNN(2, 2, nonlinearity=value)
    for value in (1, 0, None, "True"):
        with pytest.raises(ValueError, match="^reset_after: expected one of True, False"):
            call("gru", {}, reset_after=value)
        for name in ("reverse", "record"):
            with pytest.raises(TypeError, match=f"^{name}: expected True or False, got"):
                call("lstm", {}, **{name: value})
