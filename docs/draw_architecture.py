"""Draws docs/img/architecture.svg, the picture in the page Architecture: ``python docs/draw_architecture.py``."""

from __future__ import annotations

from html import escape
from pathlib import Path

PICTURE = Path(__file__).parent / "img" / "architecture.svg"
WIDTH, LEFT, CHAIN, GAP, LINE = 860, 24, 500, 34, 19

# the chain that a call goes down: name, what it is
PARTS = [
    ("your code", ["NumPy arrays in, NumPy arrays out"], "#f2f2f2"),
    ("src/rnnfast/*.py", ["the public names: signatures, docstrings, settings"], "#dcebf9"),
    ("src/rnnfast/_engine/", ["checks, shapes, passes through layers and directions, tapes"], "#dcebf9"),
    (
        "src/rnnfast/_kernels/",
        ["Cython, without the GIL, in all threads of a call:", "the loops over time steps"],
        "#fdebcf",
    ),
    (
        "csrc/",
        ["C, step by step: cells, the interpreter of programs,", "products, tanh, sigmoid, worker threads"],
        "#dff0da",
    ),
    ("csrc/isa/", ["vectors: scalar, AVX2, AVX-512, NEON"], "#dff0da"),
]
# what stands beside it: name, what it is, the part beside which it is drawn, and whether that part uses it or is used by it
BESIDE = [
    ("nn/ torch/ keras/ onnx/", ["training kit; models and", "weights of other libraries"], 1, False),
    ("cells/ formula/ zoo/", ["a cell: its numbers, or", "a formula and its plan"], 2, True),
    ("reference.py proof/", ["plain NumPy, against which", "the kernels are checked"], 3, False),
]


def box(x: int, y: int, width: int, height: int, colour: str, name: str, lines: list[str]) -> list[str]:
    text = [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{colour}" stroke="#555"/>']
    text.append(f'<text x="{x + 14}" y="{y + 24}" font-family="monospace" font-weight="bold">{escape(name)}</text>')
    for i, line in enumerate(lines):
        text.append(f'<text x="{x + 14}" y="{y + 24 + LINE * (i + 1)}">{escape(line)}</text>')
    return text


def picture() -> str:
    body: list[str] = []
    tops: list[int] = []
    y = 20
    for i, (name, lines, colour) in enumerate(PARTS):
        height = 36 + LINE * len(lines)
        tops.append(y)
        body += box(LEFT, y, CHAIN, height, colour, name, lines)
        y += height
        if i + 1 < len(PARTS):
            body.append(f'<path d="M{LEFT + CHAIN // 2} {y} v{GAP - 8}" stroke="#555" marker-end="url(#head)"/>')
            y += GAP
    side = LEFT + CHAIN + 60
    for name, lines, beside, used in BESIDE:
        top, height = tops[beside], 36 + LINE * len(lines)
        body += box(side, top, WIDTH - side - 20, height, "#f3e6f5", name, lines)
        start = f"M{LEFT + CHAIN} {top + 27} h52" if used else f"M{side} {top + 27} h-52"
        body.append(f'<path d="{start}" stroke="#555" stroke-dasharray="5 4" marker-end="url(#head)"/>')
    description = "A call goes from your code down to C; each part knows only those below it."
    tip = '<path d="M0 0 8 4 0 8z" fill="#555"/>'
    head = f'<marker id="head" markerWidth="9" markerHeight="9" refX="2" refY="4" orient="auto">{tip}</marker>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 20}" font-family="sans-serif" font-size="15">',
            f"<title>The parts of rnnfast</title><desc>{description}</desc><defs>{head}</defs>",
            f'<rect width="{WIDTH}" height="{y + 20}" fill="white"/>',
            *body,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
