"""Progress: share, rate and time left where the total is known, else the steps done; a bar on a terminal."""

import os
import pty
import subprocess
import sys

import pytest

from nca import progress as module
from nca.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_stage_with_a_total_reports_its_share_and_the_time_left(clock):
    lines = []
    progress = Progress(lines.append, pause=0.0)
    progress.start("growing", 100)
    for now, steps in ((300.0, 4), (301.0, 16), (305.0, 80)):  # the first steps wait for compilation
        clock[0] = now
        progress.tick(steps)
    assert lines == ["growing: 4 %", "growing: 20 %, 00:00:05 left", "growing: 99 %, 00:00:00 left"]


def test_a_training_gives_the_steps_the_rate_and_the_loss(clock):
    lines = []
    progress = Progress(lines.append, pause=0.0, counts=True)
    progress.start("training lizard", 1000, done=100)
    for now in (60.0, 65.0, 70.0):
        clock[0] = now
        progress.tick(10, "log10 loss -1.50")
    assert lines[0] == "training lizard: step 110/1000, log10 loss -1.50"
    assert lines[2] == "training lizard: step 130/1000, log10 loss -1.50, 2.00 steps/s, 00:07:15 left"


def test_a_pause_long_ago_does_not_slow_the_forecast(clock):
    progress = Progress(lambda line: None, pause=0.0)
    progress.start("growing", 10_000)
    for now in (0.0, 1000.0, *range(1001, 1100)):
        clock[0] = float(now)
        progress.tick(10)
    assert progress._state(clock[0])[1] == "00:14:59 left"


def test_a_stage_without_a_total_reports_the_steps_done_and_every_stage_counts_anew(clock):
    lines = []
    progress = Progress(lines.append, pause=0.0)
    progress.start("growing", 100)
    progress.start("probing")
    progress.tick(1200)
    assert lines == ["probing: 1,200 steps, 00:00:00"]


def test_lines_are_at_least_a_pause_apart():
    lines = []
    progress = Progress(lines.append, pause=60.0)
    progress.start("growing", 10)
    progress.tick(5)
    assert lines == []


def test_a_terminal_shows_a_bar_and_lines_above_it():
    program = (
        "from nca.progress import Progress, log_line\n"
        "p = Progress(log_line)\n"
        "p.start('growing', 100)\n"
        "p.tick(10)\np.tick(40)\nlog_line('half way')\np.close()\nlog_line('done')\n"
    )
    master, slave = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", program], stderr=slave, env=environment, check=True, timeout=60)
    os.close(slave)
    text = os.read(master, 100_000).decode()
    os.close(master)
    assert "━" in text
    assert "50%" in text
    assert "left" in text
    assert text.index("half way") < text.index("done")
    assert text.endswith("done\r\n")
