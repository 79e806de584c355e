"""How far long work has come, and how long it will still take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Log = Callable[[str], None]


def silent(line: str) -> None:
    """Tell nobody."""


class Progress:
    """Counts steps, and says every few seconds what share is done and what time is left."""

    def __init__(self, say: Log, total: int, pause: float = 5.0) -> None:
        self.say, self.total, self.pause = say, max(total, 1), pause
        self.done, self.stage, self.lock = 0, "", threading.Lock()
        self.begun = self.told = time.monotonic()

    def tick(self, steps: int) -> None:
        """So many steps more."""
        with self.lock:
            self.done += steps
            now = time.monotonic()
            if now - self.told < self.pause:
                return
            self.told = now
            left = (now - self.begun) * max(self.total - self.done, 0) / max(self.done, 1)
        share = min(99, 100 * self.done // self.total)
        # The first steps wait for compilation and would promise far too long a wait.
        wait = f", {time.strftime('%H:%M:%S', time.gmtime(left))} left" if share >= 5 else ""
        self.say(f"{self.stage}: {share} %{wait}")
