"""Damaged files of every format and wrong command lines end in one sentence; `python -m benchmarks.fuzz` tries more."""

import contextlib
import io
import time
from pathlib import Path

import pytest

from benchmarks import fuzz

HOSTILE = Path(__file__).parents[2] / "shared" / "faults" / "hostile"
SECONDS = 20


@pytest.fixture(scope="module")
def made():
    return fuzz.cases()


def test_files_are_read_where_they_are_not_damaged(made, tmp_path):
    for name, case in made.items():
        for path, raw in case.files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(raw)
        with contextlib.redirect_stdout(io.StringIO()):
            case.read(tmp_path / name)


def test_damaged_files_of_every_format_are_read_or_refused_in_one_sentence(made, tmp_path):
    begun, number, failed, refused = time.monotonic(), 0, [], 0
    while time.monotonic() - begun < SECONDS and number < 3000:
        name, outcome, text = fuzz.read_damaged(made, number, 1, tmp_path)
        refused += outcome == "refused"
        if outcome == "failed" or "\n" in text or len(text) > 2000:
            failed.append(f"{number} {name}: {outcome} {text[:300]}")
        number += 1
    assert not failed
    assert number > 5 * len(made)
    assert refused > number / 4


def test_command_lines_with_a_mistake_end_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = fuzz.bad_words()
    assert len(lines) > 330
    assert fuzz.try_words(lines[::6])["failures"] == []
    assert list(tmp_path.iterdir()) == []
