"""bench/front_doors.py: a short run prints every row and bar and writes its files; the bars tell what falls short."""

import json

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import front_doors
from bars import Bar
from front_doors import SMALL, Cost
from results import Results


def test_a_quick_run(tmp_path, capsys):
    front_doors.main(["--quick", "--cells", "gru", "--doors", "torch", "--out", str(tmp_path)])
    text = capsys.readouterr().out
    assert "sine-h32: one series of numbers, 32 units" in text and "ragged-h64" in text and "All computed the same." in text
    assert text.count("gru call-h8") >= 2 and "PyTorch training, gru: geometric mean >= 2.3" in text
    summary = json.loads((tmp_path / "doors.json").read_text())["torch"]
    assert {bar["verdict"] for bar in summary["bars"]} <= {"pass", "FAIL", "none"} and len(summary["small"]) == 6
    rows = Results.read(tmp_path / "torch.json").rows
    assert [row.section for row in rows] == ["training", "ragged"] and all(row.own > 0 for row in rows)


def test_every_row_is_there():
    entries = front_doors.entries(front_doors.DOORS["torch"], [1, 2], None, ["simple_rnn", "lstm", "gru"])
    assert len(entries) == 2 * 3 * (11 + 2) and all(entry.names == ("rnnfast", "torch") for entry in entries)


@pytest.mark.parametrize(("training", "more", "verdict"), [(False, 29, "pass"), (False, 31, "FAIL"), (True, 61, "FAIL")])
def test_costs_of_small_calls(training, more, verdict):
    found = front_doors.cost_bars("PyTorch", [Cost("gru", SMALL[0], training, (more + 5) * 1e-6, 5e-6, 1e-4)])
    assert isinstance(found[0], Bar) and found[training].verdict == verdict and found[not training].verdict == "none"
