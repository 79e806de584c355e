"""Words typed at `nca` made into a command's record; what is wrong with them said in one sentence."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Union

import tyro

from nca.errors import UserError

PHRASES = (
    (r"^Error parsing (--[\w-]+): ", r"\1: "),
    (r"^Error parsing \w+: ", ""),
    (r"invalid literal for int\(\) with base 10: (.*)", r"a whole number is needed, not \1"),
    (r"could not convert string to float: (.*)", r"a number is needed, not \1"),
    (r"invalid choice (.*) for argument '(.*?)'. Expected one of \((.*)\)", r"\2 is one of \3; got \1"),
    (r"no type matching \{?(.*?)\}? could be instantiated from \[(.*?)\].*", r"\1 is needed, not \2"),
)
LARGEST = 2**31 - 1
RULE = "[\u2500-]{8,}"


def parsed(words: Sequence[str], commands: Mapping[str, type], description: str) -> Any:
    """The record that the words describe, or None where help was asked for and given.

    Args:
        words: what was typed after the program's name.
        commands: the record of each command, by name.
        description: what the program does, for its help.

    Raises:
        UserError: the words describe no record.
    """
    kinds = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in commands.items())
    union: Any = Union[kinds]  # noqa: UP007 (of a tuple)
    style = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), _lines_unbroken(words):
        try:
            record = tyro.cli(union, prog="nca", description=description, args=words, config=style)
            check_sizes(record)
            return record
        except SystemExit as stop:
            if not stop.code:
                return None
    raise UserError(sentence(said.getvalue(), words, commands))


def check_sizes(record: Any) -> None:
    """Raise `UserError` where a whole number of a record is too large for the arrays it will meet."""
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value):
            check_sizes(value)
        elif isinstance(value, int) and abs(value) > LARGEST:
            raise UserError(f"{field.name} must be at most {LARGEST}, got {value}.")


@contextlib.contextmanager
def _lines_unbroken(words: Sequence[str]) -> Iterator[None]:
    """Let tyro break lines in its help only, so that what it says of a mistake can be read back."""
    before = os.environ.get("COLUMNS")
    if not {"-h", "--help"} & set(words):
        os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        os.environ.pop("COLUMNS", None)
        if before is not None:
            os.environ["COLUMNS"] = before


def sentence(box: str, words: Sequence[str], commands: Mapping[str, type]) -> str:
    """What tyro says in a box about a mistake, as one sentence."""
    named = words[0] if words and words[0] in commands else ""
    see = f"see nca {named} --help" if named else "see nca --help"
    rows = _content(box)
    text = " ".join(" ".join(rows).split())
    first = re.split(RULE, text)[0].strip()
    if first.startswith("Missing from"):
        # Names stand four spaces in, what they mean eight.
        needed = [row.strip() for row in rows if re.match(r" {4}\S", row) and "--help" not in row]
        return f"{named} needs {' and '.join(needed)}; {see}"
    if not named:
        return f"{_no_command(words, commands)}; {see}"
    for pattern, phrase in PHRASES:
        first = re.sub(pattern, phrase, first)
    near = re.search(r"Perhaps you meant: (--[\w-]+)", text)
    return f"{first.rstrip('.')}; " + (f"did you mean {near[1]}?" if near else see)


def _content(box: str) -> list[str]:
    """The lines in a box without its title and frame, which is of plain characters on some terminals."""
    lines = re.sub("\x1b\\[[0-9;]*m", "", box).splitlines()[1:]
    if lines and re.fullmatch(RULE, lines[0].strip()):
        lines = lines[1:]
    return [line[2:].rstrip("\u2502 ") for line in lines if not line.startswith("\u2570")]


def _no_command(words: Sequence[str], commands: Mapping[str, type]) -> str:
    if not words:
        return f"a command is needed: {', '.join(commands)}"
    close = difflib.get_close_matches(words[0], commands, n=1)
    known = f"did you mean {close[0]}?" if close else ", ".join(commands)
    return f"there is no command {words[0]!r}: {known}"
