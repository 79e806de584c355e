"""The words typed at `nca` as a command's record."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Union

import tyro

from nca.errors import UserError

MAX_INT = 2**31 - 1


def parse_command(words: Sequence[str], commands: Mapping[str, type], description: str) -> Any:
    """The record that the words describe.

    Args:
        words: what was typed after the program's name.
        commands: the record of each command, by name.
        description: what the program does, for its help.

    Raises:
        UserError: an option that was renamed, or a whole number too large for the arrays it will meet.
        SystemExit: help was printed (code 0), or tyro explained on standard error what is wrong (code 2).
    """
    kinds = tuple(Annotated[kind, _subcommand(name, kind, words)] for name, kind in commands.items())
    union: Any = Union[kinds]  # noqa: UP007 (of a tuple)
    style = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            record = tyro.cli(union, prog="nca", description=description, args=words, config=style)
    except SystemExit as stop:
        if stop.code and words and words[0] in commands:
            _check_renamed(words, commands[words[0]])
        cause = stop.__context__
        while cause is not None:
            if isinstance(cause, UserError):  # of the record itself: one sentence instead of tyro's box
                raise UserError(str(cause)) from None
            cause = cause.__context__
        text = message.getvalue()
        if stop.code and (sentence := _sentence(text)):
            help_of = f"nca {words[0]}" if words and words[0] in commands else "nca"
            raise UserError(f"{sentence}; see {help_of} --help.") from None
        sys.stderr.write(text)
        raise
    _check_sizes(record)
    return record


def _subcommand(name: str, kind: Any, words: Sequence[str]) -> Any:
    """A command; one whose record has `defaults` takes from there what is not among the words."""
    if words and words[0] == name and hasattr(kind, "defaults"):
        return tyro.conf.subcommand(name, default=kind.defaults(words[1:]))
    return tyro.conf.subcommand(name)


def _renamed_options(kind: type) -> dict[str, str]:
    """Options of a command that have a new name: RENAMED_OPTIONS of the modules of its record and configuration."""
    records: list[Any] = [kind, *(f.default_factory for f in fields(kind) if isinstance(f.default_factory, type))]
    options = {f"--{field.name.replace('_', '-')}" for record in records for field in fields(record)}
    modules = [sys.modules[record.__module__] for record in records]
    renamed = {old: new for module in modules for old, new in getattr(module, "RENAMED_OPTIONS", {}).items()}
    return {old: new for old, new in renamed.items() if new.split()[0] in options}


def _check_renamed(words: Sequence[str], kind: type) -> None:
    """Raise `UserError` where an option of the command has a new name."""
    renamed = _renamed_options(kind)
    for word in words:
        old = word.partition("=")[0]
        if old in renamed:
            raise UserError(f"{old} is now {renamed[old]}; see nca {words[0]} --help.")


def _sentence(box: str) -> str:
    """What tyro drew in a box as one sentence, without the help texts of options; empty where there is no box."""
    parts: list[list[str]] = [[]]
    # Where a terminal has no letters for a box, there are spaces and hyphens instead.
    for line in box.splitlines()[1:]:
        text = line.strip("\u2502\u2500-+| ") if set(line) <= set("\u2502\u2500-+| ") else line.strip("\u2502| ")
        if text:
            parts[-1].append(text)
        elif parts[-1]:
            parts.append([])
    sentence = " ".join(parts[0]).split(" Got errors:")[0].rstrip(".")
    sentence, listed, choices = sentence.partition("Expected one of ")
    if listed:  # in the order of a set
        names = [word.strip("'") for word in choices.strip("(){}").split(", ")]
        sentence += "Expected one of " + ", ".join(sorted(name for name in names if name not in ("None", "")))
    more = " ".join(parts[1]) if len(parts) > 1 else ""
    if more.startswith("Available"):
        sentence += f". {more}"
    elif more.startswith("Perhaps you meant"):
        sentence += f". Perhaps you meant: {parts[1][1].split()[0]}"
    return sentence.replace("__tyro-dummy-inner__.", "")


def _check_sizes(record: Any) -> None:
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value):
            _check_sizes(value)
            continue
        numbers = [n for n in (value if isinstance(value, tuple) else (value,)) if isinstance(n, int)]
        for number in numbers:
            if abs(number) > MAX_INT:
                raise UserError(f"{field.name} must be at most {MAX_INT} in size, got {_short(number)}.")
            if field.name in ("seed", "run") and number < 0:
                raise UserError(f"{field.name} must be at least 0, got {number}.")


def _short(value: int) -> str:
    return str(value) if abs(value) < 10**30 else "a larger one"
