"""net.save and rnnfast.load: what was saved comes back, a file is whole or not there, and any other file is a clear error."""

import io
import json
import os
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
import stacks

import rnnfast
from rnnfast._engine import container
from rnnfast._engine.stack import ARGUMENTS


def saved(net):
    """The bytes of its file."""
    file = io.BytesIO()
    net.save(file)
    return file.getvalue()


def entries(net):
    """name -> bytes of the entries of its file."""
    with zipfile.ZipFile(io.BytesIO(saved(net))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive(entries, **options):
    """The bytes of an archive of these (name, bytes)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as stream:
        for name, content in entries:
            stream.writestr(name, content)
    return file.getvalue()


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def described(net, change):
    """Its file with a description that was changed."""
    parts = entries(net)
    key = container.DESCRIPTION + ".npy"
    text = json.dumps(change(json.loads(parts[key][128:]))).encode()
    return archive({**parts, key: npy(np.frombuffer(text, np.uint8))}.items())


def refused(content, text):
    with pytest.raises(ValueError, match=text):
        rnnfast.load(io.BytesIO(content))


def equal(net, other):
    return stacks.same(tuple(net.params.values()), tuple(other.params.values()))


# ---- there and back --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("cell", "option"), stacks.VARIANTS)
@pytest.mark.parametrize("frozen", [False, True])
def test_there_and_back(cell, option, frozen, dtype, tmp_path):
    for more in ({}, {"num_layers": 2, "bias": False, "batch_first": True, "dropout": 0.25, "bidirectional": True}):
        net = stacks.small(cell, dtype, **option, **more)
        net = net.freeze() if frozen else net
        file = tmp_path / "a file"  # no .npz is added
        net.save(file)
        assert os.listdir(tmp_path) == ["a file"]
        for again in (rnnfast.load(file), rnnfast.load(str(file)), rnnfast.load(io.BytesIO(saved(net)))):
            assert type(again) is type(net) and repr(again) == repr(net) and again.rng is None
            for name in (*ARGUMENTS, *option):
                assert getattr(again, name) == getattr(net, name) and type(getattr(again, name)) is type(getattr(net, name))
            assert list(again.params) == list(net.params) and equal(again, net)
            x = stacks.draw(4, 3, net.input_size, dtype=dtype)
            assert stacks.same(again(x), net(x))
            assert all(value.flags.writeable != frozen for value in again.params.values())
        with np.load(file) as arrays:  # NumPy reads it as well
            assert all(np.array_equal(arrays[name], value) for name, value in net.params.items())


def test_a_loaded_layer_trains():
    net = rnnfast.load(io.BytesIO(saved(stacks.small("lstm", num_layers=2))))
    y, _, tape = net.record(stacks.draw(4, 3, net.input_size))
    g = tape.backward(y)
    before = net(stacks.draw(4, 3, net.input_size))[0]
    for name, value in net.params.items():
        value -= 0.1 * g.params[name]
    assert not np.array_equal(net(stacks.draw(4, 3, net.input_size))[0], before)


def test_a_file_without_places(tmp_path):
    """What cannot be rewound is written and read as well: a pipe, a compressed stream."""
    import gzip

    net = stacks.small("gru")
    with gzip.open(tmp_path / "net.npz.gz", "wb") as stream:
        net.save(stream)
    with gzip.open(tmp_path / "net.npz.gz") as stream:
        assert equal(rnnfast.load(stream), net)


# ---- whole or not there ----------------------------------------------------------------------------------------------------
def test_a_file_is_replaced_whole(tmp_path, monkeypatch):
    file, old, new = tmp_path / "net.npz", stacks.small("gru", seed=1), stacks.small("gru", seed=2)
    old.save(file)
    before = file.read_bytes()

    def fails(*_):
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        for problem in (OSError("no space"), KeyboardInterrupt()):
            with pytest.raises(type(problem)):
                new.save(file)
            assert file.read_bytes() == before and os.listdir(tmp_path) == ["net.npz"]
            with pytest.raises(type(problem)):
                new.save(tmp_path / "other.npz")
            assert os.listdir(tmp_path) == ["net.npz"]
    new.save(file)
    assert equal(rnnfast.load(file), new)
    with pytest.raises(FileNotFoundError, match="none"):
        new.save(tmp_path / "none" / "net.npz")
    with pytest.raises(IsADirectoryError):
        new.save(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions, links and pipes of POSIX")
def test_permissions_links_and_pipes(tmp_path):
    net, file, link = stacks.small("gru"), tmp_path / "net.npz", tmp_path / "link.npz"
    mask = os.umask(0o027)
    try:
        net.save(file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o640  # as any new file
        file.chmod(0o600)
        link.symlink_to(file)
        net.save(link)
        assert link.is_symlink() and stat.S_IMODE(file.stat().st_mode) == 0o600  # as it was
    finally:
        os.umask(mask)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen([sys.executable, "-c", f"print(len(open({str(pipe)!r}, 'rb').read()))"], stdout=subprocess.PIPE)
    net.save(pipe)
    assert int(reader.communicate(timeout=60)[0]) > 1000 and stat.S_ISFIFO(pipe.stat().st_mode)


# ---- what is no such file --------------------------------------------------------------------------------------------------
def test_wrong_arguments(tmp_path):
    net = stacks.small("gru")
    for file in (3, None, b"name", ["name"]):
        for call in (net.save, net.freeze().save, rnnfast.load):
            with pytest.raises(TypeError, match="^file: expected a path or a binary file, got"):
                call(file)
    with open(tmp_path / "text", "w+") as text:
        for call, mode in ((net.save, "wb"), (rnnfast.load, "rb")):
            with pytest.raises(TypeError, match=f"^file: expected .* got a text file; open it with '{mode}'"):
                call(text)
    with pytest.raises(FileNotFoundError):
        rnnfast.load(tmp_path / "none.npz")


def test_the_text_names_the_file(tmp_path):
    file = tmp_path / "other.npz"
    file.write_bytes(b"PK\x03\x04 and no more")
    for given in (file, str(file)):
        with pytest.raises(ValueError) as told:
            rnnfast.load(given)
        assert str(told.value).startswith(f"{file}: expected a whole .npz file")
    with open(file, "rb") as stream, pytest.raises(ValueError) as told:
        rnnfast.load(stream)
    assert str(told.value).startswith(f"{file}: expected a whole .npz file")


def test_other_files():
    for content in (b"", b"PK", b"text", b"\x93NUMPY\x01\x00", b"\x80\x04."):
        refused(content, "expected an .npz or a .safetensors file, got one that starts with")
    good = list(entries(stacks.small("gru")).items())
    refused(archive(good)[:-30], "expected a whole .npz file")
    refused(archive(good, compression=zipfile.ZIP_DEFLATED), "got: compressed entries")
    refused(archive(good[:1]) + archive(good), "got: something before the first entry")
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = archive([*good, good[1]])
    refused(twice, "got: two entries of one name")
    refused(archive(good[1:]), "expected an entry description.json, got none")
    refused(archive(good[:-1]), "entries: expected the names weight_ih_l0, .*, got missing bias_hh_l0$")
    refused(archive([*good, ("more.npy", npy(np.zeros(3)))]), "got unknown more$")
    file = io.BytesIO()
    np.savez(file, w=np.zeros(3))
    refused(file.getvalue(), "expected an entry description.json")


def test_other_arrays():
    """What NumPy's header says of shape and dtype is compared, never believed."""
    net = stacks.small("gru")
    good, name = entries(net), "weight_ih_l0"
    w = net.params[name]

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    def header(text):
        raw = text.encode() + b"\n"
        return container.NPY + struct.pack("<H", len(raw)) + raw

    huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 1000000000000), }"
    for content, got in (
        (npy(w.T.copy()), "got {.*(5, 57)"),
        (npy(w.astype(np.float64)), "got {'descr': '<f8'"),
        (npy(w.view(">f4")), "got {'descr': '>f4'"),
        (npy(np.asfortranarray(w)), "got {.*'fortran_order': True"),
        (npy(np.array([Bomb()], object), allow_pickle=True), r"got {'descr': '\|O'"),
        (header(huge), r"got {.*1000000000000"),
        (header("-" * 60000 + "1"), "got ---"),
        (header("__import__('os')"), "got __import__"),
        (npy(w)[:-1], "1140 bytes, got 1139"),
        (npy(w) + b"\0", "1140 bytes, got 1141"),
        (b"", "got no array"),
        (b"text", "got no array"),
        (container.NPY, "got "),
    ):
        refused(archive({**good, f"{name}.npy": content}.items()), f"^file: {name}: expected .*{got}")


