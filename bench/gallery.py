"""Writes docs/gallery.md: every program of examples/ run once, whole: command, result, seconds, picture; and the table of
bench/programs.py.

    python bench/programs.py --out results/ && python bench/gallery.py results/
    python bench/gallery.py results/ deploy_torch embed_c  # the sections of these programs alone

Needs Cython, a C compiler and the packages that SHOWS names, beside those of the extra `examples`.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from machine import machine
from programs import table
from rnnfast.progress import progress

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
IMAGES = ROOT / "docs" / "img"
PAGE = ROOT / "docs" / "gallery.md"


class Show(NamedTuple):
    """A program, a title, what it does; its arguments; its picture, or none; its name in bench/programs.py, or none; the
    packages whose versions its result depends on. A program that is a folder has a setup.py, which builds it, and a main.py."""

    program: str
    title: str
    text: str
    arguments: tuple[str, ...] = ()
    picture: str = ""
    race: str = ""
    packages: tuple[str, ...] = ()


SHOWS = (
    Show(
        "sine",
        "A sine wave, learnt and continued",
        "A SimpleRNN learns to predict the next point of a sine wave. Beyond the end of the data it reads its own predictions.",
        picture="sine.png",
        race="sine",
    ),
    Show(
        "char_rnn",
        "Text, character by character",
        "Two GRU layers of 256 learn Python's help texts and then write some text of their own.",
        race="char_rnn, 2 GRU of 256",
    ),
    Show(
        "char_rnn",
        "Text, with SimpleRNN layers",
        "The same with three SimpleRNN layers of 128, which is faster and ends with a higher loss.",
        ("--preset", "rnn"),
        race="char_rnn, 3 SimpleRNN of 128",
    ),
    Show(
        "forecast",
        "Hourly temperatures, one hour ahead",
        "Three LSTM layers forecast each hour from the 60 hours before it, and are compared with simple rules that learn "
        "nothing. The temperatures are averages of many years, which are far easier to forecast than the weather of one.",
        picture="forecast.png",
        race="forecast",
    ),
    Show(
        "forecast",
        "A random walk, which nothing can forecast",
        "The same program on a series whose next step does not depend on its past: no LSTM can beat the last value.",
        ("--data", "walk"),
        picture="walk.png",
    ),
    Show("forecast", "Kinds of layers on a noisy sine", "Each kind of layer learns the same task.", ("--noisy-sine",)),
    Show(
        "sentiment",
        "Reviews: good or bad?",
        "An LSTM reads Chinese reviews character by character. The two sentences of the command mean: this book is a good "
        "read; the quality is too poor.",
        ("这本书很好看", "质量太差了"),
        race="sentiment",
    ),
    Show(
        "sentiment", "Reviews, with two layers", "The same with two LSTM layers that read in both directions.", ("--stacked",)
    ),
    Show(
        "tagging",
        "A label for every word",
        'The words before or after "apple" tell whether it is a fruit or a company. A GRU that reads from left to right has '
        "not seen the words after it; one that reads in both directions has. Words that the network has never seen are read "
        "as `<unknown>`.",
    ),
    Show("seq2seq", "Dates as people write them, to ISO", "One LSTM reads a date, another writes it.", race="seq2seq"),
    Show(
        "seq2seq",
        "Dates, with attention",
        "The same, but the second LSTM looks back at what the first has read. The picture shows where it looks.",
        ("--attention",),
        picture="attention.png",
    ),
    Show(
        "memory",
        "Why LSTM and GRU have gates",
        "This shows how far back the gradient of an untrained network reaches, and which networks learn to remember two "
        "numbers of a long sequence.",
        picture="memory.png",
    ),
    Show(
        "own_cell",
        "A cell of your own",
        "Ten lines of NumPy become a recurrent cell. The program checks its kernels, prints what they do in a step, and "
        "trains it against LSTM and GRU. [Write your own cell](own_cell.md) is the guide.",
        picture="own_cell.png",
    ),
    Show(
        "continuous",
        "Observations at irregular times",
        "Oscillations are observed at random times, and each value is predicted from those before. Some cells get the time "
        "that has passed as an input of their formula, others as a number beside the value.",
        picture="continuous.png",
    ),
    Show(
        "stream",
        "A live sequence, one step a call",
        "This measures the time of every call, and compares the answers with those of one call for the whole sequence.",
        picture="stream.png",
    ),
    Show(
        "accelerate_torch",
        "A PyTorch model, with one line more",
        "Two copies of a PyTorch model that tells sines, squares and sawtooths apart train on the same packed sequences; "
        "one line makes rnnfast compute the bidirectional GRU of the second. [Coming from PyTorch](from_pytorch.md) is the "
        "guide.",
        packages=("torch",),
    ),
    Show(
        "accelerate_keras",
        "A Keras model, with one line more",
        "Keras trains a model with Masking, Bidirectional(LSTM) and GRU as it is, and then after `rnnfast.keras.enable()`. The "
        "task is to add two marked numbers: two passes over the data are a beginning. [Coming from Keras](from_keras.md) is "
        "the guide.",
        ("--epochs", "2"),
        packages=("keras", "torch"),
    ),
    Show(
        "deploy_torch",
        "Trained in PyTorch, deployed without it",
        "The weights of a trained LSTM go into a file. PyTorch, ONNX Runtime and rnnfast then answer from it, each in a fresh "
        "process: the table shows what each takes, together with the packages that it needs, such as NumPy. [Bring your "
        "weights](weights.md) is the guide.",
        packages=("torch", "onnxruntime"),
    ),
    Show(
        "embed_c",
        "An LSTM in a thread of plain C",
        "A thread that knows nothing of Python sends 480 samples through a frozen LSTM, one at a time, as an audio callback "
        "would. Python computes the same step by step. [Call it from C, C++ or Cython](embedding.md) is the guide.",
        packages=("cython",),
    ),
)


def run(show: Show) -> tuple[str, float]:
    """What the program prints and the seconds it takes, building included; its picture goes to docs/img."""
    with tempfile.TemporaryDirectory() as folder:
        if (EXAMPLES / show.program).is_dir():
            shutil.copytree(EXAMPLES / show.program, folder, dirs_exist_ok=True)
            commands = [["setup.py", "-q", "build_ext", "--inplace"], ["main.py"]]
        else:
            picture = ["--plot", str(IMAGES / f"gallery-{show.picture}")] if show.picture else []
            commands = [[str(EXAMPLES / f"{show.program}.py"), *show.arguments, *picture]]
        began = time.perf_counter()
        for command in commands:
            done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - began
    lines = [line for line in done.stdout.splitlines() if not line.startswith("Picture: ")]
    return "\n".join(lines).strip(), seconds


def command(show: Show) -> str:
    """What a reader types in the root of the repository."""
    if (EXAMPLES / show.program).is_dir():
        return f"cd examples/{show.program} && python setup.py build_ext --inplace && python main.py"
    return f"python examples/{show.program}.py" + "".join(f' "{a}"' if not a.isascii() else f" {a}" for a in show.arguments)


def versions(packages: tuple[str, ...]) -> str:
    """A sentence with the versions of what is installed here, and today's date; nothing without packages."""
    named = " and ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)
    return f" With {named}, {date.today()}." if named else ""


