"""Files that may be damaged, and writing so that nothing of the user's is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nca import files
from nca.errors import UserError
from nca.files import lock_file, lock_folder, read_bytes, read_json, reading, replace_folder, write_file

ROOT = Path(__file__).parents[2]
HOSTILE = Path(__file__).parents[3] / "shared" / "faults" / "hostile"


class WithoutText(Exception):  # noqa: N818 (a test's own)
    def __str__(self):
        return str(10**5000)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KeyError("x"), "it is damaged (KeyError 'x')"),
        (WithoutText(), "it is damaged (WithoutText)"),
        (RecursionError("deep"), "it is damaged (RecursionError deep)"),
        (OSError("odd"), "it is damaged (OSError odd)"),
        (MemoryError(), "more memory than there is"),
        (files.DamagedError("it is cut off."), "is no rule: it is cut off."),
    ],
)
def test_whatever_fails_in_a_reader_names_the_file(error, says):
    with pytest.raises(UserError) as caught, reading("a.pt", "is no rule"):
        raise error
    assert str(caught.value).startswith("a.pt ")
    assert says in str(caught.value)


def test_what_is_unexpected_is_raised_where_asked(monkeypatch):
    monkeypatch.setenv("NCA_DEBUG", "1")
    with pytest.raises(KeyError), reading("a.pt", "is no rule"):
        raise KeyError("x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_only_regular_files_are_read_and_none_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(UserError, match=r"not a regular file|Cannot read"):
            read_bytes(path)
    with pytest.raises(UserError, match="null"):
        read_bytes("a\0b")


def test_json_is_read_with_a_byte_order_mark_and_within_bounds(tmp_path):
    path = tmp_path / "a.json"
    for text, encoding in (("[1]", "utf-8"), ("[1]", "utf-8-sig"), ("[1]", "utf-16")):
        path.write_text(text, encoding=encoding)
        assert read_json(path) == [1]
    for text in ("[" * 200 + "]" * 200, "[" * 100_000, "9" * 5000, "", "{", '{"a": 1'):
        path.write_text(text)
        with pytest.raises(UserError, match="its JSON is"):
            read_json(path)


def test_edits_from_an_editor_that_writes_a_byte_order_mark_are_read(tmp_path):
    import nca
    from nca import edits

    organism = nca.load("flag")
    path = edits.save([edits.freeze(organism, channels="h0")], tmp_path / "edits.json")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (edit,) = edits.load(path)
    assert edit.entries.tolist().index(True) == 4


def held(folder, lock):
    """A process that holds a lock until its input ends."""
    program = f"from nca import files; import sys, pathlib\n{lock}\nprint(1, flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"1\n"
    return process


@pytest.mark.skipif(files.fcntl is None, reason="this system has no such locks")
@pytest.mark.parametrize(
    ("lock", "take"),
    [
        ("c = files.lock_folder(pathlib.Path('it')); c.__enter__()", lambda path: lock_folder(path).__enter__()),
        ("c = files.lock_file('it')", lambda path: lock_file(path).close()),
        (
            "c = files.replace_folder(pathlib.Path('it')); c.__enter__()",
            lambda path: replace_folder(path).__enter__(),
        ),
    ],
    ids=["folder", "file", "replaced folder"],
)
def test_a_lock_keeps_others_out_and_ends_with_a_kill(tmp_path, lock, take):
    process = held(tmp_path, lock)
    with pytest.raises(UserError, match="Another process writes"):
        take(tmp_path / "it")
    process.kill()
    process.wait()
    take(tmp_path / "it")


def test_what_a_killed_write_left_is_removed_by_the_next_and_foreign_files_are_not(tmp_path):
    for name in (".unfinished-abcdefgh-a.txt", ".unfinished-abcdefgh-other.txt"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("half")
    (tmp_path / ".unfinished-thesis").write_text("mine")
    write_file(tmp_path / "a.txt", "new")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.txt", ".unfinished-abcdefgh-other.txt", ".unfinished-thesis"}


def test_a_folder_is_replaced_in_whole_and_keeps_what_is_not_ours(tmp_path):
    folder = tmp_path / "it"
    for name in ("ours.txt", "mine.txt", "deep/mine.txt"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text("old")
    with replace_folder(folder, lambda path: path.name == "ours.txt") as new:
        (new / "new.txt").write_text("new")
        assert (folder / "ours.txt").exists()
    assert sorted(p.name for p in folder.rglob("*.txt")) == ["mine.txt", "mine.txt", "new.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["it"]
    with pytest.raises(ZeroDivisionError), replace_folder(folder):
        1 / 0  # noqa: B018
    assert [p.name for p in tmp_path.iterdir()] == ["it"]


@pytest.mark.parametrize("killed", ["while writing", "before the last step", "after the last step"])
def test_a_replacement_that_was_killed_is_mended_by_the_next(tmp_path, killed):
    folder, hidden, previous = tmp_path / "it", tmp_path / ".it.unfinished", tmp_path / ".it.replaced"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    if killed == "before the last step":
        folder.rename(previous)
    elif killed == "after the last step":
        previous.mkdir()
    if killed != "after the last step":
        (hidden / "half").mkdir(parents=True)
    with replace_folder(folder, lambda path: False) as new:
        assert list(new.iterdir()) == []
        (new / "new.txt").touch()
    assert sorted(p.name for p in folder.iterdir()) == ["mine.txt", "new.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["it"]


def test_a_place_that_cannot_be_written_is_noticed_before_the_work(tmp_path, monkeypatch):
    def refuse(**options):
        raise OSError(30, "Read-only file system")

    files.check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="no folder"):
        files.check_writable(tmp_path / "missing")
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(UserError, match="Read-only file system"):
        files.check_writable(tmp_path)


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="the hostile files are not beside this checkout")
def test_hostile_files_are_refused_in_one_sentence(tmp_path):
    import nca
    from analysis.recording import load_recording
    from nca import edits
    from nca.interop.containers import read_contents
    from nca.interop.reference import read_reference

    readers = {".nc": load_recording, ".safetensors": nca.load}
    readers |= {"ed": edits.load, "rl": read_reference, "rm": read_reference}
    for path in sorted(HOSTILE.glob("*.*")):
        read = readers.get(path.name[:2]) or readers.get(path.suffix, read_contents)
        with pytest.raises(UserError, match=path.stem) as caught:
            read(path.with_suffix(".json") if read is edits.load else path)
        assert "\n" not in str(caught.value)
