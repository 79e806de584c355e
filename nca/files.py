"""Reading files that may be damaged, and writing files and folders so that nothing of the user's is lost.

Only regular files are read, within bounds, and whatever fails while one is read becomes a sentence that names it.
What is written appears complete or not at all; what an interrupted program left behind is removed when the same
thing is written again. A folder has one writer at a time, by a lock that ends with the process that holds it.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from nca.errors import UserError

try:
    import fcntl
except ImportError:  # Windows has none, and locks nothing here
    fcntl = None  # type: ignore[assignment]

MAX_FILE_BYTES = 256 * 2**20
MAX_TEXT_BYTES = 32 * 2**20
_MAX_DEPTH = 100  # of lists within lists in JSON
_MAX_SENTENCE = 600  # characters of a message that may hold values of a file
_UNFINISHED = ".unfinished-"  # how the name of a temporary file begins


class DamagedError(UserError):
    """A file that does not hold what its format requires."""


# --- Reading ---


@contextmanager
def reading(path: str | Path, mistake: str) -> Iterator[None]:
    """Turn whatever fails while a file is read into a `UserError`; with NCA_DEBUG=1 what is unexpected is raised.

    Args:
        path: the file, with which the sentence begins.
        mistake: what the sentence says of it, such as "does not hold a recording".
    """
    try:
        yield
    except MemoryError:
        raise UserError(f"{path} cannot be read: it needs more memory than there is.") from None
    except OSError as error:
        if error.strerror is None:  # of a reader, not of the system
            raise UserError(f"{path} {mistake}: it is damaged ({describe_error(error)}).") from error
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    except UserError as error:
        text = str(error)
        if str(path) in text and len(text) < _MAX_SENTENCE:
            raise
        text = text if len(text) < _MAX_SENTENCE else f"{text[:_MAX_SENTENCE]}..."
        raise UserError(f"{path} {mistake}: {text}") from error
    except Exception as error:  # the border: whatever a reader raises on a file that somebody else wrote
        if os.environ.get("NCA_DEBUG"):
            raise
        raise UserError(f"{path} {mistake}: it is damaged ({describe_error(error)}).") from error


def describe_error(error: BaseException) -> str:
    """An exception in a few words, whatever values it holds."""
    try:
        text = " ".join(str(error).split())[:200]
    except Exception:  # of a number of 5,000 digits, or of lists nested too deeply
        text = ""
    return f"{type(error).__name__} {text}".strip().rstrip(".")


def read_bytes(path: str | Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """All bytes of a regular file of at most `limit` bytes.

    Raises:
        UserError: there is none, it is larger, or it cannot be read.
    """
    try:
        # A pipe without a writer would wait for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"{path} is not a regular file; give one.")
            raw = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"Cannot read {str(path)!r}: {error}.") from error  # a null character in its name
    if len(raw) > limit:
        raise UserError(f"{path} has {os.path.getsize(path)} bytes; files of its kind are read up to {limit} bytes.")
    return raw


def parse_json(raw: bytes | str, kind: type = object) -> Any:
    """JSON of bounded depth, with or without a byte order mark, whose outermost value must be of this kind."""
    try:
        value = json.loads(raw.removeprefix("\ufeff") if isinstance(raw, str) else raw)
    except (ValueError, RecursionError) as error:
        raise DamagedError("its JSON is damaged or cut off.") from error
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [entry for outer in level if isinstance(outer, dict | list) for entry in _entries(outer)]
        if not level:
            break
    else:
        raise DamagedError(f"its JSON is nested more than {_MAX_DEPTH} deep.")
    if not isinstance(value, kind):
        raise DamagedError("its JSON is not an object.")
    return value


def _entries(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


def read_json(path: str | Path, kind: type = object, limit: int = MAX_TEXT_BYTES) -> Any:
    """The JSON in a file: `parse_json` of `read_bytes`."""
    return parse_json(read_bytes(path, limit), kind)


# --- Writing ---


def write_file(path: str | Path, content: bytes | str | Callable[[Path], Any]) -> Path:
    """Write a file atomically: it is made in a hidden folder beside it, and moved when it is complete.

    Args:
        content: bytes, text (written as UTF-8), or a function that writes the temporary file whose path it gets.

    Raises:
        UserError: the folder is missing or not writable, or the disk is full; nothing is left behind.
    """
    path = Path(path)
    with writing(path):
        remove_unfinished(path.parent, path.name)
        folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, suffix=f"-{path.name}", dir=path.parent))
    temporary = folder / path.name
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(lock_folder(folder))
        stack.enter_context(writing(path))
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    return path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system refuses while a file or folder is written into a `UserError` that names it."""
    try:
        yield
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}; choose another place.") from error


