"""Arrays of other libraries as arguments: every public call takes them, without a copy; what cannot be read is a clear error.

`PRODUCERS` says how an ndarray becomes the array of each library. All of them share the memory of that ndarray, but for JAX's,
whose memory is its own.
"""

from __future__ import annotations

import numpy as np
import pytest
import stacks

import rnnfast
from rnnfast._engine import checks
from rnnfast._kernels import _call, _fast_path, _weights

T, B, I, H = 6, 3, 5, 4


class WithArray:
    """Nothing but __array__, as xarray, pandas and many others have it."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        assert dtype is None and copy is not True
        return self.array


class WithDLPack:
    """Nothing but DLPack, the protocol between libraries of arrays."""

    def __init__(self, array, device=(1, 0)):
        self.array, self.device_of_dlpack = array, device

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device_of_dlpack


def read_only(array):
    view = array[...]
    view.flags.writeable = False
    return view


def from_torch(array):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
    return torch.from_numpy(array)


def from_jax(array):
    jax = pytest.importorskip("jax", reason="JAX is not installed (pip install jax)")
    return jax.numpy.array(array)


PRODUCERS = {
    "read-only": read_only,
    "torch": from_torch,
    "jax": from_jax,
    "__array__": WithArray,
    "__dlpack__": WithDLPack,
    "read-only __dlpack__": lambda a: WithDLPack(read_only(a)),
    "memoryview": lambda a: memoryview(a),
}


@pytest.fixture(params=PRODUCERS)
def made(request):
    return PRODUCERS[request.param]


def memory(value):
    """An ndarray over the memory of an array of any library."""
    return np.from_dlpack(value) if isinstance(value, WithDLPack) else np.asarray(value)


def shared(array, value):
    return np.shares_memory(array, memory(value))


def converted(made, value):
    return tuple(made(part) for part in value) if isinstance(value, tuple) else made(value)


def plain(value):
    """Whether the arrays in a result are ndarrays and nothing else."""
    return all(map(plain, value)) if isinstance(value, tuple) else type(value) is np.ndarray


@pytest.mark.parametrize("cell", stacks.CELL_NAMES)
def test_layers(made, cell):
    """A layer, with everything that it takes: x, state, lengths; dy and dstate; load_params."""
    net = stacks.small(cell, I=I, H=H, num_layers=2, bidirectional=True)
    x, state, lengths = stacks.draw(T, B, I), stacks.states(net, B), np.array([6, 2, 4])
    result = net(made(x), converted(made, state), lengths=made(lengths))
    assert plain(result) and stacks.same(result, net(x, state, lengths=lengths))

    given = made(x)
    y, final, tape = net.record(given, converted(made, state), lengths=made(lengths))
    assert shared(tape._inputs.x, given)  # kept by reference
    dy, dstate = stacks.draw(*y.shape, seed=1), stacks.states(net, B, seed=2)
    g = tape.backward(made(dy), converted(made, dstate))
    expected = net.record(x, state, lengths=lengths)[2].backward(dy, dstate)
    assert stacks.same(g, expected) and plain((g.x, *stacks.as_tuple(g.state), *g.params.values()))

    again = stacks.small(cell, I=I, H=H, num_layers=2, bidirectional=True, seed=1)
    again.load_params({name: made(value) for name, value in net.params.items()})
    assert stacks.same(tuple(again.params.values()), tuple(net.params.values()))
    assert plain(tuple(again.params.values())) and all(a.flags.writeable for a in again.params.values())


@pytest.mark.parametrize("cell", stacks.CELL_NAMES)
def test_functions(made, cell, monkeypatch):
    net, function = stacks.small(cell, I=I, H=H), getattr(rnnfast, cell)
    weights, x = list(net.params.values()), stacks.draw(T, B, I)
    state = tuple(stacks.draw(B, H, seed=i) for i in range(len(net.cell.states)))
    seen = []
    monkeypatch.setattr(_weights, "pack", lambda *a, pack=_weights.pack: (seen.append(a[4:8]), pack(*a))[1])
    given = [made(w) for w in weights]
    result = function(made(x), *given, *converted(made, state))
    assert plain(result) and stacks.same(result, function(x, *weights, *state))
    seen.clear()
    y, _, tape = function(made(x), *given, *converted(made, state), record=True)
    assert all(shared(a, b) for a, b in zip(seen[0], given, strict=True))  # weights are read where they are
    _, _, expected = function(x, *weights, *state, record=True)
    dy, dstate = stacks.draw(T, B, H, seed=3), stacks.as_argument(state)
    g = tape.backward(made(dy), converted(made, dstate))
    assert stacks.same(tuple(vars(g).values())[:6], tuple(vars(expected.backward(dy, dstate)).values())[:6])


@pytest.mark.parametrize("cell", stacks.CELL_NAMES)
def test_frozen(made, cell, monkeypatch):
    fast = stacks.small(cell, I=I, H=H, num_layers=2).freeze()
    x, state = stacks.draw(T, B, I), stacks.states(fast, B)
    assert stacks.same(fast(made(x), converted(made, state)), fast(x, state))
    seen = []
    monkeypatch.setattr(_fast_path, "step", lambda *a, step=_fast_path.step: (seen.append(a[1:3]), step(*a))[1])
    given, before = made(x[0]), converted(made, state)
    result = fast.step(given, before)
    assert plain(result) and stacks.same(result, fast.step(x[0], state))
    if seen:  # a read-only ndarray takes a shorter way, which reads the arrays where they are as well
        assert shared(seen[0][0], given)
        assert all(shared(a, b) for a, b in zip(seen[0][1], stacks.as_tuple(before), strict=True))
    out = fast.step(x[0])
    assert fast.step(given, before, out=out) is not None and stacks.same(out, fast.step(x[0], state))


def test_the_inputs_of_a_formula(made):
    net = rnnfast.zoo.TLSTM(I, H, rng=0)
    x, dt = stacks.draw(T, B, I), np.abs(stacks.draw(T, B))
    given = {"dt": made(dt)}
    assert stacks.same(net(made(x), inputs=given), net(x, inputs={"dt": dt}))
    _, _, tape = net.record(made(x), inputs=given)
    assert shared(tape._inputs.given["dt"], given["dt"])
    _, _, expected = net.record(x, inputs={"dt": dt})
    dy = stacks.draw(T, B, H, seed=1)
    assert stacks.same(tape.backward(made(dy)), expected.backward(dy))
    dropped = rnnfast.zoo.GRU(I, H, rng=0, recurrent_dropout=0.5)
    draws = {name: np.ones((B, H), np.float32) for name in ("m_r", "m_z", "m_n")}
    result = dropped.record(x, draws={name: made(value) for name, value in draws.items()})
    assert stacks.same(result[:2], dropped.record(x, draws=draws)[:2])


def test_gradients_are_read_where_they_are(made, monkeypatch):
    net, seen = stacks.small("lstm", I=I, H=H), []
    monkeypatch.setattr(_call, "backward", lambda *a, run=_call.backward: (seen.append(a[1:3]), run(*a))[1])
    y, _, tape = net.record(stacks.draw(T, B, I))
    dy, dstate = made(stacks.draw(*y.shape)), converted(made, stacks.states(net, B))
    tape.backward(dy, dstate)
    assert shared(seen[0][0], dy) and all(shared(a, b) for a, b in zip(seen[0][1], dstate, strict=True))


def test_memory_orders_of_torch():
    """A transposed tensor is read in its own memory order, and an expanded one is copied as an ndarray would be."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
    net = rnnfast.LSTM(I, H, batch_first=True, rng=0)
    x = torch.arange(T * B * I, dtype=torch.float32).reshape(T, B, I) / 50
    for tensor in (x.transpose(0, 1), x[:, :1].expand(T, B, I).transpose(0, 1), x.flip(0).transpose(0, 1)[:, ::2]):
        assert stacks.same(net(tensor), net(np.ascontiguousarray(tensor.numpy())))
    w = torch.randn(I, 4 * H, dtype=torch.float64)
    assert checks.float_array("w", w.T).ctypes.data == w.data_ptr()


