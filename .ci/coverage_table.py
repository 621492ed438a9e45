"""The table of .ci/coverage.sh: ``coverage_table.py TREE PYTHON_JSON GCOV_FOLDER [OUT]``, from their reports.

Lines of a C header that is compiled several times, once for each instruction set and dtype, count as run if any of these ran.
A line of Cython counts as run if any of the C lines ran that Cython made of it: above them Cython writes a comment with the
source's name and line number. Lines that the compiler made no code of, such as those of other processors, are not counted.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

SOURCE = re.compile(r'^ */\* "(?P<file>[^"]+)":(?P<line>\d+)$')
Counts = dict[str, dict[int, bool]]  # file -> line -> whether it ran


def sources_of(c_file: Path) -> dict[int, tuple[str, int]]:
    """Of each line of C that Cython made: the file and line that it was made of."""
    found, current = {}, None
    for number, text in enumerate(c_file.read_text(encoding="utf-8").splitlines(), 1):
        comment = SOURCE.match(text)
        if comment:
            current = (f"src/{comment['file'].removeprefix('src/')}", int(comment["line"]))
        elif text.startswith("}") or "/* function exit code */" in text:
            current = None
        elif current:
            found[number] = current
    return found


def compiled(tree: Path, folder: Path) -> Counts:
    """The lines of C and Cython, from gcov's reports."""
    counts: Counts = defaultdict(lambda: defaultdict(bool))
    origins: dict[Path, dict[int, tuple[str, int]]] = {}
    for report in folder.glob("*.gcov.json.gz"):
        with gzip.open(report, "rt", encoding="utf-8") as stream:
            files = json.load(stream)["files"]
        for part in files:
            path = (tree / part["file"]).resolve()
            if not path.is_relative_to(tree) or not path.exists():
                continue  # headers of Python, NumPy and the system
            name = str(path.relative_to(tree))
            made = name.startswith("src/") and path.suffix == ".c"
            if made and path not in origins:
                origins[path] = sources_of(path)
            for line in part["lines"]:
                file, number = (name, line["line_number"]) if not made else origins[path].get(line["line_number"], ("", 0))
                if file and (tree / file).exists():
                    counts[file][number] |= line["count"] > 0
    return counts


def python(tree: Path, report: Path) -> Counts:
    """The lines of Python, from coverage.py's report."""
    counts: Counts = {}
    for name, part in json.loads(report.read_text(encoding="utf-8"))["files"].items():
        file = str((tree / name).resolve().relative_to(tree))
        counts[file] = dict.fromkeys(part["missing_lines"], False) | dict.fromkeys(part["executed_lines"], True)
    return counts


def group(file: str) -> str:
    """The row that a file belongs to."""
    path = Path(file)
    if path.suffix in (".pyx", ".pxd"):
        return f"{path.parent}/*.pyx, *.pxd"
    if path.parts[:2] == ("csrc", "isa"):
        return f"csrc/isa/{path.name.split('_')[0].split('.')[0]}*"
    return f"{path.parent}/*"


def main() -> int:
    tree, report, folder = (Path(name).resolve() for name in sys.argv[1:4])
    counts = python(tree, report) | compiled(tree, folder)
    rows: dict[str, list[bool]] = defaultdict(list)
    for file, lines in counts.items():
        kind = "Python" if file.endswith(".py") else "C" if file.startswith("csrc/") else "Cython"
        for row in (group(file), f"all {kind}"):
            rows[row] += lines.values()
    print("| files | lines | run by the tests |\n| --- | --- | --- |")
    for name, lines in sorted(rows.items(), key=lambda row: (row[0].startswith("all"), row[0])):
        if lines:
            print(f"| {name} | {len(lines)} | {100 * sum(lines) / len(lines):.1f} % |")
    if len(sys.argv) > 4 and sys.argv[4]:
        missing = [(file, n) for file, lines in sorted(counts.items()) for n, ran in sorted(lines.items()) if not ran]
        out = Path(sys.argv[4])
        out.mkdir(parents=True, exist_ok=True)
        (out / "missing.txt").write_text("".join(f"{file}:{n}\n" for file, n in missing), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
