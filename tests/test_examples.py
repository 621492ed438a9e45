"""Each example runs for a few steps, from the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*arguments):
    command = [sys.executable, str(EXAMPLES / "char_rnn.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_char_rnn(tmp_path):
    file = tmp_path / "model.npz"
    first = run("--steps", 2, "--batch", 4, "--window", 8, "--hidden", 16, "--length", 30, "--save", file)
    assert first.returncode == 0, first.stderr
    assert "held-out loss" in first.stdout and "after 2 steps" in first.stdout
    again = run("--load", file, "--steps", 0, "--length", 30)
    sample = first.stdout.partition("\n\n")[2]
    assert again.returncode == 0 and again.stdout == sample and len(sample) > 30


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--text", "no such file"), "--text: "),
        (("--prompt", "\u4e2d"), "--prompt: not in the vocabulary"),
        (("--batch", "0"), "--batch: expected a number above 0"),
        (("--load", __file__), "--load: "),
    ],
)
def test_char_rnn_tells_what_is_wrong(arguments, text):
    done = run("--steps", 1, *arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert text in done.stderr.splitlines()[-1]
