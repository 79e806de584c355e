"""What an assay reports: claims with their evidence, figures, films and tables under one heading."""

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
EVIDENCE = (
    "quantity",
    "measure",
    "value",
    "low",
    "high",
    "null_median",
    "null_low",
    "null_high",
    "p",
    "q",
    "n",
    "unit",
)


@dataclass(frozen=True)
class Claim:
    """One sentence, and the numbers that it rests on.

    Attributes:
        assay: the name of the section that it belongs to: growth, axes, lesions, regeneration ...
        text: what was found, as a sentence: a template with the numbers filled in.
        evidence: a table made by `evidence`. (Sentences are still accepted while assays are being rewritten.)
        numbers: further values for machines.
        note: what the value is compared with, in one sentence, where the table does not show it.
    """

    assay: str
    text: str
    evidence: pd.DataFrame | str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class SvgFigure:
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
    """What one assay reports.

    Attributes:
        name: a word for links, file names and `Claim.assay`, such as "axes".
        title: its heading, such as "Body axes".
        claims: the sentences, the most important first.
        live: a frame in which the organism lives, HTML of this package's own making.
        films: shown next.
        figures: in the order of the page.
        lookup: tables for the reader, by their title, folded away.
        tables: every number, by the name of a CSV file.
        method: how it was done, in plain text: statistics, nulls, units and their number. Paragraphs are
            separated by empty lines; a page shows each once.
        skipped: why something was not examined, in complete sentences.
        data: labelled arrays behind it all, by the name of a .nc file.
    """

    name: str
    title: str
    claims: Sequence[Claim] = ()
    live: str = ""
    films: Sequence[Film] = ()
    figures: Sequence[SvgFigure] = ()
    lookup: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    method: str = ""
    skipped: Sequence[str] = ()
    data: Mapping[str, xr.Dataset] = field(default_factory=dict)


def evidence(*rows: Mapping[str, Any]) -> pd.DataFrame:
    """The numbers behind a claim, a row for each quantity.

    Args:
        *rows: values by column of `EVIDENCE`: the quantity and its measure, value with interval (low, high),
            median and range of the null, p, its FDR-corrected q, and n with its unit (runs, networks, ...).

    Returns:
        A table with the columns that are used, in the order of `EVIDENCE`.

    Raises:
        ValueError: a column of another name.
    """
    unknown = {name for row in rows for name in row} - set(EVIDENCE)
    if unknown:
        raise ValueError(f"Evidence has the columns {', '.join(EVIDENCE)}; got {', '.join(sorted(unknown))}.")
    frame = pd.DataFrame(list(rows), columns=list(EVIDENCE))
    return frame.dropna(axis="columns", how="all")


def svg_figure(name: str, figure: Figure, caption: str) -> SvgFigure:
    """A finished matplotlib figure with its caption."""
    return SvgFigure(name, svg(figure, name), caption)


def svg(figure: Figure, name: str) -> str:
    """A figure as SVG: the same bytes for the same figure, ids that no other figure uses."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue().replace(FONT, "system-ui, 'Helvetica Neue', Arial, sans-serif")
