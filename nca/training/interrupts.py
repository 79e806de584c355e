"""Ctrl-C during training, which is taken between two steps, where the state can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax


@contextmanager
def interrupts_between_steps() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C back until a training step has ended, from when the first one has; a second Ctrl-C acts at once.

    Yields:
        A function that says, after a step, whether there was one. Callbacks of native code cannot swallow it.
    """
    if threading.current_thread() is not threading.main_thread() or jax.process_count() > 1:
        yield lambda: False
        return
    pressed, is_running = 0, False

    def _press(*_: Any) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1 or not is_running:
            raise KeyboardInterrupt

    def _is_interrupted() -> bool:
        nonlocal is_running
        is_running = True
        return pressed > 0

    before = signal.signal(signal.SIGINT, _press)
    try:
        yield _is_interrupted
    finally:
        signal.signal(signal.SIGINT, before)
