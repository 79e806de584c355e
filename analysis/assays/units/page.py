"""The page of cards: every hidden unit, to be sorted, filtered and compared; one frame that fetches nothing."""

from __future__ import annotations

import base64
import html
import json
from importlib import resources
from string import Template
from typing import Any

import numpy as np

from analysis.assays.units.run import UnitResult
from analysis.report import plots

_HEIGHT = 900  # pixels of the frame
_COLUMNS: tuple[str, ...] = (
    "unit",
    "family",
    "loss",
    "loss_phase",
    "reads",
    "writes",
    "writes_alpha",
    "variance",
    "suppression",
)
_COLUMNS += ("neighbours", "neighbour_correlations")
_FRAMES = {"growing": (1, 3), "adult": (0,), "regenerating": (0, 1, 2)}  # which maps of each phase


def cards_frame(result: UnitResult) -> str:
    """The cards as an `<iframe>`, to stand in a report."""
    inside = html.escape(cards_html(result), quote=True)
    title = html.escape(f"Hidden units of {result.organism.name}", quote=True)
    return (
        f'<iframe title="{title}" loading="lazy" style="width: 100%; height: {_HEIGHT}px; border: 0" '
        f'srcdoc="{inside}"></iframe>'
    )


def cards_html(result: UnitResult) -> str:
    """The cards as a page of their own."""
    asset = resources.files("analysis.assays.units")
    text = json.dumps(_page_data(result), ensure_ascii=True, allow_nan=False)
    return Template((asset / "cards.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(f"Hidden units of {result.organism.name}"),
        data=text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        code=(asset / "cards.js").read_text(encoding="utf-8"),
    )


def _page_data(result: UnitResult) -> dict[str, Any]:
    """What the page draws, as plain JSON values."""
    activity, table = result.activity, result.units
    phase, step = activity.phase.values, activity.step.values
    chosen = []
    for name, among in _FRAMES.items():
        frames = np.flatnonzero(phase == name)
        chosen += [int(frames[n]) for n in among if n < len(frames)]
    body = activity.body.values
    rows, columns = plots.body_window(body[chosen].any(0))
    maps = activity.maps.values[chosen][:, rows, columns].transpose(0, 3, 1, 2)  # (frame, unit, y, x)
    top = maps.max((0, 2, 3), keepdims=True)
    shares = np.divide(maps, top, out=np.zeros_like(maps), where=top > 0).clip(0, 1)
    course_phase = activity.course_phase.values
    phases = list(dict.fromkeys(course_phase.tolist()))
    shown = [*_COLUMNS, *(c for c in table if str(c).startswith("fitness_") and not str(c).endswith(("_low", "_high")))]
    write = result.write.write_mean
    names = [name for name in ("r", "g", "b", "alpha") if name in write.channel]
    written = [write.sel(channel=name).values for name in names]
    size = np.abs(
        np.stack(
            [write.values.T[n] for n, c in enumerate(write.channel.values) if str(c).startswith("h")]
            or [np.zeros(len(table))]
        )
    ).max(0)
    families = [f"{row.family}: {row.name}" for row in result.families.itertuples(index=False)]
    return {
        "size": list(maps.shape[2:]),
        "maps": base64.b64encode((shares * 255).round().astype(np.uint8).tobytes()).decode(),
        "bodies": base64.b64encode(body[chosen][:, rows, columns].astype(np.uint8).tobytes()).decode(),
        "frames": [f"{phase[n]}, step {step[n]}" for n in chosen],
        "first_frame": next((k for k, n in enumerate(chosen) if phase[n] == "adult"), len(chosen) - 1),
        "course": np.round(activity.course.values.T, 4).tolist(),
        "phase_starts": [int((course_phase == p).argmax()) for p in phases],
        "phases": phases,
        "read": np.round(result.read.read.values, 4).tolist(),
        "write": np.round(np.stack([*written, size], 1), 5).tolist(),
        "families": families,
        "units": [{name: _plain(row[name]) for name in shown if name in row} for row in table.to_dict("records")],
    }


def _plain(value: Any) -> Any:
    """A cell of a table as JSON has it, numbers with four digits."""
    if isinstance(value, float | np.floating):
        return round(float(value), 4) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
