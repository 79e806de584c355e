"""Checks of option records, and other defaults for fields that were not set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from nca.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Record = TypeVar("Record", bound=DataclassInstance)


def check_at_least(least: int, record: Any, *names: str) -> None:
    """Raise `UserError` where a field of these names is below `least`."""
    for name in names:
        if getattr(record, name) < least:
            raise UserError(f"{name} must be at least {least}, got {getattr(record, name)}.")


def convert_to_tuples(record: Any, *names: str) -> None:
    """Convert the fields of these names, which JSON and users may give as lists, to tuples."""
    for name in names:
        object.__setattr__(record, name, tuple(getattr(record, name)))


def is_ascending(values: Sequence[float]) -> bool:
    """Whether each value is above the one before it."""
    return list(values) == sorted(set(values))


def check_eval_steps(eval_steps: Sequence[int]) -> None:
    """Raise `UserError` unless these are one or more ascending numbers of steps."""
    if not eval_steps or not is_ascending(eval_steps) or eval_steps[0] < 1:
        raise UserError(f"eval_steps must be ascending numbers of steps, got {tuple(eval_steps)}.")


def replace_defaults(record: Record, values: Mapping[str, Any]) -> Record:
    """The record with these values in the fields that are at their defaults."""
    defaults = {f.name: f.default for f in fields(record)}
    return replace(record, **{k: v for k, v in values.items() if getattr(record, k) == defaults[k]})
