"""Writes the README's tables: errors from the main job, speed from compare.py (and docs/benchmarks.md with its plots), and
the sample of the character model from that program's output:

python -m rnnfast --json figures.json; python examples/char_rnn.py > sample.txt; python bench/compare.py --out results
python bench/calls.py --out calls.json
python bench/update_readme.py figures.json sample.txt results calls.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from calls import ratio
from compare import draw
from page import page, speed
from results import Results
from rnnfast.cells import CELLS
from rnnfast.cells.conventions import CONVENTIONS
from rnnfast.proof.report import title
from tables import markdown_table

README = Path(__file__).parent.parent / "README.md"
DOCS = README.parent / "docs"


def support(figures: dict[str, Any]) -> str:
    isas = ", ".join(figures["config"]["CPU"]["isas compiled in"])
    rows = []
    for cell in CELLS.values():
        option = "; ".join(f"`{name}` = {', '.join(map(str, choices))}" for name, choices in cell.options.items())
        rows.append([f"`{cell.layer}`, `{cell.name}`", option, " ".join(cell.gates), "float32, float64", isas, "yes", "yes"])
    return markdown_table(["cell", "options", "gates", "dtypes", "ISAs (x86-64)", "forward", "gradients"], rows)


def gate_orders() -> str:
    rows = []
    for one in CONVENTIONS:
        orders = "; ".join(f'{cell}: "{order}"' for cell, order in one.gate_order.items() if order)
        rows.append(
            [one.source, orders + (f" ({one.letters} there)" if one.letters else ""), one.weights, one.biases, one.note]
        )
    return markdown_table(["from", "`gate_order`", "weights", "biases", "else"], rows)


def calls(figures: dict[str, Any]) -> str:
    """Which call when, and how many times as fast as NumPy it is; from calls.py."""
    sizes = (32, 128, 512)
    rows = {row["H"]: row for row in figures["rows"] if row["cell"] == "lstm" and row["dtype"] == "float32"}
    lines = []
    for call, when, way in (
        (
            "`rnnfast.lstm(x, w_ih, ...)`",
            "you keep the weights, in any memory order; they may change at every call",
            "function",
        ),
        ("`net(x, state)`", "a layer keeps them, and training goes on between calls", "layer"),
        ("`fast = net.freeze()`, `fast(x, state)`", "the weights stay as they are: packed once", "frozen"),
        ("`fast.step(x_t, state)`", "a stream: one time step at a time", "frozen"),
    ):
        cells = []
        for part in ("step", "sequence"):
            shown = not (part == "step" and call.endswith("`fast(x, state)`")) and not (part == "sequence" and ".step" in call)
            cells.append(" / ".join(f"{ratio(rows[H], f'{way} {part}'):.1f}" for H in sizes) if shown else "-")
        lines.append([call, when, *cells])
    by = " / ".join(map(str, sizes))
    setting = f"LSTM, 64 inputs, {by} units, batch 1, float32, 1 thread, {figures['machine']['name']}"
    text = f"How many times as fast as NumPy each call is ({setting}):"
    return f"{text}\n\n{markdown_table(['call', 'when', 'one step', '100 steps'], lines)}"


def machine(figures: dict[str, Any]) -> str:
    config = figures["config"]
    return f"{config['CPU']['name']}, {config['CPU']['isa']}, {figures['threads']} threads"


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
    return f"{text}\n\n{markdown_table(['cell', *columns], rows)}"


def sample(output: str, figures: dict[str, Any]) -> str:
    loss, _, text = output.partition("\n\n")
    return f"One run, {machine(figures)}: {loss}. It writes:\n\n```\n{text[:400].rstrip()} ...\n```"


def benchmarks(folder: Path) -> str:
    """Writes docs/benchmarks.md and its plots from a run of compare.py; returns the README's table."""
    results, images = Results.read(folder / "compare.json"), DOCS / "img"
    images.mkdir(exist_ok=True)
    plots = draw(results, images)
    addresses = [(f"img/{name}", title) for name, title in plots]
    (DOCS / "benchmarks.md").write_text(page(results, addresses), encoding="utf-8")
    return speed(results)


def fill(page: Path, parts: dict[str, str]) -> None:
    """Puts each part between the page's marks of its name."""
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        block = f"<!-- {name} -->\n{part}\n<!-- /{name} -->"
        text, count = re.subn(f"<!-- {name} -->.*<!-- /{name} -->", lambda _, block=block: block, text, flags=re.DOTALL)
        assert count == 1, name
    page.write_text(text, encoding="utf-8")


def main() -> None:
    figures = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    parts = {"support": support(figures), "error": error(figures), "gate orders": gate_orders()}
    parts["char_rnn"] = sample(Path(sys.argv[2]).read_text(encoding="utf-8"), figures)
    parts["speed"] = benchmarks(Path(sys.argv[3]))
    parts["calls"] = calls(json.loads(Path(sys.argv[4]).read_text(encoding="utf-8")))
    fill(README, parts)


if __name__ == "__main__":
    main()
