"""Labels of a finished figure that do not overprint, however many names it shows and however long they are."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

_SMALLEST = 5.5  # points of a label
_LONGEST = 0.3  # share of the figure that labels beside an axis may take
_PASSES = 4  # what is fitted changes the layout, and so what else fits


def shorten(text: str, most: int) -> str:
    """A text of at most `most` characters: beginning and end, since names often differ there."""
    if len(text) <= most:
        return text
    most = max(most, 4)
    return f"{text[: most // 2].rstrip()}…{text[len(text) - (most - most // 2 - 1) :].lstrip()}"


def add_legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str], most: int = 5) -> None:
    """A legend below a figure in up to `most` columns, as many as fit; the figure grows by its further rows."""
    size = float(mpl.rcParams["legend.fontsize"])
    names = [shorten(label, 48) for label in labels]
    # Wide characters, such as emoji and Chinese, take twice the room; a column has a line and gaps besides.
    widths = [size * (0.58 * sum(1 + (ord(c) > 0x2E80) for c in name) + 5) for name in names]
    columns = max(1, min(most, len(names)))
    while columns > 1 and sum(map(max, np.array_split(widths, columns))) > 72 * figure.get_figwidth():
        columns -= 1
    figure.legend(handles, names, loc="outside lower center", ncols=columns)
    rows = -(-len(names) // columns)
    figure.set_figheight(figure.get_figheight() + (rows - 1) * 1.45 * size / 72)


@contextmanager
def fitted_labels(figure: Figure) -> Iterator[None]:
    """A figure to be saved: its tick labels, titles and axis labels are made to fit.

    Tick labels that overlap become smaller, names below an axis are turned, and then only every second, third, ... is
    shown. Titles and axis labels that run into each other become smaller, and then shorter.
    Characters that matplotlib's font lacks, such as emoji, raise no warning: a browser has them.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        for _ in range(_PASSES):
            figure.draw_without_rendering()
            shown = [ax for ax in figure.axes if ax.get_visible() and ax.axison]
            changed = [_fit_ticks(ax, name) for ax in shown for name in "xy"]
            changed += [_fit_texts([ax.title for ax in shown], shown, "width")]
            changed += [_fit_texts([ax.yaxis.label for ax in shown], shown, "height")]
            changed += [_fit_texts([ax.xaxis.label for ax in shown], shown, "width")]
            if not any(changed):
                break
        yield


def _fit_ticks(ax: Axes, name: str) -> bool:
    """Make the tick labels of an axis fit; returns whether anything was changed."""
    axis, is_x = getattr(ax, f"{name}axis"), name == "x"
    low, high = sorted(axis.get_view_interval())
    margin = 1e-9 * (high - low)
    ticks = [
        (at, label)
        for at, label in zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
        if low - margin <= at <= high + margin and label.get_visible() and label.get_text()
    ]
    if not axis.get_visible() or not ticks:
        return False
    labels = [label for _, label in ticks]
    texts, size, turned = [t.get_text() for t in labels], labels[0].get_fontsize(), labels[0].get_rotation() % 180
    room = _room(labels, is_x, turned)
    boxes = [label.get_window_extent() for label in labels]
    across = max((box.height if is_x else box.width) for box in boxes)
    most = _LONGEST * (ax.figure.bbox.height if is_x else ax.figure.bbox.width)
    if across > most and (turned or not is_x):
        length = max(len(line) for text in texts for line in text.split("\n"))
        texts = ["\n".join(shorten(line, int(length * most / across)) for line in t.split("\n")) for t in texts]
        if texts == [t.get_text() for t in labels]:
            return False
    elif room >= 1:
        return False
    looks: dict[str, Any] = {"fontsize": size}
    if room < 1:
        looks["fontsize"] = max(min(size, _SMALLEST), 0.97 * size * room)
        short = looks["fontsize"] / (0.97 * size * room)  # by how much the smallest labels are still too large
        are_names = any(sum(map(str.isalpha, text)) > 2 for text in texts)
        if is_x and are_names and not turned and room < 0.8:
            looks, short = {"fontsize": size, "rotation": 60, "ha": "right", "rotation_mode": "anchor"}, 1.0
        every = math.ceil(short - 1e-3)
        texts = [text if n % every == 0 else "" for n, text in enumerate(texts)]
    if turned:
        looks |= {"rotation": labels[0].get_rotation(), "ha": labels[0].get_ha(), "rotation_mode": "anchor"}
    limits = axis.get_view_interval().copy()
    axis.set_ticks([at for at, _ in ticks], texts, **looks)
    axis.set_view_interval(*limits, ignore=True)
    return True


def _room(labels: Sequence[Text], is_x: bool, turned: float) -> float:
    """The smallest distance of two neighbouring labels, over what they need; at least 1 where they fit."""
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0 if is_x else box.y0)
    thickness = 1.25 * labels[0].get_fontsize() * labels[0].figure.dpi / 72
    room = math.inf
    for one, other in pairwise(boxes):
        if is_x and turned:
            room = min(room, (other.x1 - one.x1) * math.sin(math.radians(turned)) / thickness)
        elif is_x:
            room = min(room, ((other.x0 + other.x1) - (one.x0 + one.x1)) / (one.width + other.width + thickness / 2))
        else:
            room = min(room, ((other.y0 + other.y1) - (one.y0 + one.y1)) / (one.height + other.height))
    return room


def _fit_texts(texts: Sequence[Text], axes: Sequence[Axes], side: str) -> bool:
    """Make titles or labels that overlap another one smaller, or shorter where they are smallest."""
    boxes = [text.get_window_extent() if text.get_text() and text.get_visible() else None for text in texts]
    changed = False
    for n, (text, box, ax) in enumerate(zip(texts, boxes, axes, strict=True)):
        crowded = box is not None and any(o is not None and m != n and box.overlaps(o) for m, o in enumerate(boxes))
        have = getattr(ax.bbox, side)
        if box is None or not crowded or getattr(box, side) <= have:
            continue
        share = have / getattr(box, side)
        size = max(min(text.get_fontsize(), _SMALLEST), 0.97 * share * text.get_fontsize())
        share *= text.get_fontsize() / size
        lines = text.get_text().split("\n")
        length = max(map(len, lines))
        short = "\n".join(shorten(line, int(share * length)) if share < 1 else line for line in lines)
        changed |= short != text.get_text() or size < text.get_fontsize() - 1e-6
        text.set(text=short, fontsize=size)
    return changed
