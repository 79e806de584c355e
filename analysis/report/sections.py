"""What an assay tells: sentences, figures and tables under one heading. A report is a list of these."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

FONT = "'DejaVu Sans'"


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Attributes:
        topic: the name of the section it belongs to: growth, axes, lesions, regeneration ...
        claim: what was found, in words.
        evidence: the numbers behind it, in words: value, null, p with its floor, what it is of and
            how many.
        numbers: the same for machines.
    """

    topic: str
    claim: str
    evidence: str
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG text, with its caption (plain text)."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Film:
    """A film as the bytes of an animated WebP, with its caption (plain text)."""

    name: str
    webp: bytes
    caption: str


@dataclass(frozen=True)
class Section:
    """What one assay tells.

    Attributes:
        name: a word for links, file names and `Finding.topic`, such as "axes".
        title: its heading, such as "Body axes".
        findings: the sentences, the most important first.
        live: a frame in which the organism lives, HTML of this package's own making.
        films: shown next.
        drawings: the figures, in the order of the page.
        shown: tables for the reader, by their title, folded away.
        tables: every number, by the name of a CSV file.
        method: how it was done, in plain text: statistics, nulls, units and their number. Paragraphs are
            parted by empty lines; a page tells each once.
        outcomes: why something was not examined, in whole sentences.
        data: labelled arrays behind it all, by the name of a .nc file.
    """

    name: str
    title: str
    findings: Sequence[Finding] = ()
    live: str = ""
    films: Sequence[Film] = ()
    drawings: Sequence[Drawing] = ()
    shown: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    method: str = ""
    outcomes: Sequence[str] = ()
    data: Mapping[str, xr.Dataset] = field(default_factory=dict)


def drawing(name: str, made: Figure, caption: str) -> Drawing:
    """A finished matplotlib figure as a drawing."""
    return Drawing(name, svg(made, name), caption)


def svg(made: Figure, name: str) -> str:
    """A figure as SVG: the same bytes for the same figure, ids that no other figure uses."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        made.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue().replace(FONT, "system-ui, 'Helvetica Neue', Arial, sans-serif")
