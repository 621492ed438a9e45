"""The pages of the project hold what they say: the Python blocks of each page run, one after the other in one namespace, and
print what the text block right after them shows; links, headings and files that a page names are there."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "bench" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTIONAL = (
    "jax",
    "keras",
    "mpi4py",
    "onnx",
    "onnxruntime",
    "safetensors",
    "threadpoolctl",
    "torch",
)  # a block that imports one that is missing is skipped
# a fenced block: its language, its code and, if a text block follows at once, what it prints
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
FOLDERS = "src|csrc|tests|bench|examples|docs"


class Block(NamedTuple):
    page: Path
    line: int  # of the first line of code
    language: str
    code: str
    output: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> list[Block]:
    text = text_of(page)
    return [Block(page, text.count("\n", 0, m.start()) + 2, *m.groups("")) for m in FENCED.finditer(text)]


def python_blocks(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "python"]


@cache
def outcomes(page: Path) -> dict[int, str | Exception]:
    """Runs all Python blocks of a page, in a folder of their own; by the line of each, what it printed or raised."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:  # they may write files
        os.chdir(folder)
        try:
            return _run(page)
        finally:
            os.chdir(before)


def _run(page: Path) -> dict[int, str | Exception]:
    space: dict[str, object] = {}
    found: dict[int, str | Exception] = {}
    missing: Exception | None = None  # what keeps a block that others build on from running keeps them from it too
    for block in python_blocks(page):
        printed = io.StringIO()
        code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")  # a traceback shows the page's lines
        try:
            with contextlib.redirect_stdout(printed):
                exec(code, space)
            found[block.line] = printed.getvalue()
        except ModuleNotFoundError as problem:
            found[block.line] = missing = problem
        except Exception as problem:
            found[block.line] = missing if missing and isinstance(problem, NameError) else problem
    return found


@pytest.mark.parametrize("block", [block for page in PAGES for block in python_blocks(page)], ids=str)
def test_python_block(block):
    outcome = outcomes(block.page)[block.line]
    so_far = [found for line, found in outcomes(block.page).items() if line <= block.line]
    names = [(found.name or "").partition(".")[0] for found in so_far if isinstance(found, ModuleNotFoundError)]
    missing = [name for name in names if name in OPTIONAL]
    if missing and isinstance(outcome, (ModuleNotFoundError, NameError)):  # or it uses what a block before it did not import
        pytest.skip(f"{block}: {missing[0]} is not installed")
    if isinstance(outcome, Exception):
        raise outcome
    assert outcome.strip() == block.output.strip()


def test_the_readme_has_blocks_and_no_block_has_a_language_that_would_not_run():
    """test_capi.py compiles those in C and Cython."""
    assert len(python_blocks(ROOT / "README.md")) >= 5
    assert {block.language for page in PAGES for block in blocks(page)} <= {"", "python", "sh", "text", "c", "cython"}


def test_set_up_commands():
    text = text_of(ROOT / "README.md")
    assert "pip install . && python -m rnnfast" in text
    assert 'pip install ".[test]" && pytest' in text


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths(page):
    text = FENCED.sub("", text_of(page))
    for target, anchor in re.findall(r"(?<!!)\[[^]]*\]\(([^)#]*)#?([^)]*)\)", text):
        if "://" not in target:
            file = page.parent / target if target else page
            assert file.exists(), target
            if anchor:
                assert anchor in map(slug, re.findall(r"^#+ (.*)$", text_of(file), re.MULTILINE)), (target, anchor)
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", text):
        assert "NAME" in path or (ROOT / path).exists(), path
