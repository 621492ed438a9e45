"""Whether all files tell the same version: ``python .ci/release_check.py [TAG]``. Exits with 1 and says what differs.

The version is in src/rnnfast/version.py alone; CITATION.cff repeats it, and CHANGELOG.md has a heading for it. With TAG, as the
release workflow calls it, the tag must be "v" and the version, and both files must have the date of the release.
"""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def problems(tag: str | None) -> list[str]:
    version = runpy.run_path(str(ROOT / "src/rnnfast/version.py"))["__version__"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    found = []
    cited = re.search(r"^version: *(\S+)$", citation, re.M)
    if cited is None or cited[1] != version:
        found.append(f"CITATION.cff must have the line 'version: {version}', as src/rnnfast/version.py")
    headings = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", changelog, re.M)
    if not headings or headings[0][0] != "Unreleased":
        found.append("CHANGELOG.md must begin with the heading '## [Unreleased]'")
    if tag is None:
        return found
    if tag != f"v{version}":
        found.append(f"the tag must be v{version}, as src/rnnfast/version.py; it is {tag}")
    date = dict(headings).get(version, "")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        found.append(f"CHANGELOG.md must have a heading '## [{version}] - YYYY-MM-DD'")
    elif f"date-released: {date}\n" not in citation.replace('"', "").replace("'", ""):
        found.append(f"CITATION.cff must have the line 'date-released: {date}', as CHANGELOG.md")
    return found


if __name__ == "__main__":
    found = problems(*sys.argv[1:2] or [None])
    print("\n".join(found) or "version, changelog and citation agree")
    raise SystemExit(bool(found))
