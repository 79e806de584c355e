"""What an assay reports: claims with their evidence, figures, films and tables under one heading."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from analysis.report.labels import fitted_labels
from nca.organism import Organism

EVIDENCE: tuple[str, ...] = ("quantity", "measure", "value", "low", "high", "null_median", "null_low", "null_high")
EVIDENCE += ("p", "q", "n", "unit")
_MAX_SURPRISE = 10.0  # beyond this, how far a value lies from its null means nothing
Verdict = Literal["clear", "unclear", "cannot tell"]


@dataclass(frozen=True)
class Answer:
    """A claim as a reader would repeat it: one sentence with one number, and the picture that shows it.

    Attributes:
        text: the sentence.
        verdict: clear: it differs from its null or control, or an effect of stated size would have been found;
            unclear: runs or parts disagree; cannot tell: too few runs or surrogates, or no body to ask it of.
        figure: the name of a figure of its section, without the section's prefix.
        surprise: how far the value lies from the median of its null, in half-widths of the null's interval, 0 to
            10; 0 where it is not clear or has no null. Pages open with the most surprising answers.
    """

    text: str
    verdict: Verdict = "clear"
    figure: str = ""
    surprise: float = 0.0


@dataclass(frozen=True)
class Claim:
    """One sentence, and the numbers that it rests on.

    Attributes:
        assay: the name of the section that it belongs to: growth, axes, lesions, regeneration ...
        text: what was found, as a sentence: a template with the numbers filled in.
        evidence: the numbers behind it, a table made by `evidence`.
        numbers: further values for machines.
        note: what the value is compared with, in one sentence, where the table does not show it.
        answer: the claim as the answer to its assay's question, of the claims that a page may open with.
    """

    assay: str
    text: str
    evidence: pd.DataFrame = field(default_factory=pd.DataFrame)
    numbers: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    answer: Answer | None = None


@dataclass(frozen=True)
class SvgFigure:
    """A figure as SVG text and as it was drawn, with its caption (plain text)."""

    name: str
    svg: str
    caption: str
    figure: Figure = field(repr=False, compare=False)


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
        question: what its assay asks, where a page lists the questions.
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
    question: str = ""

    def _repr_html_(self) -> str:
        from analysis.report.html import cell_html

        return cell_html([self])


@dataclass(frozen=True)
class Report:
    """Everything that one page shows.

    Attributes:
        command: the command that made it, such as "nca axes".
        organisms: the organisms that were examined.
        sections: what was found, a section for each assay.
        config: the options, as plain JSON values.
        portrait: a grown body, premultiplied RGBA (y, x, 4).
        seconds: how long the computation took.
        caveat: a paragraph under the findings, plain text.
        title: the heading of the page; the names of the organisms if empty.
        warnings: what limits every finding, in sentences, at the top of the page.
    """

    command: str
    organisms: Sequence[Organism]
    sections: Sequence[Section]
    config: Mapping[str, Any] = field(default_factory=dict)
    portrait: np.ndarray | None = None
    seconds: float = 0.0
    caveat: str = ""
    title: str = ""
    warnings: Sequence[str] = ()

    def save(self, folder: str | Path, *, data: bool = False) -> Path:
        """Write the report into a folder; see `analysis.report.folder.write_report`."""
        from analysis.report.folder import write_report

        return write_report(self, folder, data=data)

    def _repr_html_(self) -> str:
        from analysis.report.html import cell_html

        return cell_html(self.sections)


def evidence(*rows: Mapping[str, Any], null_interval: str = "range") -> pd.DataFrame:
    """The numbers behind a claim, a row for each quantity.

    Args:
        *rows: values by column of `EVIDENCE`: the quantity and its measure, value with interval (low, high),
            median and interval of the null, p, its FDR-corrected q, and n with its unit (runs, networks, ...).
        null_interval: what null_low and null_high are the ends of, such as "range" or "5 to 95 %".

    Returns:
        A table with the columns that are used, in the order of `EVIDENCE`, and the attribute null_interval.

    Raises:
        ValueError: a column of another name.
    """
    unknown = {name for row in rows for name in row} - set(EVIDENCE)
    if unknown:
        raise ValueError(f"Evidence has the columns {', '.join(EVIDENCE)}; got {', '.join(sorted(unknown))}.")
    frame = pd.DataFrame(list(rows), columns=list(EVIDENCE)).dropna(axis="columns", how="all")
    frame.attrs["null_interval"] = null_interval
    return frame


def surprise(row: Mapping[str, Any]) -> float:
    """How far the value of a row of evidence lies from its null, as `Answer` has it; 0 where it has no null."""
    value, middle, low, high = (row.get(name, np.nan) for name in ("value", "null_median", "null_low", "null_high"))
    if not np.isfinite([value, middle, low, high]).all() or value == middle:
        return 0.0
    half = (high - low) / 2
    return _MAX_SURPRISE if half <= 0 else float(min(abs(value - middle) / half, _MAX_SURPRISE))


def svg_figure(name: str, figure: Figure, caption: str) -> SvgFigure:
    """A finished matplotlib figure as SVG, with its caption.

    The same figure gives the same bytes, and its ids occur in no figure of another name. Text is set in the
    reader's own sans-serif font.
    """
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}), fitted_labels(figure):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue().replace("'DejaVu Sans'", "system-ui, 'Helvetica Neue', Arial, sans-serif")
    return SvgFigure(name, svg, caption, figure)