def test_other_descriptions():
    net = stacks.small("gru", H=3)

    def refuse(change, text):
        refused(described(net, change), f"^file: {text}")

    def arguments(**changes):
        return lambda d: {**d, "arguments": {**d["arguments"], **changes}}

    refuse(lambda d: [], "description.json: expected an object, got list")
    refuse(lambda d: {}, "format: expected one of 'rnnfast layer', got None")
    refuse(lambda d: {**d, "version": 2}, "description: expected version 1, got 2; load it with the rnnfast that wrote it")
    refuse(lambda d: {**d, "more": 2}, "description: expected the names .*, got unknown more")
    refuse(lambda d: {k: v for k, v in d.items() if k != "cell"}, "description: .*, got missing cell")
    for cell in ("lstn", "LSTM", None, 3, ["gru"]):
        refuse(lambda d, cell=cell: {**d, "cell": cell}, "cell: expected one of 'simple_rnn', 'lstm', 'gru', got")
    refuse(lambda d: {**d, "cell": {}}, "cell: expected what `save` writes of a formula, got KeyError")
    refuse(lambda d: {**d, "cell": "lstm"}, "options: expected the names , got unknown reset_after")
    for frozen in (1, None, "yes"):
        refuse(lambda d, frozen=frozen: {**d, "frozen": frozen}, "frozen: expected True or False")
    for value in (None, [], "text"):
        refuse(lambda d, value=value: {**d, "arguments": value}, "arguments: ")
        refuse(lambda d, value=value: {**d, "options": value}, "options: ")
    refuse(lambda d: {**d, "options": {"reset_after": 1}}, "reset_after: expected one of True, False")
    refuse(arguments(rng=3), "arguments: .* got unknown rng")
    for name in ("input_size", "hidden_size", "num_layers"):
        for value in (True, -1, 0, 2.0, 1e400, None, "3", [3], 2**80, 10**30):
            refuse(arguments(**{name: value}), f"({name}|hidden_size . input_size): expected ")
    refuse(arguments(input_size=2**40, hidden_size=2**40), ".*expected an array of at most")
    refuse(arguments(hidden_size=2**20), "weight_ih_l0: expected {.*3145728, 5")
    refuse(arguments(num_layers=10000), r"entries: expected the names weight_ih_l0, .*\.\.\. \(40000 in all\), got missing")
    for name in ("bias", "batch_first", "bidirectional"):
        refuse(arguments(**{name: 1}), f"{name}: expected True or False")
    for value in ("0.5", True, None, float("nan"), 1e400, -1):
        refuse(arguments(dropout=value), "dropout: expected a number between 0 and 1")
    for value in ("float16", "f4", "O", None, 3, {"names": ["a"], "itemsize": 2**70}, [["a", "f4"]]):
        refuse(arguments(dtype=value), "dtype: expected one of 'float32', 'float64'")


