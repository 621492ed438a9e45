"""python -m rnnfast: what it prints and writes, and that it notices a wrong kernel."""

import json

import numpy as np
import pytest

from rnnfast import runtime
from rnnfast.cells import CELLS
from rnnfast.proof import contenders, loop, prove, report
from rnnfast.proof.contenders import CONTENDERS, Task, arguments
from rnnfast.shapes import BY_NAME, SHAPES


@pytest.fixture
def short(monkeypatch):
    """The main job with one shape and one case a kernel."""
    monkeypatch.setattr(report, "RACED", ("sine-h32",))
    monkeypatch.setattr(prove, "SIZES", ((4, 3, 5, 17),))


def test_it_reads_well_and_writes_json(short, tmp_path, capsys):
    file = tmp_path / "figures.json"
    assert report.main(["--json", str(file), "--threads", "2"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "All right." in text and "Everything checked is right." in text
    for isa in runtime.PRESENT:
        assert f" {isa} " in text
    figures = json.loads(file.read_text())
    assert figures["right"] and figures["threads"] == 2
    formulas = len(runtime.PRESENT) * len(prove.BOUNDS)
    assert len(figures["errors"]) == len(list(prove.variants())) + formulas
    timed = {(row["cell"], row["training"], row["contender"]) for row in figures["times"]}
    names = [name for name, contender in CONTENDERS.items() if not contender.missing()]
    assert timed == {(cell, training, name) for cell in CELLS for training in (False, True) for name in names}
    for name, contender in CONTENDERS.items():
        assert (name in names) != (f"{contender.title}: not timed" in text)


def test_a_wrong_kernel_is_noticed(short, monkeypatch, capsys):
    """Kernel and reference that differ by one gate's bias in one cell."""
    right = prove.reference.lstm

    def wrong(x, w_ih, w_hh, b_ih=None, b_hh=None, *rest, **options):
        return right(x, w_ih, w_hh, None if b_ih is None else b_ih * 1.01, b_hh, *rest, **options)

    monkeypatch.setattr(prove.reference, "lstm", wrong)
    assert report.main([]) == 1
    text = capsys.readouterr().out
    rows = [line for line in text.splitlines() if line.endswith("WRONG")]
    assert len(rows) == len(runtime.PRESENT) and all(" lstm " in row for row in rows)
    assert "SOMETHING IS WRONG" in text


def test_a_broken_peer_is_left_out(short, monkeypatch, capsys, tmp_path):
    """Installed, but its import fails, or its process dies: told, and the job goes on."""
    for name, body in (("torch", "raise OSError('libtorch.so: no such file')"), ("onnxruntime", "import os; os._exit(3)")):
        (tmp_path / f"{name}.py").write_text(body)
    (tmp_path / "onnx.py").write_text("TensorProto = helper = numpy_helper = None")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(contenders.Contender, "versions", lambda self: {})
    assert report.main(["--json", str(tmp_path / "f.json")]) == 0
    text = capsys.readouterr().out
    assert "PyTorch: not timed further, OSError: libtorch.so: no such file" in text
    assert "ONNX Runtime: not timed further, ChildProcessError: its process ended" in text


def test_a_wrong_peer_is_noticed(short, monkeypatch, capsys):
    monkeypatch.setattr(report, "SAME", -1.0)
    assert report.main([]) == 1
    assert "BUT:" in capsys.readouterr().out


def test_bad_arguments(capsys, tmp_path):
    for wrong in (["--threads", "0"], ["--threads", "x"], ["--json", str(tmp_path / "no" / "folder")]):
        with pytest.raises(SystemExit) as stop:
            report.main(wrong)
        assert stop.value.code == 2
        assert "error:" in capsys.readouterr().err


def test_error_measure():
    assert prove.error([1.0, 2.0], [1.0, 2.5]) == 0.2
    assert prove.error([1e-6], [0.0]) == pytest.approx(1e-3)
    assert prove.error([np.nan], [1.0]) == prove.error([1.0], [[1.0]]) == float("inf")


@pytest.mark.parametrize("cell", CELLS)
def test_the_numpy_loop_is_right(cell):
    """The baseline computes what the kernels compute, forward and gradients."""
    for training in (False, True):
        task = Task(cell, BY_NAME["stock-h50"], training)
        ours, theirs = contenders.rnnfast_task(task, 1)(), contenders.numpy_task(task, 1)()
        for a, b in zip(ours, theirs, strict=True):
            assert b.size == 0 or prove.error(a, b) < 1e-5
    assert set(loop.FORWARD) == set(loop.TRAIN) == set(CELLS)


def test_shapes_are_named_once():
    assert len({shape.name for shape in SHAPES}) == len(SHAPES) == 13
    shape, x, weights = arguments(Task("lstm", BY_NAME["stock-h50"], True))
    assert x.shape == (60, 32, 1) and weights["weight_hh_l0"].shape == (200, 50) and shape.training
