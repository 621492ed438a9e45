"""A progress bar on stderr, by tqdm if it is installed, else in one line of text. Without a terminal, nothing is written."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any


class _Line:
    """One line of text, with the part of tqdm's interface that `progress` uses."""

    def __init__(self, total: int, desc: str) -> None:
        self.total, self.desc, self.done = total, desc, 0
        self.note, self.began, self.shown = "", time.perf_counter(), 0.0

    def update(self, n: int = 1) -> None:
        self.done += n
        self._show(force=self.done >= self.total)

    def set_postfix_str(self, note: str, refresh: bool = True) -> None:
        self.note = note
        if refresh:
            self._show()

    def _show(self, force: bool = False) -> None:
        now = time.perf_counter()
        if not force and now - self.shown < 0.1:
            return
        self.shown = now
        share = self.done / max(1, self.total)
        bar = "#" * int(20 * share)
        text = f"{self.desc} [{bar:<20}] {self.done}/{self.total} {now - self.began:.0f}s {self.note}"
        sys.stderr.write(f"\r{text[:79]:<79}")
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\r" + " " * 79 + "\r")
        sys.stderr.flush()


class progress:
    """A progress bar: ``with progress(total, "text") as bar: bar.update(); bar.note("loss 1.9")``.

    Parameters
    ----------
    total : int
        The number of updates until the work is done.
    desc : str
        The text before the bar.
    shown : bool
        False shows nothing, as in all processes of a run but one.
    """

    def __init__(self, total: int, desc: str, *, shown: bool = True) -> None:
        self._bar: Any = None
        if not shown or not sys.stderr.isatty():
            return
        try:
            from tqdm import tqdm
        except ImportError:
            self._bar = _Line(total, desc)
        else:
            self._bar = tqdm(total=total, desc=desc, leave=False, ncols=79)

    def update(self, n: int = 1) -> None:
        """Says that n more of the total are done."""
        if self._bar is not None:
            self._bar.update(n)

    def note(self, text: str) -> None:
        """Shows a short text after the bar, from its next update on."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def __enter__(self) -> progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
