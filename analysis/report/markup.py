"""Pieces of a page: finished things as HTML, everything escaped."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from analysis.report import plots
from analysis.report.model import Film, Section, SvgFigure

BODY = 0.1  # alpha above which a portrait shows a cell


def portrait(picture: np.ndarray | None) -> str:
    """A grown body, premultiplied RGBA (y, x, 4), if there is one."""
    if picture is None or not (picture[..., 3] > BODY).any():
        return ""
    rows, columns = plots.window(picture[..., 3] > BODY)
    alpha = picture[..., 3:]
    straight = np.concatenate([picture[..., :3] / np.maximum(alpha, 1e-6), alpha], -1)[rows, columns]
    pixels = (straight.clip(0, 1) * 255).round().astype(np.uint8).repeat(4, 0).repeat(4, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return f'<img alt="the grown body" src="data:image/png;base64,{_base64(file.getvalue())}">'


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def verdict(sections: Sequence[Section]) -> str:
    """The findings, section by section."""
    items = ""
    for section in sections:
        if section.claims:
            said = "".join(
                f'<li>{together(f.text)}<span class="evidence">{together(f.evidence)}</span></li>\n'
                for f in section.claims
            )
            items += f'<div class="topic"><h3>{html.escape(section.title)}</h3><ul>\n{said}</ul></div>\n'
    return f"<div>{items}</div>\n"


def together(text: str) -> str:
    """Escaped, with what belongs to a number kept on its line."""
    joints = r"(?<=\w) (?=%|\(\d+\)|cells\b|≥)|(?<=\b[pqLWR]) (?=[\d−])|(?<=≥) "
    return re.sub(joints, "\u00a0", html.escape(re.sub(r"(?<=\d)%", " %", text)))


def film(shown: Film) -> str:
    """A film, inline."""
    source = f"data:image/webp;base64,{_base64(shown.webp)}"
    return (
        f'<figure class="film"><img alt="{html.escape(shown.name)}, a film" src="{source}">'
        f"<figcaption><b>Figure.</b> {together(shown.caption)}</figcaption></figure>\n"
    )


def figure(drawing: SvgFigure) -> str:
    """A figure inline, in the page's ink."""
    return f"<figure>{inline(drawing)}<figcaption><b>Figure.</b> {together(drawing.caption)}</figcaption></figure>\n"


def inline(drawing: SvgFigure) -> str:
    """An SVG without its prologue, its ids its own, its colours those of the page, light or dark."""
    text = drawing.svg[drawing.svg.index("<svg") :]
    text = re.sub(r' id="image\w+"', "", text)  # equal pictures share one, and nothing refers to it
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{drawing.name}-", text)
    ours = {plots.INK: "currentColor", plots.FAINT: "var(--faint)", plots.BLUE: "var(--blue)"}
    for colour, here in ours.items():
        text = text.replace(colour, here)
    return text


def folded(title: str, text: str) -> str:
    """Something that opens when it is asked for."""
    return f"<details><summary>{html.escape(title)}</summary>{text}</details>\n"


def table(frame: pd.DataFrame) -> str:
    """A table of words and numbers."""
    return f'<div class="scroll">{frame.to_html(index=False, border=0, escape=True)}</div>'


def words(values: Mapping[str, Any]) -> str:
    """Names and values, as a table."""
    texts = {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in values.items()}
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in texts.items())
    return f'<table class="words">{rows}</table>' if rows else "<p>None recorded.</p>"
