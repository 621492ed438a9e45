"""The documentation site, without building it: all pages are reached, and all public names are in the reference."""

import importlib.util
import inspect
import re
from pathlib import Path

import rnnfast

DOCS = Path(__file__).parent.parent / "docs"


def test_every_page_is_in_the_contents():
    listed = set(re.findall(r"^(?:.* <)?([\w/]+)>?$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= listed


def test_every_question_is_one_click_from_the_start():
    def anchor(heading):
        return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")

    questions = re.findall(r"^## (.*)$", (DOCS / "faq.md").read_text(encoding="utf-8"), re.MULTILINE)
    start = (DOCS / "index.md").read_text(encoding="utf-8")
    assert len(questions) >= 10
    assert [f"[{q}](faq.md#{anchor(q)})" for q in questions] == re.findall(r"\[.*?\]\(faq\.md#.*?\)", start)


def test_the_reference_has_every_public_name():
    """Those of rnnfast itself one by one, those of other modules by automodule, which goes by `__all__`."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.rst"))
    directives = set(re.findall(r"^\.\. (?:auto\w+|py:data):: (?:rnnfast\.)?(\w+)$", pages, re.MULTILINE))
    assert set(rnnfast.__all__) <= directives
    modules = {name for name in rnnfast.__all__ if inspect.ismodule(getattr(rnnfast, name))} | {"nn", "onnx", "torch", "keras"}
    assert modules <= set(re.findall(r"^\.\. automodule:: rnnfast\.(\w+)$", pages, re.MULTILINE))


def test_the_picture_is_what_its_program_draws():
    spec = importlib.util.spec_from_file_location("draw_architecture", DOCS / "draw_architecture.py")
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    assert program.PICTURE.read_text(encoding="utf-8") == program.picture()
