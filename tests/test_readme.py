"""The README's Python blocks run, one after the other in one namespace, and print what the block after them shows."""

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def blocks():
    return re.findall(r"```(\w+)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_python_blocks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # they write files
    space: dict = {}
    ran, printed = 0, ""
    for language, code in blocks():
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(code, "README.md", "exec"), space)
            assert not printed, "a block printed, and no text block shows what"
            ran, printed = ran + 1, out.getvalue()
        elif language == "text":
            assert printed.strip() == code.strip()
            printed = ""
    assert ran >= 5 and not printed


def test_set_up_commands():
    text = README.read_text(encoding="utf-8")
    assert "pip install . && python -m rnnfast" in text
    assert 'pip install ".[test]" && pytest' in text