# ---- out -------------------------------------------------------------------------------------------------------------------
def test_out_is_written_into_or_refused(made):
    fast = stacks.small("lstm", I=I, H=H).freeze()
    x = stacks.draw(T, B, I)
    y, (h, c) = fast(x)
    wrong = made(y.copy())
    text = (
        "a writeable C-contiguous array, got a read-only one"
        if isinstance(wrong, np.ndarray)
        else "a plain array to write into, got"
    )
    for out in ((wrong, (h, c)), (y, (made(h.copy()), c)), (y, (h, made(c.copy())))):
        with pytest.raises((TypeError, ValueError), match=rf"^out\[\d\].*: expected {text}"):
            fast(x, out=out)
        one = (out[0] if out[0] is not y else y[0].copy(), out[1])
        with pytest.raises((TypeError, ValueError), match=r"^out\[\d\]"):
            fast.step(x[0], out=one)


@pytest.mark.parametrize("name", [name for name in PRODUCERS if name != "jax"])
def test_overlap_is_seen_through_other_libraries(name):
    """out may be exactly the state that comes in, and overlaps nothing else."""
    made, fast = PRODUCERS[name], stacks.small("gru", I=H, H=H).freeze()
    x, state = stacks.draw(B, H), stacks.draw(1, B, H, seed=1)
    expected = fast.step(x, state)
    y, after = np.empty_like(x), state.copy()
    fast.step(made(x), made(after), out=(y, after))
    assert stacks.same((y, after), expected)
    whole = np.zeros((2, B, H), np.float32)
    whole[:1] = state
    for given_x, given_state, out in (
        (made(y), made(state), (y, after)),
        (made(x), made(whole[:1]), (y, whole.reshape(-1)[H : H + B * H].reshape(1, B, H))),
    ):
        with pytest.raises(ValueError, match="^out.*: expected memory of its own, got an array that overlaps (x|state)"):
            fast.step(given_x, given_state, out=out)
    xs = np.zeros((T, B, H), np.float32)
    with pytest.raises(ValueError, match=r"^out\[0\] .*overlaps x"):
        fast(made(xs), out=(xs, after))


