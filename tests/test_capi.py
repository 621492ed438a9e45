"""Frozen layers called from C: the table of functions by ctypes, threads without Python and rnnfast_import by small libraries
in C that are compiled here, and the example project."""

import ctypes
import gc
import os
import shutil
import subprocess
import sys
import sysconfig
from ctypes import POINTER, Structure, c_char_p, c_int, c_long, c_ssize_t, c_uint32, c_void_p, py_object, pythonapi
from pathlib import Path

import numpy as np
import pytest
from formula_cells import VARIANTS as ZOO
from formula_cells import make as make_zoo
from stacks import VARIANTS, as_argument, as_tuple, draw, same
from stacks import small as make
from test_readme import PAGES, blocks

import rnnfast
from rnnfast._kernels import _capi

HERE = Path(__file__).parent
OK, NO_MEMORY, BAD = 0, -1, -2
NAME = b"rnnfast._kernels._capi._C_API"
SIZE = ctypes.CFUNCTYPE(c_ssize_t, c_void_p)
NUMBER = ctypes.CFUNCTYPE(c_int, c_void_p)
POINTERS = POINTER(c_void_p)


class Table(Structure):
    """rnnfast_api."""

    _fields_ = (
        ("abi", c_uint32),
        ("size", c_uint32),
        ("frozen", ctypes.PYFUNCTYPE(c_void_p, py_object)),
        ("input_size", SIZE),
        ("hidden_size", SIZE),
        ("num_layers", SIZE),
        ("num_states", NUMBER),
        ("itemsize", NUMBER),
        ("reserve", ctypes.CFUNCTYPE(c_int, c_void_p, c_ssize_t, c_ssize_t)),
        ("step", ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, POINTERS, c_void_p, POINTERS, c_ssize_t)),
        ("forward", ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, POINTERS, c_void_p, POINTERS, c_ssize_t, c_ssize_t)),
    )


pythonapi.PyCapsule_GetPointer.restype, pythonapi.PyCapsule_GetPointer.argtypes = c_void_p, (py_object, c_char_p)
pythonapi.PyCapsule_New.restype, pythonapi.PyCapsule_New.argtypes = py_object, (c_void_p, c_char_p, c_void_p)
api = Table.from_address(pythonapi.PyCapsule_GetPointer(_capi._C_API, NAME))


def pointers(arrays):
    """None in their place is NULL."""
    return None if arrays is None else (c_void_p * len(arrays))(*[None if a is None else a.ctypes.data for a in arrays])


def step(net, x, before, y, after, rows=None):
    return api.step(net, x.ctypes.data, pointers(before), y.ctypes.data, pointers(after), x.shape[0] if rows is None else rows)


def forward(net, x, before, y, after):
    return api.forward(net, x.ctypes.data, pointers(before), y.ctypes.data, pointers(after), *x.shape[:2])


def check(frozen, x, state):
    """Steps and the whole sequence x (T, B, I) from this state or None, against Python's step."""
    net, (T, B, _), H = api.frozen(frozen), x.shape, frozen.hidden_size
    assert (api.input_size(net), api.hidden_size(net)) == (frozen.input_size, H)
    assert (api.num_layers(net), api.itemsize(net)) == (frozen.num_layers, x.itemsize)
    count, shape = api.num_states(net), (frozen.num_layers, B, H)
    assert count == len(frozen.cell.declaration.states if hasattr(frozen.cell, "declaration") else frozen.cell.states)
    expected, now = np.empty((T, B, H), x.dtype), state
    for t in range(T):
        expected[t], now = frozen.step(x[t], now)
    first = None if state is None else [a.copy() for a in as_tuple(state)]
    y, after = np.full_like(expected, np.nan), [np.full(shape, np.nan, x.dtype) for _ in range(count)]
    assert forward(net, x, first, y, after) == OK
    assert same((y, tuple(after)), (expected, as_tuple(now)))
    if first is not None:
        assert same(tuple(first), as_tuple(state))
        in_place = [a.copy() for a in first]
        assert forward(net, x, in_place, y, in_place) == OK and same((y, tuple(in_place)), (expected, as_tuple(now)))
    y[:], before = np.nan, first
    for t in range(T):
        assert step(net, x[t], before, y[t], after) == OK
        before = after  # in place from here on
    assert same((y, tuple(after)), (expected, as_tuple(now)))


@pytest.mark.parametrize(("cell", "options"), VARIANTS)
@pytest.mark.parametrize(("layers", "T", "B", "H"), [(1, 3, 1, 16), (1, 2, 5, 19), (2, 1, 1, 7), (3, 9, 4, 33)])
def test_same_bits_as_step(cell, options, layers, T, B, H, dtype, isa):
    net = make(cell, dtype, H=H, num_layers=layers, **options)
    x, state = draw(T, B, 5, dtype=dtype), [draw(layers, B, H, seed=3 + i, dtype=dtype) for i in range(len(net.cell.states))]
    for given in (None, as_argument(state)):
        check(net.freeze(), x, given)


