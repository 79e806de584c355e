"""Reports as HTML: one self-contained page, and the shorter form that a notebook shows."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from analysis.report import plots
from analysis.report.format import NOT_DEFINED, number, probability, scientific
from analysis.report.model import EVIDENCE, Answer, Claim, Report, Section, SvgFigure
from nca.organism import Organism
from nca.versions import versions

VISIBLE = 0.1  # alpha above which a portrait shows a cell
OPENING = 3  # answers that a page opens with
LISTED = 4  # organisms whose facts a page lists; more only have their names in summary.json


def page_html(report: Report) -> str:
    """The report as one page that fetches nothing."""
    listed = [] if report.title else list(report.organisms)[:LISTED]
    names = report.title or ", ".join(organism.name for organism in report.organisms)
    films = [f"{film.name}.webp" for section in report.sections for film in section.films]
    page = _environment().get_template("page.html")
    return page.render(
        report=report,
        title=f"{names}: {report.command.removeprefix('nca ')}",
        heading=names,
        portrait=None if report.portrait is None else _portrait(report.portrait),
        facts=[_facts(organism, with_name=len(report.organisms) > 1) for organism in listed],
        opening=_opening(report.sections),
        questions=[(section.question, *_short_answer(section)) for section in report.sections if section.question],
        # Besides its claims, which stand above.
        shown=[s for s in report.sections if s.live or s.films or s.figures or s.lookup or s.skipped],
        methods=_methods(report.sections),
        details=_details(report, listed),
        files=["summary.json", "tables/*.csv", "figures/*.svg", *films],
    )


def _opening(sections: Sequence[Section]) -> list[tuple[Answer, Section, SvgFigure | None]]:
    """The most surprising clear answers, at most one of a section, each with its figure."""
    best = []
    for section in sections:
        answers = [claim.answer for claim in section.claims if claim.answer and claim.answer.verdict == "clear"]
        if answers:
            best.append((max(answers, key=lambda answer: answer.surprise), section))
    best.sort(key=lambda pair: -pair[0].surprise)
    return [(answer, section, _figure_of(answer, section)) for answer, section in best[:OPENING]]


def _figure_of(answer: Answer, section: Section) -> SvgFigure | None:
    """The figure that an answer names, under the section's prefix or without one."""
    named = [f for f in section.figures if answer.figure and f"-{f.name}".endswith(f"-{answer.figure}")]
    return replace(named[0], name=f"opening-{named[0].name}") if named else None


def _short_answer(section: Section) -> tuple[str, str]:
    """The verdict on a section's question, and the answer: its first one, or why there is none."""
    for claim in section.claims:
        if claim.answer:
            return claim.answer.verdict, claim.answer.text
    return ("", section.claims[0].text) if section.claims else ("cannot tell", " ".join(section.skipped))


def cell_html(sections: Sequence[Section]) -> str:
    """Sections as a notebook cell shows them: claims, figures and tables on white, for any theme."""
    return _environment().get_template("cell.html").render(sections=sections)


@cache
def _environment() -> Environment:
    loader = PackageLoader("analysis.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "nobreak": _nobreak,
        "base64": lambda data: base64.b64encode(data).decode(),
        "inline": _inline,
        "table": _table,
        "evidence": _evidence,
        "json_value": lambda value: value if isinstance(value, str) else json.dumps(value, default=str),
    }
    return environment


def _nobreak(text: str) -> str:
    """The text with no-break spaces between a number and what belongs to it."""
    joints = r"(?<=\w) (?=%|\(\d+\)|cells\b|≥)|(?<=\b[pqnLWR]) (?=[=\d−])|(?<=\b[pqnLWR] =) (?=[\d−])|(?<=≥) "
    return re.sub(joints, "\u00a0", re.sub(r"(?<=\d)%", " %", text))