# ---- what cannot be read ---------------------------------------------------------------------------------------------------
def refused(text, value):
    """By each of the public calls, with a text that begins with the name of the argument."""
    net = rnnfast.GRU(I, H)
    x, fast = np.zeros((T, B, I), np.float32), net.freeze()
    y, _, tape = net.record(x)
    weights = tuple(net.params.values())
    for name, call in {
        "x": lambda: net(value),
        "x_t": lambda: fast.step(value),
        "state": lambda: net(x, value),
        "lengths": lambda: net(x, lengths=value),
        "w_hh": lambda: rnnfast.gru(x, weights[0], value),
        "h0": lambda: rnnfast.gru(x, *weights, value),
        "dy": lambda: tape.backward(value),
        "dstate": lambda: tape.backward(y, value),
        "weight_hh_l0": lambda: net.load_params({**net.params, "weight_hh_l0": value}),
    }.items():
        with pytest.raises(TypeError) as told:
            call()
        assert str(told.value).startswith(f"{name}: {text.replace('NAME', name)}")


def test_tensors_that_cannot_be_read():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
    refused("expected an array, got Tensor that requires grad; pass NAME.detach()", torch.zeros(2, requires_grad=True))
    refused("expected an array, got Parameter that requires grad; pass NAME.detach()", torch.nn.Parameter(torch.zeros(2)))
    refused("expected an array on the CPU, got Tensor on meta; copy it, e.g. NAME.cpu()", torch.zeros(2, device="meta"))
    refused("expected dtype float32 or float64, got torch.bfloat16; pass NAME.float()", torch.zeros(2, dtype=torch.bfloat16))
    refused("expected an array that NumPy can read, got Tensor (can't convert Sparse", torch.zeros(2, 2).to_sparse())
    with pytest.raises(TypeError, match=r"^state\[1\] \(c\): .* requires grad; pass state\[1\]\.detach\(\)"):
        rnnfast.LSTM(I, H)(np.zeros((T, B, I), np.float32), (None, torch.zeros(1, B, H, requires_grad=True)))
    with pytest.raises(TypeError, match=r"^x: expected an array that NumPy can read, got list"):
        rnnfast.LSTM(I, H)([torch.zeros(2, I, requires_grad=True)])
    for dtype in (torch.float16, torch.int64):
        with pytest.raises(TypeError, match=r"^x: expected dtype float32 .*; use x\.float\(\)$"):
            rnnfast.LSTM(I, H)(torch.zeros(T, B, I, dtype=dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_cast_is_the_one_of_the_library(dtype):
    """It is what its users write, and it works."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
    jax = pytest.importorskip("jax", reason="JAX is not installed (pip install jax)")
    net, other = rnnfast.GRU(I, H, dtype=dtype), "float64" if dtype == "float32" else "float32"
    array, kernels = np.ones((T, B, I), other), tuple(net.params.values())
    of_jax = jax.numpy.asarray(array.astype(np.float32))
    if dtype == "float32":  # float64 is switched off, as JAX has it by default
        of_jax = of_jax.astype(np.int32)
    for value, cast in (
        (torch.from_numpy(array), "x.float()" if dtype == "float32" else "x.double()"),
        (torch.nn.Parameter(torch.from_numpy(array), requires_grad=False), "x.float()" if dtype == "float32" else "x.double()"),
        (of_jax, "x.astype(np.float32)" if dtype == "float32" else "np.asarray(x, dtype=np.float64)"),
        (array, f"x.astype(np.{dtype})"),
        (array.tolist() if other == "float64" else array.astype(int).tolist(), f"np.asarray(x, dtype=np.{dtype})"),
    ):
        functions = [lambda x: rnnfast.gru(x, *kernels)] if checks.as_array("x", value).dtype == other else []
        for call in (net, net.freeze(), net.record, *functions):
            with pytest.raises(TypeError, match=rf"^x: expected dtype {dtype} like .*; use ") as told:
                call(value)
            assert str(told.value).endswith(f"; use {cast}")
            call(eval(cast, {"np": np, "x": value}))


def test_arrays_of_other_devices():
    """A stand-in for a GPU's, as this machine may have none."""
    array = np.zeros((T, B, I), np.float32)
    expected = "expected an array that NumPy can read, got WithDLPack (its DLPack device is (2, 0), which is not the CPU)"
    refused(expected, WithDLPack(array, (2, 0)))

    class OnGPU:
        device = "cuda:0"
        dtype = "torch.float32"

        def __array__(self, dtype=None, copy=None):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

    refused("expected an array on the CPU, got OnGPU on cuda:0; copy it, e.g. NAME.cpu()", OnGPU())


def test_jax_arrays_that_cannot_be_read():
    jax = pytest.importorskip("jax", reason="JAX is not installed (pip install jax)")
    net = rnnfast.GRU(I, H)
    with pytest.raises(TypeError, match=r"^x: expected dtype float32 .*, got bfloat16; use x\.astype\(np\.float32\)"):
        net(jax.numpy.zeros((T, B, I), jax.numpy.bfloat16))
    with pytest.raises(TypeError, match="^x: expected an array that NumPy can read, got .*Tracer"):
        jax.jit(net)(jax.numpy.zeros((T, B, I)))


def test_other_objects():
    net = rnnfast.GRU(I, H)
    with pytest.raises(ValueError, match="^x: expected an array, got nested sequences of unequal lengths"):
        net([[1.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match="^lengths: expected an array, got nested sequences of unequal lengths"):
        net(np.zeros((T, B, I), np.float32), lengths=[1, [2, 3], 4])
    for masked in (np.ma.masked_array(np.zeros((T, B, I), np.float32)), np.zeros((T, I), np.float32).view(np.matrix)):
        with pytest.raises(TypeError, match="^x: expected a plain array, got"):
            net(masked)


def test_the_fast_path_asks_nothing_of_ndarrays(monkeypatch):
    """The attributes of other libraries are looked for only after an argument is found to be no ndarray."""
    monkeypatch.setattr(checks, "as_array", lambda *_: pytest.fail("an ndarray took the long way"))
    net = rnnfast.LSTM(I, H, num_layers=2, bidirectional=True, rng=0)
    x = stacks.draw(T, B, I)
    y, state, tape = net.record(x, stacks.states(net, B))
    tape.backward(y, state)
    net.load_params(net.params)
    net.freeze()(x)