@pytest.mark.parametrize(("name", "options"), ZOO)
def test_cells_that_are_formulas(name, options, dtype, isa):
    frozen = make_zoo(name, dtype, num_layers=2, **options).freeze()
    variant = frozen._form.variant
    if variant.inputs:
        with pytest.raises(ValueError, match=rf"needs inputs at each step: {', '.join(variant.inputs)}"):
            api.frozen(frozen)
        return
    state = as_argument([draw(2, 4, 19, seed=3 + i, dtype=dtype) for i in range(len(variant.states))])
    for given in (None, state):
        check(frozen, draw(5, 4, 3, dtype=dtype), given)


def test_batch_first_and_a_long_sequence():
    """A step has no time axis; a sequence is time first in C. H = 300: several windows, and weights of more than 1 MiB."""
    check(make("lstm", batch_first=True).freeze(), draw(4, 3, 5), None)
    check(make("gru", H=300, num_layers=2).freeze(), draw(70, 5, 5), None)


def test_part_of_a_state_and_nothing_to_do():
    frozen = make("lstm").freeze()
    net, x, y = api.frozen(frozen), draw(1, 5), np.empty((1, 19), np.float32)
    h, after = draw(1, 1, 19, seed=1), [np.empty((1, 1, 19), np.float32) for _ in range(2)]
    assert step(net, x, [h, None], y, after) == OK
    assert same((y, tuple(after)), frozen.step(x, (h, None)))
    before = [draw(1, 1, 19, seed=2 + i) for i in range(2)]
    assert api.forward(net, None, pointers(before), None, pointers(after), 0, 1) == OK and same(after[1], before[1])
    assert api.step(net, None, None, None, None, 0) == OK


def test_bad_arguments():
    """A status, and nothing written."""
    frozen, x = make("lstm").freeze(), draw(2, 5)
    net = api.frozen(frozen)
    y, state = np.full((2, 19), 7, np.float32), [np.full((1, 2, 19), 7, np.float32) for _ in range(2)]
    assert api.step(None, x.ctypes.data, None, y.ctypes.data, pointers(state), 2) == BAD
    assert api.step(net, None, None, y.ctypes.data, pointers(state), 2) == BAD
    assert api.step(net, x.ctypes.data, None, None, pointers(state), 2) == BAD
    assert api.step(net, x.ctypes.data, None, y.ctypes.data, None, 2) == BAD
    assert step(net, x, None, y, [state[0], None]) == BAD
    assert step(net, x, None, y, state, -1) == BAD and api.forward(net, x.ctypes.data, None, None, None, -1, 2) == BAD
    assert step(net, x, None, y, [state[0], state[0]]) == BAD
    assert step(net, x, None, state[0], state) == BAD and step(net, x, state, y, state[::-1]) == BAD
    assert step(net, y, None, y, state) == BAD
    assert (y == 7).all() and all((a == 7).all() for a in state)
    assert api.reserve(None, 1, 1) == api.reserve(net, -1, 1) == api.reserve(net, 1, -1) == BAD


def test_memory_that_there_is_not():
    frozen, x = make("lstm").freeze(), draw(1, 5)
    net = api.frozen(frozen)
    y, state = np.empty((1, 19), np.float32), [np.empty((1, 1, 19), np.float32) for _ in range(2)]
    for rows in (sys.maxsize, 1 << 40, 10**10):
        assert api.reserve(net, 1, rows) == NO_MEMORY and api.reserve(net, rows, 1 << 20) == NO_MEMORY
    assert step(net, x, None, y, state, sys.maxsize) == NO_MEMORY
    assert api.reserve(net, 1, 1) == OK and step(net, x, None, y, state) == OK


@pytest.mark.parametrize(
    ("layer", "error", "text"),
    [
        (rnnfast.LSTM(2, 3), TypeError, r"layer: expected a frozen layer, got LSTM; net.freeze\(\) returns one"),
        (None, TypeError, "layer: expected a frozen layer, got NoneType"),
        (rnnfast.GRU(2, 3, bidirectional=True).freeze(), ValueError, "layer: expected one direction, got a bidirectional"),
    ],
)
def test_objects_that_are_no_frozen_layer(layer, error, text):
    with pytest.raises(error, match=text):
        api.frozen(layer)


