"""The report: one page that holds everything, the numbers as JSON and tables, the figures as files."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from analysis import animation, figures, lesions, metrics, plots
from analysis.examination import Examination
from analysis.findings import findings
from analysis.metrics import number
from analysis.regeneration import MARGIN
from analysis.sections import Drawing, Finding
from analysis.summary import summary, tables
from nca.files import write
from nca.versions import versions

FILM_SIDE = 330


def write_report(found: Examination, folder: Path) -> None:
    """Write report.html, summary.json, growth.webp, tables/*.csv and figures/*.svg into a folder."""
    said, drawn = findings(found), figures.draw(found)
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    for name, drawing in drawn.items():
        write(folder / "figures" / f"{name}.svg", drawing.svg)
    for name, frame in tables(found).items():
        write(folder / "tables" / f"{name}.csv", frame.to_csv(index=False, na_rep=metrics.NOT_DEFINED))
    animation.film(film_frames(found), folder / "growth.webp", fps=20)
    write(folder / "summary.json", json.dumps(summary(found, said), indent=1, allow_nan=False) + "\n")
    write(folder / "report.html", page(found, said, drawn, (folder / "growth.webp").read_bytes()))


def film_frames(found: Examination) -> np.ndarray:
    """The first run's growth; beside it, where there are components, the same cells in their colours."""
    spec = found.organism.rule.spec
    (states,) = animation.cropped([found.recording.state.isel(run=0).values])
    scale = min(16, max(1, FILM_SIDE // max(states.shape[1:3])))
    body = animation.render(states, spec, scale=scale, counter=False)
    if not found.components:
        return animation.counted(body)
    components = found.components
    at = components.scores.isel(run=0).sel(step=components.attrs["at"]).values
    mean, directions = np.zeros(spec.channels), np.zeros((3, spec.channels))
    where = [list(found.recording.channel.values).index(c) for c in components.channel.values]
    mean[where] = components["mean"].values
    for k, limit in enumerate(figures.colour_limits(at)):
        directions[k, where] = components.loadings.values[k] / components.scale.values / limit
    colours = animation.ColourAxes(mean, directions)
    hidden = animation.render(states, spec, "pca", scale=scale, counter=False, directions=colours)
    labels = "picture", "PC" + ", ".join(str(k) for k in components.pc.values[: plots.SHOWN])
    return animation.counted(animation.side_by_side(body, hidden, labels))


def page(found: Examination, said: list[Finding], drawn: dict[str, Drawing], film: bytes) -> str:
    """The report as one self-contained page."""
    organism = found.organism
    template = Template((resources.files("analysis") / "page.html").read_text(encoding="utf-8"))
    text = template.substitute(
        title=html.escape(f"{organism.name}: a dissection"),
        heading=html.escape(organism.name),
        portrait=portrait(found),
        facts=facts(found),
        against="the undisturbed run of the same key" if organism.target is None else "the target",
        verdict=verdict(said),
        growth=film_figure(film) + shown(drawn, "growth", "course"),
        axes=outcome(found, "axes", "tests") + shown(drawn, "maps", "development", "null", "spectrum"),
        lesions=outcome(found, "lesions") + shown(drawn, "lesions") + lesion_table(found),
        regeneration=outcome(found, "cuts") + shown(drawn, "cuts", "recovery") + cut_table(found),
        records=records(found),
    )
    return numbered(text)


def numbered(text: str) -> str:
    """Figures counted from 1."""
    parts = text.split("<b>Figure.</b>")
    return parts[0] + "".join(f"<b>Figure {n}.</b>{part}" for n, part in enumerate(parts[1:], 1))


def portrait(found: Examination) -> str:
    """The grown body of the first run, if there is one."""
    spec, state = found.organism.rule.spec, found.recording.state.values[0, -1]
    picture = np.asarray(metrics.picture(spec, state))
    if not (picture[..., 3] > spec.threshold).any():
        return ""
    rows, columns = plots.window(picture[..., 3] > spec.threshold)
    alpha = picture[..., 3:]
    straight = np.concatenate([picture[..., :3] / np.maximum(alpha, 1e-6), alpha], -1)[rows, columns]
    pixels = (straight.clip(0, 1) * 255).round().astype(np.uint8).repeat(4, 0).repeat(4, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return f'<img alt="the grown body" src="data:image/png;base64,{_base64(file.getvalue())}">'


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def facts(found: Examination) -> str:
    """What it is, in one breath."""
    organism = found.organism
    spec, rule = organism.rule.spec, organism.rule
    hidden = " and ".join(str(w.shape[1]) for w in list(rule.weights)[:-1])
    parts = [
        f"{spec.channels} channels, {hidden} hidden units, {rule.parameters:,} parameters",
        f"{spec.perception} perception, fire rate {spec.fire_rate:g}",
        f"canvas {organism.canvas[0]}×{organism.canvas[1]}",
        f"hash {organism.hash}",
    ]
    return html.escape("; ".join(parts))


def verdict(said: Iterable[Finding]) -> str:
    """The findings, topic by topic."""
    topics: dict[str, str] = {}
    for f in said:
        item = f'<li>{together(f.claim)}<span class="evidence">{together(f.evidence)}</span></li>\n'
        topics[f.topic] = topics.get(f.topic, "") + item
    items = "".join(
        f'<div class="topic"><h3>{html.escape(topic.capitalize())}</h3><ul>\n{text}</ul></div>\n'
        for topic, text in topics.items()
    )
    return f"<div>{items}</div>\n"


def together(text: str) -> str:
    """Escaped, with what belongs to a number kept on its line."""
    joints = r"(?<=\w) (?=%|\(\d+\)|cells\b|≥)|(?<=\b[pqLWR]) (?=[\d−])|(?<=≥) "
    return re.sub(joints, "\u00a0", html.escape(text))


def film_figure(film: bytes) -> str:
    """The film, inline."""
    source = f"data:image/webp;base64,{_base64(film)}"
    caption = "Growth of the first run, one frame a step."
    return (
        f'<figure class="film"><img alt="film of growth" src="{source}">'
        f"<figcaption><b>Figure.</b> {caption}</figcaption></figure>\n"
    )


def shown(drawn: dict[str, Drawing], *names: str) -> str:
    """Figures inline, in the page's ink."""
    return "".join(
        f"<figure>{inline(drawn[name])}<figcaption><b>Figure.</b> {html.escape(drawn[name].caption)}"
        "</figcaption></figure>\n"
        for name in names
        if name in drawn
    )


def inline(drawing: Drawing) -> str:
    """An SVG without its prologue, its ids its own, its colours those of the page, light or dark."""
    text = drawing.svg[drawing.svg.index("<svg") :]
    text = re.sub(r' id="image\w+"', "", text)  # equal pictures share one, and nothing refers to it
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{drawing.name}-", text)
    ours = {plots.INK: "currentColor", plots.FAINT: "var(--faint)", plots.BLUE: "var(--blue)"}
    for colour, here in ours.items():
        text = text.replace(colour, here)
    return text


def outcome(found: Examination, *names: str) -> str:
    """Why something is missing."""
    reasons = dict.fromkeys(found.outcomes[n] for n in names if n in found.outcomes)
    return "".join(f'<p class="outcome">{html.escape(reason)}</p>\n' for reason in reasons)


def lesion_table(found: Examination) -> str:
    """Every lesion's numbers, folded away."""
    if not found.sweep:
        return ""
    rows = lesions.table(found.sweep)
    rows = rows[rows.horizon == found.config.horizons[-1]]
    frame = pd.DataFrame(
        {
            "lesion": rows.kind,
            "channel": rows.channel,
            "W": [_with_interval(r, "fitness") for r in rows.itertuples()],
            "rise of L": [_with_interval(r, "worse") for r in rows.itertuples()],
            "cells": rows.mature_cells.map(lambda v: f"{v:.0f}"),
            "touched": rows.cells_touched.map(lambda v: f"{v:.0f}"),
            "overgrew": [_outcome(r, "overgrown") for r in rows.itertuples()],
            "exploded": [_outcome(r, "exploded") for r in rows.itertuples()],
        }
    )
    title = f"All lesions after {found.config.horizons[-1]} steps, beside their nulls"
    return f"<details><summary>{title}</summary>{table(frame)}</details>\n"


def _with_interval(row: Any, name: str) -> str:
    middle, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
    return f"{number(middle)} ({number(low)} to {number(high)})" if np.isfinite(middle) else number(middle)


def _outcome(row: Any, what: str) -> str:
    runs = getattr(row, f"{what}_runs")
    return f"{runs} of {row.runs}, step {getattr(row, f'{what}_step'):.0f}" if runs else "never"


def cut_table(found: Examination) -> str:
    """Every cut and every key."""
    wounds = found.wounds
    if not wounds:
        return ""
    rows = []
    for name in wounds.wound.values:
        one = wounds.sel(wound=name)
        keys = [number(v) for v in one.recovered.values]
        middle = number(metrics.median_interval(one.recovered.values)[0])
        if name == MARGIN:
            middle, keys = f"largest change {float(one.changed.max()):g}", [""] * len(keys)
        rows.append({"cut": name, "median": middle} | {f"key {k}": v for k, v in enumerate(keys)})
    return f"<h3>Recovered, by key</h3>{table(pd.DataFrame(rows))}\n"


def table(frame: pd.DataFrame) -> str:
    """A table of words and numbers."""
    return f'<div class="scroll">{frame.to_html(index=False, border=0, escape=True)}</div>'


def records(found: Examination) -> str:
    """Settings, conventions, provenance, as they are."""
    organism = found.organism
    known = {
        "settings": found.config.to_json(),
        "conventions": organism.rule.spec.to_json(),
        "provenance": dict(organism.provenance),
        "metrics": dict(organism.metrics),
        "versions": versions(),
    }
    return "".join(
        f"<details><summary>{title.capitalize()}</summary>{words(values)}</details>\n"
        for title, values in known.items()
    )


def words(values: dict[str, Any]) -> str:
    """Names and values, as a table."""
    texts = {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in values.items()}
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in texts.items())
    return f'<table class="words">{rows}</table>' if rows else "<p>None recorded.</p>"