def test_what_is_no_description():
    parts, name = entries(stacks.small("gru")), container.DESCRIPTION

    def refuse(array, text):
        refused(archive({**parts, f"{name}.npy": npy(array, allow_pickle=True)}.items()), f"^file: {name}: expected {text}")

    for text in (b"", b"{", b"[" * 100_000, b'{"version": 1' + b"1" * 5000 + b"}", b"\xff\xfe\x00", b"\x00"):
        refuse(np.frombuffer(text, np.uint8), "JSON, got: ")
    for array in (np.array("{}"), np.array(["{}"], object), np.zeros((2, 2), np.uint8)):
        refuse(array, "{'descr': ..u1")


@pytest.mark.parametrize("claimed", [2**31, 2**45])
def test_sizes_that_are_claimed(claimed):
    """Neither a directory nor a bomb makes load allocate what the file does not hold."""
    net = stacks.small("gru")
    content = bytearray(saved(net))
    place = content.rindex(b"PK\x01\x02")  # the last entry: its sizes as 64 bits in the extra field
    bomb = archive([("description.json.npy", bytes(1 << 26))], compression=zipfile.ZIP_DEFLATED)
    name, extra = content[place + 28], content[place + 30]
    assert extra == 0
    content[place + 20 : place + 28] = struct.pack("<II", 2**32 - 1, 2**32 - 1)
    content[place + 30] = 20
    end = place + 46 + name
    content[end:end] = struct.pack("<HHQQ", 1, 16, claimed, claimed)
    record = content.rindex(b"PK\x05\x06")
    directory = struct.unpack_from("<I", content, record + 12)[0]
    struct.pack_into("<I", content, record + 12, directory + 20)
    assert zipfile.ZipFile(io.BytesIO(content)).infolist()[-1].file_size == claimed
    tracemalloc.start()
    refused(bytes(content), "got: entries that are larger than the file")
    refused(bomb, "got: compressed entries")
    assert tracemalloc.get_traced_memory()[1] < 10 * len(bomb)  # 65 kB, which would become 64 MB
    tracemalloc.stop()


