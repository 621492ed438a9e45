"""Configuration of the documentation site: ``sphinx-build -W -b html docs build/site``.

The pages of this folder are the site, and are also read on a code host. Three texts that belong elsewhere in the repository are
pages too (ELSEWHERE): a page of this folder holds their place, and gets their text when the site is built.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from sphinx.ext.autodoc.mock import _MockObject

from rnnfast.version import __version__

DOCS = Path(__file__).parent
ROOT = DOCS.parent
ELSEWHERE = {"overview": ROOT / "README.md", "contributing": ROOT / "CONTRIBUTING.md", "method": ROOT / "bench" / "README.md"}
LINK = re.compile(r"\[([^][]*)\]\(([^()#:]*)(#[^()]*)?\)")  # one that stays in the repository; also the end of an image's

project = "rnnfast"
copyright = "the authors of rnnfast, MIT licence"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["img"]
highlight_language = "none"  # of blocks that name no language, such as what a program prints
default_role = "py:obj"  # `name` in a docstring is a link if there is such a public name
add_module_names = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_typehints = "none"  # the docstrings say more than the annotations: shapes too
autodoc_member_order = "bysource"
autodoc_mock_imports = [name for name in ("onnx", "torch") if importlib.util.find_spec(name) is None]
_MockObject.__or__ = lambda self, other: self  # annotations that are evaluated, as in a TypeAlias: Tensor | None
numpydoc_show_class_members = False  # autodoc lists them

html_theme = "furo"
html_title = f"rnnfast {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False


def localized(text: str, source: Path) -> str:
    """The Markdown of a file, with its links to other files such that they lead on from this folder's pages."""
    pages = {path: DOCS / f"{name}.md" for name, path in ELSEWHERE.items()}

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        if not target:
            return match[0]
        path = (source.parent / target).resolve()
        if not path.exists():  # no link, but code
            return match[0]
        text_elsewhere = path.suffix == ".md" and path not in pages and DOCS not in path.parents
        if path.is_dir() or not path.suffix or text_elsewhere:  # nothing that a page could lead to
            return words
        return f"[{words}]({os.path.relpath(pages.get(path, path), DOCS)}{anchor})"

    return LINK.sub(link, text)


def read(app: object, docname: str, content: list[str]) -> None:
    source = ELSEWHERE.get(docname)
    if source is not None:
        content[0] = localized(source.read_text(encoding="utf-8"), source)
    elif (DOCS / f"{docname}.md").exists():
        content[0] = localized(content[0], DOCS / f"{docname}.md")


def setup(app: object) -> None:
    app.connect("source-read", read)  # type: ignore[attr-defined]
