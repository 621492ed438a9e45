"""Writes the README's tables from the figures of a run, and its sample of the character model from that program's output:

python -m rnnfast --json figures.json; python examples/char_rnn.py > sample.txt
python bench/update_readme.py figures.json sample.txt
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from rnnfast.cells import CELLS
from rnnfast.proof.contenders import CONTENDERS
from rnnfast.proof.report import UNSTEADY, title
from rnnfast.shapes import BY_NAME

README = Path(__file__).parent.parent / "README.md"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def support(figures: dict[str, Any]) -> str:
    isas = ", ".join(figures["config"]["CPU"]["isas compiled in"])
    rows = []
    for cell in CELLS.values():
        option = f"`{cell.option}` = {', '.join(map(str, cell.choices))}" if cell.option else ""
        rows.append([f"`{cell.layer}`, `{cell.name}`", option, " ".join(cell.gates), "float32, float64", isas, "yes", "yes"])
    return table(["cell", "options", "gates", "dtypes", "ISAs (x86-64)", "forward", "gradients"], rows)


def machine(figures: dict[str, Any]) -> str:
    config, peers = figures["config"], figures["peers"]
    versions = ", ".join(f"{name} {version}" for of in peers.values() for name, version in of.items())
    return f"{config['CPU']['name']}, {config['CPU']['isa']}, {figures['threads']} threads, float32; {versions}."


def speed(figures: dict[str, Any]) -> str:
    names = [name for name in figures["peers"] if name != "rnnfast"]
    found: dict[tuple[str, str, bool], dict[str, dict[str, Any]]] = {}
    for row in figures["times"]:
        found.setdefault((row["shape"], row["cell"], row["training"]), {})[row["contender"]] = row

    def mark(row: dict[str, Any]) -> str:
        return "~" if row["spread"] > UNSTEADY else ""

    rows = []
    for (shape, cell, training), of in found.items():
        s, own = BY_NAME[shape], of["rnnfast"]
        sizes = f"{shape} ({s.I}, {s.H}, {s.B}, {s.T})"
        ratios = ["-" if of[n]["seconds"] is None else f"{mark(of[n])}{of[n]['seconds'] / own['seconds']:.1f}" for n in names]
        milliseconds = f"{mark(own)}{own['seconds'] * 1e3:.3f}"
        rows.append([sizes, cell, "training" if training else "forward", milliseconds, *ratios])
    head = ["shape (I, H, B, T)", "cell", "pass", "rnnfast, ms", *(f"{CONTENDERS[n].title} / rnnfast" for n in names)]
    return f"{machine(figures)}\n\n{table(head, rows)}"


def error(figures: dict[str, Any]) -> str:
    worst: dict[str, dict[str, float]] = {}
    for row in figures["errors"]:
        of = worst.setdefault(title(row["cell"], row["options"]), {})
        for part in ("forward", "gradients"):
            key = f"{row['dtype']} {part}"
            of[key] = max(of.get(key, 0.0), row[part])
    columns = list(next(iter(worst.values())))
    rows = [[cell, *(f"{of[c]:.1e}" for c in columns)] for cell, of in worst.items()]
    text = "Largest error of any ISA against the NumPy reference in float64, over the cases of `python -m rnnfast`:"
    return f"{text}\n\n{table(['cell', *columns], rows)}"


def sample(output: str, figures: dict[str, Any]) -> str:
    loss, _, text = output.partition("\n\n")
    return f"One run, {machine(figures).split(', float32')[0]}: {loss}. It writes:\n\n```\n{text[:400].rstrip()} ...\n```"


def main() -> None:
    figures = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    text = README.read_text(encoding="utf-8")
    parts = {name: make(figures) for name, make in (("support", support), ("speed", speed), ("error", error))}
    parts["char_rnn"] = sample(Path(sys.argv[2]).read_text(encoding="utf-8"), figures)
    for name, part in parts.items():
        block = f"<!-- {name} -->\n{part}\n<!-- /{name} -->"
        text, count = re.subn(f"<!-- {name} -->.*<!-- /{name} -->", lambda _, block=block: block, text, flags=re.DOTALL)
        assert count == 1, name
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
