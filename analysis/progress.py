"""Progress of long computations: which stage runs, what share of it is done, and how long it will take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Log = Callable[[str], None]


def silent(line: str) -> None:
    """A `Log` that prints nothing."""


class Progress:
    """Counts the steps of a stage, and logs every few seconds how far it is.

    Where the stage's total is known ("growing: 40 %, 00:00:12 left") the remaining time is that of the
    stage; elsewhere the steps done are logged ("growing: 1,200 steps, 00:00:08").

    Args:
        log: called with each line.
        pause: least seconds between two lines.
    """

    def __init__(self, log: Log, pause: float = 5.0) -> None:
        self.log, self.pause = log, pause
        self._lock = threading.Lock()
        self.start("")

    def start(self, stage: str, total: int = 0) -> None:
        """Begin a stage of `total` steps over all runs (0 if unknown)."""
        self.stage, self.total, self.done = stage, total, 0
        self._stage_begun = self._logged = time.monotonic()

    def tick(self, steps: int) -> None:
        """Count steps that are done."""
        with self._lock:
            self.done += steps
            now = time.monotonic()
            if now - self._logged < self.pause:
                return
            self._logged = now
            seconds = now - self._stage_begun
            left = seconds * max(self.total - self.done, 0) / max(self.done, 1)
        if not self.total:
            self.log(f"{self.stage}: {self.done:,} steps, {_clock(seconds)}")
            return
        share = min(99, 100 * self.done // self.total)
        # The first steps wait for compilation and would forecast far too long a time.
        self.log(f"{self.stage}: {share} %" + (f", {_clock(left)} left" if share >= 5 else ""))


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(seconds))