def test_a_frozen_layer_lives_as_python_says():
    """No reference is taken or lost, and what C has of a frozen layer outlives the layer it comes from."""
    net = make("gru")
    frozen, x = net.freeze(), draw(3, 2, 5)
    before = sys.getrefcount(frozen), sys.getrefcount(frozen._layers)
    assert len({api.frozen(frozen) for _ in range(100)}) == 1
    assert (sys.getrefcount(frozen), sys.getrefcount(frozen._layers)) == before
    del net
    gc.collect()
    rnnfast.trim()
    check(frozen, x, None)


# ---- compiled here ----------------------------------------------------------------------------------------------------------
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")


def compiler(*names):
    found = next((name for name in names if name and shutil.which(name)), None)
    return found or pytest.skip(f"no compiler here: none of {', '.join(filter(None, names))} is installed")


def python_header():
    folder = sysconfig.get_paths()["include"]
    return folder if (Path(folder) / "Python.h").exists() else pytest.skip("the header files of Python are not installed")


def without_sanitizer():
    """A sanitizer preloaded for Python is not for compilers."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def compiled(command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=without_sanitizer())
    assert done.returncode == 0, done.stderr


def library(folder, source, *flags):
    made = folder / f"{Path(source).stem}.so"
    cc = compiler(os.environ.get("CC"), "cc", "gcc", "clang")
    flags = ("-std=c11", "-O1", "-shared", "-fPIC", "-pthread", f"-I{rnnfast.get_include()}", *flags)
    compiled([cc, *flags, HERE / "capi" / source, "-o", made])
    return made


@pytest.mark.parametrize("standard", ["c11", "c17", "c++11", "c++17"])
@pytest.mark.parametrize("python", [False, True], ids=["alone", "with Python.h"])
def test_the_header_is_clean(standard, python, tmp_path):
    """In C and C++, with and without Python."""
    cc = compiler(*(("g++", "clang++") if "++" in standard else ("gcc", "clang")))
    (tmp_path / "empty.c").write_text(("#include <Python.h>\n" if python else "") + "#include <rnnfast_api.h>\nint one = 1;\n")
    include = ["-isystem", python_header()] if python else []
    language = "c++" if "++" in standard else "c"
    flags = ("-x", language, f"-std={standard}", *STRICT, *include, f"-I{rnnfast.get_include()}", "-fsyntax-only")
    compiled([cc, *flags, tmp_path / "empty.c"])


class Stream(Structure):
    """As in threads.c."""

    _fields_ = (
        ("api", c_void_p),
        ("net", c_void_p),
        ("x", c_void_p),
        ("y", c_void_p),
        ("state", c_void_p * 8),
        ("steps", c_ssize_t),
        ("rows", c_ssize_t),
        ("reserves", c_int),
        ("passes", c_int),
        ("status", c_int),
        ("allocated", c_long),
        ("subnormals", c_int),
    )


def streams(library, layers, *, steps=20, rows=2, passes=30, reserves=True):
    """Each frozen layer in a thread of its own, all at once and with the GIL held by this one; what came of them."""
    load, kept = ctypes.PyDLL(str(library)), []
    all_of_them = (Stream * len(layers))()
    for number, (s, frozen) in enumerate(zip(all_of_them, layers, strict=True)):
        net, H = api.frozen(frozen), frozen.hidden_size
        x = draw(steps, rows, frozen.input_size, seed=number, dtype=frozen.dtype)
        y = np.zeros((steps, rows, H), frozen.dtype)
        state = [np.zeros((2, frozen.num_layers, rows, H), frozen.dtype) for _ in range(api.num_states(net))]
        s.api, s.net, s.x, s.y = ctypes.addressof(api), net, x.ctypes.data, y.ctypes.data
        s.state = (c_void_p * 8)(*[a.ctypes.data for a in state])
        s.steps, s.rows, s.reserves, s.passes = steps, rows, reserves, passes
        kept.append((frozen, x, y, [a[0] for a in state]))
    assert load.run_all(all_of_them, len(layers)) == 0
    for s, (frozen, x, y, state) in zip(all_of_them, kept, strict=True):
        assert s.status == OK and s.subnormals
        now = None
        for t in range(steps):
            expected, now = frozen.step(x[t], now)
            assert np.array_equal(y[t], expected)
        assert same(tuple(state), as_tuple(now))
    return [s.allocated for s in all_of_them]


def test_threads_without_python(tmp_path):
    """Several on one frozen layer, and others beside them; none of them can take the GIL, which is not free."""
    shared = make("lstm", H=32, num_layers=2).freeze()
    others = [make("gru", np.float64).freeze(), make("simple_rnn", I=1, H=8).freeze(), make_zoo("SLSTM").freeze()]
    streams(library(tmp_path, "threads.c", *STRICT), [shared] * 5 + others)


COUNTED = """
import sys
sys.path.insert(0, sys.argv[1])
from test_capi import make, make_zoo, streams
for frozen in (make("lstm", H=64).freeze(), make("gru", num_layers=3).freeze(), make_zoo("LayerNormGRU").freeze()):
    print(*streams(sys.argv[2], [frozen] * 2), streams(sys.argv[2], [frozen], reserves=False, passes=1)[0])
