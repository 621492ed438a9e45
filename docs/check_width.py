"""Is a page of the built site wider than the screen? ``python docs/check_width.py build/site`` asks Chromium.

Every page is opened in a frame as wide as a phone and as a desktop. What sticks out of the frame, and images without a text
that stands for them, are printed, and the exit status is 1. Tables and code may be wider: they scroll in boxes of their own.
"""

from __future__ import annotations

import html
import http.server
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

WIDTHS = (390, 1280)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHECK = """<!doctype html><pre id="found"></pre><script>
async function measured(page, width) {
  const frame = document.createElement("iframe");
  frame.style.width = width + "px"; frame.style.height = "800px"; frame.style.border = 0; frame.src = "/" + page;
  const loaded = new Promise(done => frame.onload = done);
  document.body.append(frame);
  await loaded;
  const inside = frame.contentDocument, wide = inside.documentElement.scrollWidth, named = [];
  if (wide > width)
    for (const e of inside.querySelectorAll("article *"))
      if (e.getBoundingClientRect().right > width && named.length < 3) named.push(e.outerHTML.slice(0, 80));
  for (const image of inside.images) if (!image.alt) named.push("no alt: " + image.src);
  frame.remove();
  return {page, width, wide, named};
}
async function all() {
  const rows = [];
  for (const page of PAGES) for (const width of WIDTHS) rows.push(await measured(page, width));
  document.getElementById("found").textContent = JSON.stringify(rows);
}
all();
</script>"""


def measure(site: Path) -> list[dict[str, Any]]:
    """For each page and width, how wide the page is (`wide`), and what is wrong in it (`named`)."""
    pages = sorted(str(page.relative_to(site)) for page in site.rglob("*.html"))
    check = CHECK.replace("PAGES", json.dumps(pages)).replace("WIDTHS", json.dumps(WIDTHS)).encode()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(site))

        def do_GET(self) -> None:
            if self.path != "/check":
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(check)

        def log_message(self, *arguments: Any) -> None:
            pass

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"expected a browser, one of {', '.join(BROWSERS)}, got none")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--virtual-time-budget=600000"]
        url = f"http://127.0.0.1:{server.server_port}/check"
        dom = subprocess.run([browser, *flags, "--dump-dom", url], capture_output=True, text=True, timeout=600).stdout
        server.shutdown()
    found = re.search(r'<pre id="found">(.+?)</pre>', dom, re.DOTALL)
    if found is None:
        sys.exit("expected figures of the browser, got none")
    rows: list[dict[str, Any]] = json.loads(html.unescape(found[1]))
    return rows


if __name__ == "__main__":
    rows = measure(Path(sys.argv[1]).resolve())
    bad = [row for row in rows if row["wide"] > row["width"] or row["named"]]
    for row in bad:
        print(f"{row['page']}, {row['width']} pixels: {row['wide']} wide", *row["named"], sep="\n    ")
    print(f"{len(rows)} pages looked at, {len(bad)} with faults")
    sys.exit(bool(bad))
