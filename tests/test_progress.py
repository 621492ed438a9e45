"""The progress bar: silent without a terminal, one updating line without tqdm."""

import sys

from rnnfast.progress import progress


def run(bar_of):
    with bar_of as bar:
        for i in range(5):
            bar.note(f"loss {i}")
            bar.update()


def test_silent_without_a_terminal(capsys):
    run(progress(5, "training"))
    assert capsys.readouterr().err == ""


def test_plain_line_without_tqdm(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    run(progress(5, "training"))
    text = capsys.readouterr().err
    assert "training [####################] 5/5" in text and "\n" not in text
    assert all(len(line) <= 79 for line in text.split("\r"))


def test_tqdm_where_it_is(capsys, monkeypatch):
    import pytest

    pytest.importorskip("tqdm", reason="tqdm is not installed")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run(progress(5, "training"))
    assert "training" in capsys.readouterr().err
