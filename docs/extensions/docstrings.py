"""Docstrings as they are written, in plain text, made safe for reStructuredText."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


# `x` is code in either; a star, a bar or a trailing underscore is a letter like any other.
LETTERS = re.compile(r"(`[^`]*`)|([*|])|(?<=\w)(_)(?!\w)")
ARRAYS = re.compile(r"(?:jaxlib\._jax|numpy)\.(Array|ndarray)")


def setup(app: Sphinx) -> dict[str, Any]:
    """Have every docstring go through `plain`, before its sections are read, and shorten signatures."""
    app.connect("autodoc-process-docstring", plain, priority=400)
    app.connect("autodoc-process-signature", short)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def plain(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape what reStructuredText would take for markup."""
    lines[:] = [escaped(line) for line in lines]


def short(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, takes: str | None, gives: str | None
) -> tuple[str | None, str | None]:
    """A signature that calls arrays by their name alone."""
    first, second = (said and ARRAYS.sub(r"\1", said) for said in (takes, gives))
    return first, second


def escaped(line: str) -> str:
    """A line with its stray stars, bars and underscores as letters."""
    return LETTERS.sub(lambda m: m[1] or "\\" + (m[2] or m[3]), line)