def blas() -> str:
    """Name and version of the BLAS that NumPy was built with."""
    found = np.show_config("dicts")["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}"


def head(m: dict[str, Any]) -> str:
    """Title and introduction of the page, of a run on such a machine."""
    return (
        "# Gallery\n\nThese are the results of the programs in [examples](../examples). To run one yourself, type "
        '`pip install ".[examples]"` and then the command that stands above its result; a program that needs PyTorch, Keras or '
        "Cython too says so. "
        "Times are of the whole program, imports and pictures included.\n\n"
        f"Machine: {m['cpus']} cores of {m['cpu']}, {m['isa']}, NumPy {np.__version__}, BLAS {blas()}, {m['date'][:10]}. "
        "Results of training depend on the BLAS and on the CPU, since each of them adds numbers in an order of its own: "
        "training makes small differences in rounding large."
    )


def section(show: Show, text: str, seconds: float, rows: list[dict[str, Any]]) -> str:
    """What a program shows, its command, what it printed, its picture; rows: of bench/programs.py."""
    ratios = [
        f"{r['torch'] / r['rnnfast']:.1f} times as long on {r['threads']} thread{'s' * (r['threads'] > 1)}"
        for r in rows
        if r["program"] == show.race
    ]
    against = f" The same training takes PyTorch {', '.join(ratios)}." if ratios else ""
    picture = f"\n\n![{show.title}](img/gallery-{show.picture})" if show.picture else ""
    return (
        f"## {show.title}\n\n{show.text}\n\n`{command(show)}` takes {seconds:.0f} s.{versions(show.packages)}{against}"
        f"\n\n```\n{text}\n```{picture}"
    )


def comparison(rows: list[dict[str, Any]]) -> str:
    """The section with the table of bench/programs.py."""
    return (
        "## Against the same programs in PyTorch\n\nTime of training on one batch, on 1 and on 2 threads. Both begin with the "
        "same weights and do the same with the same batches; they take turns, each in a process of its own (`python "
        "bench/programs.py`). The ratio is PyTorch's time divided by rnnfast's.\n\n" + table(rows)
    )


def parts(text: str) -> list[str]:
    """A page cut before each heading "## "."""
    return re.split(r"\n\n(?=## )", text.rstrip())


def page(rows: list[dict[str, Any]]) -> str:
    """The whole page; rows: of bench/programs.py."""
    return joined([head(machine()), comparison(rows)], {}, rows, SHOWS)


def renewed(text: str, programs: list[str], rows: list[dict[str, Any]]) -> str:
    """The page `text` with the sections of these programs anew; new ones take their place in it."""
    first, race, *others = parts(text)
    kept = {part.partition("\n")[0]: part for part in others}
    return joined([first, race], kept, rows, [show for show in SHOWS if show.program in programs])


def joined(begin: list[str], kept: dict[str, str], rows: list[dict[str, Any]], shows: Sequence[Show]) -> str:
    """A page of the parts `begin`, and of a section for each program: of a run if it is in `shows`, else the one kept."""
    found = []
    with progress(len(shows), "programs") as bar:
        for show in SHOWS:
            if show in shows:
                found.append(section(show, *run(show), rows))
                bar.update()
            else:
                found.append(kept[f"## {show.title}"])
    return "\n\n".join([*begin, *found]) + "\n"


if __name__ == "__main__":
    found = json.loads((Path(sys.argv[1]) / "programs.json").read_text(encoding="utf-8"))
    text = renewed(PAGE.read_text(encoding="utf-8"), sys.argv[2:], found) if sys.argv[2:] else page(found)
    PAGE.write_text(text, encoding="utf-8")
