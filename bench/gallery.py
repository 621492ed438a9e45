"""Writes docs/gallery.md: every program of examples/ run once, whole: command, result, seconds, picture; and the table of
bench/programs.py.

    python bench/programs.py --out results/ && python bench/gallery.py results/
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from machine import machine
from programs import table
from rnnfast.progress import progress

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "img"


class Show(NamedTuple):
    """A program, its arguments, what it shows; the picture it draws, or none; its name in bench/programs.py, or none."""

    program: str
    arguments: tuple[str, ...]
    what: str
    picture: str = ""
    race: str = ""


SHOWS = (
    Show("sine", (), "A sine wave learnt, then drawn on by feeding predictions back", "sine.png", "sine"),
    Show("char_rnn", (), "Text, character by character: 2 GRU layers of 256", "", "char_rnn, 2 GRU of 256"),
    Show("char_rnn", ("--preset", "rnn"), "The same with 3 SimpleRNN layers of 128", "", "char_rnn, 3 SimpleRNN of 128"),
    Show("forecast", (), "Hourly temperatures, one step ahead", "forecast.png", "forecast"),
    Show("forecast", ("--data", "walk"), "A random walk, which nothing can forecast", "walk.png"),
    Show("forecast", ("--noisy-sine",), "Kinds of layers on a noisy sine"),
    Show("sentiment", ("这本书很好看", "质量太差了"), "Chinese reviews: good or bad", "", "sentiment"),
    Show("sentiment", ("--stacked",), "The same with two layers in both directions"),
    Show("tagging", (), "A label for every word, from what stands before and after it"),
    Show("seq2seq", (), "Dates as people write them, to ISO", "", "seq2seq"),
    Show("seq2seq", ("--attention",), "The same with attention: what the decoder looks at", "attention.png"),
    Show("memory", (), "Why gates: how far gradients reach, what can be remembered", "memory.png"),
    Show("stream", (), "A live sequence, one step a call", "stream.png"),
)


def run(show: Show) -> tuple[str, float]:
    """What the program prints and the seconds it takes; its picture goes to docs/img."""
    command = [sys.executable, str(ROOT / "examples" / f"{show.program}.py"), *show.arguments]
    if show.picture:
        command += ["--plot", str(IMAGES / f"gallery-{show.picture}")]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("Picture: ")]
    return "\n".join(lines).strip(), time.perf_counter() - began


def page(rows: list[dict[str, float]]) -> str:
    m = machine()
    parts = [
        "# Gallery\n\nThe programs of [examples](../examples), each run whole by `python bench/gallery.py`: "
        '`pip install ".[examples]"`, then the command. '
        f"Machine: {m['cpus']} cores of {m['cpu']}, {m['isa']}, {m['date'][:10]}. "
        "Times are of the whole program, imports and pictures included.\n\n## Against the same programs in PyTorch\n\n"
        "The same weights, batches, losses and updates, in turn, each in a process of its own (`python bench/programs.py`).\n\n"
        + table(rows)
    ]
    with progress(len(SHOWS), "programs") as bar:
        for show in SHOWS:
            text, seconds = run(show)
            arguments = " ".join(f'"{a}"' if not a.isascii() else a for a in show.arguments)
            ratios = [
                f"{r['torch'] / r['rnnfast']:.1f} ({r['threads']} thread{'s' * (r['threads'] > 1)})"
                for r in rows
                if r["program"] == show.race
            ]
            against = f"; a training step of PyTorch takes {', '.join(ratios)} times as long" if ratios else ""
            picture = f"\n\n![{show.what}](img/gallery-{show.picture})" if show.picture else ""
            parts.append(
                f"## {show.what}\n\n`python examples/{show.program}.py {arguments}".rstrip()
                + f"`: {seconds:.0f} s{against}.\n\n```\n{text}\n```{picture}"
            )
            bar.update()
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    found = json.loads((Path(sys.argv[1]) / "programs.json").read_text(encoding="utf-8"))
    (ROOT / "docs" / "gallery.md").write_text(page(found), encoding="utf-8")