def _portrait(picture: np.ndarray) -> bytes | None:
    """A body, premultiplied RGBA (y, x, 4), as a PNG of its surroundings; None where no cell is visible."""
    visible = picture[..., 3] > VISIBLE
    if not visible.any():
        return None
    rows, columns = plots.body_window(visible)
    alpha = picture[..., 3:]
    straight = np.concatenate([picture[..., :3] / np.maximum(alpha, 1e-6), alpha], -1)[rows, columns]
    pixels = (straight.clip(0, 1) * 255).round().astype(np.uint8).repeat(4, 0).repeat(4, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def _facts(organism: Organism, with_name: bool) -> str:
    """An organism in one line."""
    spec, rule = organism.rule.spec, organism.rule
    hidden = " and ".join(str(w.shape[1]) for w in list(rule.weights)[:-1])
    parts = [
        f"{spec.channels} channels, {hidden} hidden units, {rule.parameters:,} parameters",
        f"{spec.perception} perception, fire rate {spec.fire_rate:g}",
        f"canvas {organism.canvas[0]}×{organism.canvas[1]}",
        f"hash {organism.hash}",
    ]
    return "; ".join([organism.name, *parts] if with_name else parts)


def _methods(sections: Sequence[Section]) -> dict[str, list[str]]:
    """Paragraphs on method by heading, each once; sections that share a text stand under what precedes their colon."""
    seen: set[str] = set()
    methods: dict[str, list[str]] = {}
    for section in sections:
        paragraphs = [text for text in section.method.split("\n\n") if text.strip() and text not in seen]
        if paragraphs:
            shared = sum(other.method == section.method for other in sections) > 1
            methods[section.title.partition(":")[0] if shared else section.title] = paragraphs
            seen.update(paragraphs)
    return methods


def _details(report: Report, listed: Sequence[Organism]) -> dict[str, Mapping[str, Any]]:
    """Settings, conventions, provenance, metrics and versions, by the title of their folded table."""
    details: dict[str, Mapping[str, Any]] = {"Settings": report.config}
    for organism in listed:
        suffix = f" of {organism.name}" if len(report.organisms) > 1 else ""
        details[f"Conventions{suffix}"] = organism.rule.spec.to_json()
        details[f"Provenance{suffix}"] = dict(organism.provenance)
        details[f"Metrics{suffix}"] = dict(organism.metrics)
    return details | {"Versions": versions()}


def _inline(figure: SvgFigure) -> Markup:
    """An SVG for the middle of a page: no prologue, ids of its own, the page's colours, light or dark."""
    text = figure.svg[figure.svg.index("<svg") :]
    text = re.sub(r' id="image\w+"', "", text)  # equal pictures share one, and nothing refers to it
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{figure.name}-", text)
    for colour, css in {plots.INK: "currentColor", plots.FAINT: "var(--faint)", plots.BLUE: "var(--blue)"}.items():
        text = text.replace(colour, css)
    return Markup(text)


def _table(frame: pd.DataFrame) -> dict[str, Any]:
    """A table's heading and cells as text, and which columns hold numbers."""
    cells = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    columns = list(zip(*cells, strict=True)) or [()] * len(frame.columns)
    is_number = re.compile(rf"[−-]?[\d∞].*|{NOT_DEFINED}|")
    return {
        "head": list(zip(map(str, frame.columns), [all(map(is_number.fullmatch, c)) for c in columns], strict=True)),
        "rows": cells,
    }


def _evidence(claim: Claim) -> pd.DataFrame:
    """The evidence of a claim as a reader sees it: intervals stand in brackets after their value."""
    null = f"null median ({claim.evidence.attrs['null_interval']})" if "null_low" in claim.evidence else "null median"
    rows = claim.evidence.reindex(columns=list(EVIDENCE))
    shown = {
        "quantity": rows.quantity.map(_plain_label),
        "measure": rows.measure.map(_plain_label),
        "value (interval)": [*map(_interval, rows.value, rows.low, rows.high)],
        null: [*map(_interval, rows.null_median, rows.null_low, rows.null_high)],
        "p": ["" if pd.isna(p) else probability(p) for p in rows.p],
        "q": ["" if pd.isna(q) else probability(q) for q in rows.q],
        "n": [*map(_count, rows.n, rows.unit)],
    }
    return pd.DataFrame({name: column for name, column in shown.items() if any(column)})


def _count(n: Any, unit: Any) -> str:
    return "" if pd.isna(n) else f"{n:g} {'' if pd.isna(unit) else unit}".strip()


def _plain_label(name: Any) -> str:
    """The name of a quantity or measure for a reader: "plane_r2" as "plane R²"."""
    return "" if pd.isna(name) else re.sub(r"\br2\b", "R²", str(name).replace("_", " "))


def _interval(value: Any, low: Any, high: Any) -> str:
    """A value with its interval, such as "0.35 (0.20 to 0.51)"."""
    middle = "" if pd.isna(value) else _cell(value)
    return middle if pd.isna(low) or pd.isna(high) else f"{middle} ({_cell(low)} to {_cell(high)})".strip()


def _cell(value: Any) -> str:
    """A value of a table as text: three significant digits, whole numbers as they are."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, (int, float, np.integer, np.floating)):
        return str(value)
    size = abs(float(value))
    if isinstance(value, (int, np.integer)) or (size >= 2 and float(value).is_integer()):
        return str(int(value)).replace("-", "−")
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return scientific(float(value), 3) if 0 < size < 0.001 else number(float(value), digits)
