"""bench/programs.py: the programs and their counterparts in PyTorch begin with the same losses, and both learn."""

import numpy as np
import pytest

pytest.importorskip("torch")
import programs


@pytest.mark.parametrize("name", ["sine", "char_rnn, 3 SimpleRNN of 128", "forecast", "seq2seq"])
def test_the_same_program(name):
    ours, theirs = programs.ours(name, 2), programs.theirs(name, 2)
    assert np.allclose(ours()[0], theirs()[0], rtol=1e-5)


def test_the_table():
    rows = [{"program": "sine", "threads": 1, "epoch": 10, "rnnfast": 0.001, "torch": 0.004}]
    assert "| sine | 1 | 1 | 4 | 4.00 | 0.01, 0.04 |" in programs.table(rows) and "mean 4.00." in programs.table(rows)
