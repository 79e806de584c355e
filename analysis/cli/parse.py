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
    message = io.TextIOWrapper(io.BytesIO(), encoding=sys.stderr.encoding, errors="replace")
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
        message.seek(0)
        sys.stderr.write(message.read())
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


def _check_sizes(record: Any) -> None:
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value):
            _check_sizes(value)
        elif isinstance(value, int) and abs(value) > MAX_INT:
            raise UserError(f"{field.name} must be at most {MAX_INT}, got {value}.")