def test_damaged_files():
    """Cut anywhere, or with bytes changed anywhere: a ValueError, or exactly what was saved."""
    net = stacks.small("lstm", I=2, H=3, num_layers=2, seed=3)
    content = saved(net)
    rng = np.random.default_rng(0)

    def loads(damaged):
        try:
            again = rnnfast.load(io.BytesIO(damaged))
        except ValueError as problem:
            assert str(problem).startswith("file: ") and "expected" in str(problem)
            return False
        assert repr(again) == repr(net) and equal(again, net)
        return True

    assert loads(content) and not any(loads(content[:length]) for length in range(len(content)))
    good = 0
    for place in range(len(content)):  # each byte once, and many at once
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        good += loads(bytes(damaged))
    for _ in range(2000):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(2, 20)):
            damaged[place] = rng.choice([0, 255, 127, 128, rng.integers(0, 256)])
        good += loads(bytes(damaged))
    assert good  # times and such do not count


def test_entries_that_were_changed():
    """In an archive that is right by itself: a ValueError, or a layer that works."""
    net = stacks.small("gru", I=2, H=3)
    parts, rng, loaded = list(entries(net).items()), np.random.default_rng(0), 0
    for _ in range(3000):
        which = int(rng.integers(0, len(parts)))
        name, content = parts[which][0], bytearray(parts[which][1])
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            content[place] = rng.choice([0, 34, 44, 48, 49, 123, 255, rng.integers(0, 256)])
        try:
            again = rnnfast.load(io.BytesIO(archive([*parts[:which], (name, bytes(content)), *parts[which + 1 :]])))
        except ValueError as problem:
            assert str(problem).startswith("file: ") and "expected" in str(problem)
        else:
            loaded += 1
            y, _ = again(stacks.draw(4, 3, 2))
            assert y.shape == (3, 4, 3) if again.batch_first else (4, 3, 3)
    assert loaded
