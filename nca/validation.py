"""What records of options have in common: checks of their fields, other values where none was chosen."""

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
    """Make the fields of these names, which JSON and users give as lists, tuples."""
    for name in names:
        object.__setattr__(record, name, tuple(getattr(record, name)))


def is_ascending(values: Sequence[float]) -> bool:
    """Whether each value is above the one before it."""
    return list(values) == sorted(set(values))


def check_eval_steps(horizons: Sequence[int]) -> None:
    """Raise `UserError` unless these are ascending numbers of steps, at least one."""
    if not horizons or not is_ascending(horizons) or horizons[0] < 1:
        raise UserError(f"horizons are ascending numbers of steps, got {tuple(horizons)}.")


def replace_defaults(record: Record, values: Mapping[str, Any]) -> Record:
    """The record with these values in the fields that were left at their defaults."""
    usual = {f.name: f.default for f in fields(record)}
    return replace(record, **{k: v for k, v in values.items() if getattr(record, k) == usual[k]})