"""


def test_a_step_allocates_nothing(tmp_path):
    """After reserve; without it, the thread's first step takes its scratch, and is the only one that allocates."""
    if "LD_PRELOAD" in os.environ:
        pytest.skip("LD_PRELOAD is set: this test preloads a library of its own, which counts")
    if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", ()):
        pytest.skip("counts allocations with functions of glibc, which is not here")
    counts = library(tmp_path, "threads.c", "-DCOUNT")
    environment = {**os.environ, "LD_PRELOAD": str(counts)}
    command = [sys.executable, "-c", COUNTED, str(HERE), str(counts)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert line.split()[:2] == ["0", "0"] and int(line.split()[2]) >= 1, done.stdout
    assert len(done.stdout.splitlines()) == 3


def test_import(tmp_path, monkeypatch):
    """The table, unless it is of another interface, or shorter than the header says; a longer one is fine."""
    load = ctypes.PyDLL(str(library(tmp_path, "import.c", "-isystem", python_header(), *STRICT)))
    load.import_it.restype = c_void_p
    assert load.import_it() == ctypes.addressof(api)
    assert (api.abi, api.size) == (1, ctypes.sizeof(Table))
    for abi, size, good in ((1, api.size + 8, True), (2, api.size, False), (0, api.size, False), (1, api.size - 8, False)):
        other = Table(abi, size)
        monkeypatch.setattr(_capi, "_C_API", pythonapi.PyCapsule_New(ctypes.addressof(other), NAME, None))
        if good:
            assert load.import_it() == ctypes.addressof(other)
        else:
            with pytest.raises(ImportError, match=f"C interface 1 with {api.size} bytes.*got interface {abi} with {size}"):
                load.import_it()
    unnamed = pythonapi.PyCapsule_New(ctypes.addressof(api), b"another", None)
    monkeypatch.setattr(_capi, "_C_API", unnamed)
    with pytest.raises(ValueError, match="PyCapsule_GetPointer"):
        load.import_it()
    monkeypatch.delattr(_capi, "_C_API")
    with pytest.raises(AttributeError, match="_C_API"):
        load.import_it()
    monkeypatch.setitem(sys.modules, "rnnfast._kernels._capi", None)
    with pytest.raises(ImportError):
        load.import_it()


def test_the_blocks_of_the_page(tmp_path):
    """Those of docs/embedding.md that test_readme.py cannot run: C is compiled as the body of a function, Cython translated."""
    found = {}
    for page in PAGES:
        for block in blocks(page):
            found.setdefault(block.language, []).append(block.code)
    (c,), (cython,) = found["c"], found["cython"]
    includes = "".join(line for line in c.splitlines(True) if line.startswith("#"))
    (tmp_path / "page.c").write_text(f"{includes}void f(PyObject *layer)\n{{\n{c.replace(includes, '')}}}\n")
    flags = ["-Wall", "-Werror", "-isystem", python_header(), f"-I{rnnfast.get_include()}", "-fsyntax-only"]
    compiled([compiler(os.environ.get("CC"), "cc", "gcc", "clang"), "-std=c11", *flags, tmp_path / "page.c"])
    pytest.importorskip("Cython", reason="Cython is not installed: the block in Cython is not translated")
    (tmp_path / "block.pyx").write_text(f"layer = None\n{cython}")
    compiled([sys.executable, "-m", "cython", "-3", tmp_path / "block.pyx"])


def test_the_example(tmp_path):
    """Built with the Cython, compiler and setuptools that are here; both ways print the same numbers."""
    for module in ("setuptools", "Cython"):
        pytest.importorskip(module, reason=f"{module} is not installed: the example cannot be built")
    compiler(os.environ.get("CC"), "cc", "gcc", "clang")
    python_header()
    folder = tmp_path / "embed_c"
    shutil.copytree(HERE.parent / "examples" / "embed_c", folder)
    build = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = subprocess.run(build, capture_output=True, text=True, cwd=folder, env=without_sanitizer(), timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([sys.executable, "main.py"], capture_output=True, text=True, cwd=folder, timeout=60)
    assert done.stdout.endswith("the same bits\n"), done.stdout + done.stderr


def test_what_is_installed():
    folder = Path(rnnfast.get_include())
    assert folder.is_absolute() and (folder / "rnnfast_api.h").exists()
    assert (Path(rnnfast.__file__).parent / "capi.pxd").exists()
    code = "import sys, rnnfast; sys.exit('rnnfast._kernels._capi' in sys.modules or 'rnnfast.capi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0  # imported by those who use it