def remove_unfinished(folder: Path, name: str | None = None) -> None:
    """Remove what a killed process left in a folder: of the file of this name, or of any."""
    for path in folder.glob(f"{_UNFINISHED}????????-{'*' if name is None else glob.escape(name)}"):
        with suppress(UserError), lock_folder(path):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, so that no other process writes there; it is made if need be, and removed if it stays empty.

    Raises:
        UserError: another process holds it, or it cannot be made.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY) if fcntl else None
    except OSError as error:
        raise UserError(f"Cannot make the folder {folder}: {error.strerror}; choose another place.") from error
    try:
        if handle is not None and not (_lock(handle) and _is_same(handle, folder)):
            raise UserError(f"Another process writes to {folder}; wait until it ends, or choose another place.")
        yield
    finally:
        with suppress(OSError):  # of one that is not empty
            for path in new:
                path.rmdir()
        if handle is not None:
            os.close(handle)


def lock_file(path: str | Path) -> BinaryIO:
    """A file that only this process writes, open for appending, until it is closed.

    Raises:
        UserError: another process writes to it, or it cannot be opened.
    """
    try:
        file = open(path, "ab", buffering=0)  # noqa: SIM115 (the caller closes it)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}; choose another place.") from error
    if not _lock(file.fileno()):
        file.close()
        raise UserError(f"Another process writes to {path}; wait until it ends, or choose another place.")
    return file


@contextmanager
def replace_folder(folder: Path, is_ours: Callable[[Path], bool] = lambda path: True) -> Iterator[Path]:
    """A hidden folder that takes the place of `folder` when the block ends, and is removed when it fails.

    Args:
        folder: where; what is there already is replaced.
        is_ours: of a path relative to `folder`: whether it is replaced. All other files are kept.

    Raises:
        UserError: it cannot be written, or another process writes it.
    """
    folder = Path(os.path.realpath(folder))
    temporary, previous = (folder.with_name(f".{folder.name}.{word}") for word in ("unfinished", "replaced"))
    with lock_folder(temporary):
        if previous.exists():  # a process was killed between the two last steps
            shutil.rmtree(previous) if folder.exists() else os.replace(previous, folder)
        for leftover in temporary.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
        try:
            yield temporary
            with writing(folder):
                if folder.exists():
                    _keep_files(folder, temporary, is_ours)
                    os.replace(folder, previous)
                os.replace(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(previous, ignore_errors=True)


def _keep_files(folder: Path, new: Path, is_ours: Callable[[Path], bool]) -> None:
    """Copy the files of a folder that are not ours into the one that replaces it, under their own names."""
    for path in sorted(folder.rglob("*")):
        copy = new / path.relative_to(folder)
        if is_ours(path.relative_to(folder)) or copy.exists():
            continue
        if path.is_dir() and not path.is_symlink():
            copy.mkdir(parents=True, exist_ok=True)
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy, follow_symlinks=False)


def check_writable(folder: Path) -> None:
    """Raise `UserError` unless a file can be written in a folder."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; make it, or choose another place.")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        raise UserError(f"Cannot write in {folder}: {error.strerror or error}; choose another place.") from error


def _lock(handle: int) -> bool:
    """Lock an open file or folder for this process; False where another process holds it."""
    try:
        if fcntl:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def _is_same(handle: int, path: Path) -> bool:
    """Whether the path still names what was opened."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False
