"""What `python -m benchmarks.kills` finds in the folders that killed commands leave."""

import pytest

from benchmarks import kills

ROWS = b"b 2\na 1\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "it").mkdir()
    return tmp_path / "it"


@pytest.fixture
def trials(tmp_path, folder):
    trials = kills.Trials(tmp_path, 0)
    trials.undisturbed["sweep"] = kills.Undisturbed({"rows.jsonl": b"\na 1\nb 2", "table.csv": b"table"}, 1.0, 0)
    return trials


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, 0),
        ({"rows.jsonl": b"b 2\na"}, 0),
        ({"rows.jsonl": ROWS, "table.csv": b"table", ".unfinished-x": b"tab"}, 0),
        ({"rows.jsonl": b"c 3\n"}, 1),
        ({"table.csv": b"tab"}, 1),
    ],
)
def test_what_a_kill_leaves_must_be_complete_or_some_of_the_rows(trials, folder, files, found, capsys):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    seen = trials._check_complete("sweep 0", folder)
    assert seen == {name for name in files if not name.startswith(".")}
    assert trials.counts["half written"] == found == capsys.readouterr().out.count("sweep 0: half written: ")


@pytest.mark.parametrize(
    ("files", "code", "found"),
    [
        ({"rows.jsonl": ROWS, "table.csv": b"table"}, 0, ""),
        ({"rows.jsonl": ROWS, "table.csv": b"table"}, 2, "not continued"),
        ({"rows.jsonl": ROWS}, 0, "lost"),
        ({"rows.jsonl": ROWS, "table.csv": b"other"}, 0, "differing"),
        ({"rows.jsonl": ROWS, "table.csv": b"table", ".x": b""}, 0, "hidden left"),
    ],
)
def test_the_result_is_compared_with_the_undisturbed_one(trials, folder, files, code, found):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    trials._compare("sweep 0", "sweep", folder, {"rows.jsonl"}, code, "")
    assert dict(trials.counts) == ({found: 1} if found else {})
    assert not folder.exists()
