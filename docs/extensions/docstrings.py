"""Docstrings as they are written, in plain text, made safe for reStructuredText."""

import re
from typing import Any

from sphinx.application import Sphinx

# `x` is code in either; a star, a bar or a trailing underscore is a letter like any other.
LETTERS = re.compile(r"(`[^`]*`)|([*|])|(?<=\w)(_)(?!\w)")
CODE = re.compile(r"^( {4,})\S.*", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Have every docstring go through `plain`, before its sections are read."""
    app.connect("autodoc-process-docstring", plain, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def plain(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape what reStructuredText would take for markup; an indented picture stays one."""
    lines[:] = [escaped(line) for line in lines]


def escaped(line: str) -> str:
    """A line with its stray stars, bars and underscores as letters."""
    return LETTERS.sub(lambda m: m[1] or "\\" + (m[2] or m[3]), line)
