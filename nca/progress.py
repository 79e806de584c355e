"""Progress of long computations: a bar on a terminal, lines elsewhere; rate and time left without the compilation."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

Log = Callable[[str], None]
_WINDOW = 60.0  # seconds that the rate is computed over


def silent(line: str) -> None:
    """A `Log` that prints nothing."""


def log_line(line: str) -> None:
    """A `Log` that writes to standard error."""
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()


def printable(text: str) -> str:
    """The text without control characters, with which a name in a foreign file could steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


class Progress:
    """Counts the steps of a stage, and shows how far it is: with `log_line` on a terminal as a bar, else in lines.

    Where the stage's total is known ("growing: 40 %, 00:00:12 left") the remaining time is that of the stage;
    elsewhere the steps done are logged ("growing: 1,200 steps, 00:00:08"). The rate counts from the first steps on,
    which wait for compilation.

    Args:
        log: called with each line.
        pause: least seconds between two lines.
        counts: lines and the bar give the steps done and the rate, not the share.
    """

    def __init__(self, log: Log, pause: float = 5.0, *, counts: bool = False) -> None:
        self.log, self.pause, self._counts = log, pause, counts
        self._lock = threading.Lock()
        self._bar: Any = None
        self.start("")

    def start(self, stage: str, total: int = 0, done: int = 0) -> None:
        """Begin a stage of `total` steps over all runs (0 if unknown), some of which may be done."""
        self.close()
        self.stage, self.total, self.done = stage, total, done
        self._stage_begun = self._logged = time.monotonic()
        self._samples = deque[tuple[float, int]]()
        if stage and self.log is log_line and sys.stderr.isatty():
            self._bar = _open_bar(stage, total, done)

    def tick(self, steps: int, note: str = "") -> None:
        """Count steps that are done; a note, such as the loss, is shown beside them."""
        with self._lock:
            self.done += steps
            now = time.monotonic()
            self._samples.append((now, self.done))
            while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW:
                self._samples.popleft()
            state = self._state(now)
            if self._bar is not None:
                shown = ", ".join([*state[1 - self._counts :], *([note] if note else [])])
                self._bar.update(self._bar.task_ids[0], completed=self.done, state=shown)
            if self._bar is not None or now - self._logged < self.pause:
                return
            self._logged = now
        self.log(f"{self.stage}: {', '.join([state[0], *([note] if note else []), *state[1:]])}")

    def close(self) -> None:
        """Remove the bar, if there is one."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    __del__ = close

    def _state(self, now: float) -> list[str]:
        """The share or the steps done, then the rate and the time left as far as they are known."""
        (begun, first), (last, done) = self._samples[0], self._samples[-1]
        rate = (done - first) / (last - begun) if last > begun and done > first else 0.0
        parts = [f"{min(99, 100 * self.done // self.total)} %"] if self.total else [f"{self.done:,} steps"]
        if self._counts and self.total:
            parts = [f"step {self.done}/{self.total}"]
        if not self.total:
            parts.append(_clock(now - self._stage_begun))
        elif rate and (self._counts or 20 * self.done >= self.total):  # before, programs are still compiled
            parts += [f"{rate:.2f} steps/s"] if self._counts else []
            parts.append(f"{_clock(max(self.total - self.done, 0) / rate)} left")
        return parts


def _open_bar(stage: str, total: int, done: int) -> Any:
    """A bar on standard error, above which lines can still be written."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(16, table_column=Column(min_width=8)),
        TaskProgressColumn(table_column=Column(min_width=4)),
        TextColumn("{task.fields[state]}", markup=False, table_column=Column(min_width=36, no_wrap=True)),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )
    bar.add_task(stage, total=total or None, completed=done, state="")
    bar.start()
    return bar


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(seconds))
