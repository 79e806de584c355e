"""Labels of a finished figure that do not overprint, however many names it shows and however long they are."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
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
    size = FontProperties(size=mpl.rcParams["legend.fontsize"]).get_size_in_points()
    names = [shorten(label, 36) for label in labels]
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
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)  # yet
                figure.draw_without_rendering()
            if not _fit_all([ax for ax in figure.axes if ax.get_visible() and ax.axison]):
                figure.set_layout_engine("none")  # it is laid out: a large figure takes seconds for that
                break
        yield


def _fit_all(shown: Sequence[Axes]) -> bool:
    """Make all labels of these axes fit as far as they can in this layout; returns whether anything was changed."""
    changed = [_fit_ticks(ax, name) for ax in shown for name in "xy"]
    changed.append(_fit_texts([ax.title for ax in shown], shown, "width"))
    changed.append(_fit_texts([ax.yaxis.label for ax in shown], shown, "height"))
    changed.append(_fit_texts([ax.xaxis.label for ax in shown], shown, "width"))
    return any(changed)


def _fit_ticks(ax: Axes, name: str) -> bool:
    """Make the tick labels of an axis fit; returns whether anything was changed."""
    axis, is_x = getattr(ax, f"{name}axis"), name == "x"
    low, high = sorted(axis.get_view_interval())
    margin = 1e-9 * (high - low)
    ticks = [
        (tick.get_loc(), label)
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if low - margin <= tick.get_loc() <= high + margin and label.get_visible() and label.get_text()
    ]
    if not axis.get_visible() or not ticks:
        return False
    labels = [label for _, label in ticks]
    texts, size = [label.get_text() for label in labels], float(labels[0].get_fontsize())
    turned = labels[0].get_rotation() % 180
    at, needs = _places(labels, is_x, turned)
    order = np.argsort(at, kind="stable")
    room = min(np.diff(at[order]) / (needs[order][1:] + needs[order][:-1]) * 2, default=math.inf)
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
        are_names = any(sum(map(str.isalpha, text)) > 2 for text in texts)
        if is_x and are_names and not turned and room < 0.8:
            looks |= {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
            texts = [shorten(text, int(most / (0.5 * size * ax.figure.dpi / 72))) for text in texts]
        else:
            looks["fontsize"] = smaller = max(min(size, _SMALLEST), 0.97 * size * room)
            kept = _kept(at, needs * smaller / size)
            texts = [text if n in kept else "" for n, text in enumerate(texts)]
    if turned:
        looks |= {"rotation": labels[0].get_rotation(), "ha": labels[0].get_ha(), "rotation_mode": "anchor"}
    axis.set_ticks([place for place, _ in ticks], texts, **looks)
    return True


def _places(labels: Sequence[Text], is_x: bool, turned: float) -> tuple[np.ndarray, np.ndarray]:
    """Where labels are along their axis, and the room that each needs there, in pixels."""
    boxes = [label.get_window_extent() for label in labels]
    thickness = 1.25 * float(labels[0].get_fontsize()) * labels[0].figure.dpi / 72
    if is_x and turned:
        needs = [thickness / math.sin(math.radians(turned))] * len(boxes)
        return np.array([box.x1 for box in boxes]), np.array(needs)
    ends = [(box.x0, box.x1) if is_x else (box.y0, box.y1) for box in boxes]
    gap = thickness / 4 if is_x else 0
    return np.mean(ends, 1), np.diff(ends)[:, 0] + gap


def _kept(at: np.ndarray, needs: np.ndarray) -> set[int]:
    """Which labels fit, from the first on: each that does not overlap the one kept before."""
    kept: list[int] = []
    for n in np.argsort(at, kind="stable").tolist():
        if not kept or at[n] - at[kept[-1]] >= (needs[n] + needs[kept[-1]]) / 2:
            kept.append(n)
    return set(kept)


def _fit_texts(texts: Sequence[Text], axes: Sequence[Axes], side: str) -> bool:
    """Make titles or labels that overlap another one, or are cut off, smaller, or shorter where they are smallest."""
    boxes = [text.get_window_extent() if text.get_text() and text.get_visible() else None for text in texts]
    changed = False
    for n, (text, box, ax) in enumerate(zip(texts, boxes, axes, strict=True)):
        have = getattr(ax.bbox, side)
        if box is None or getattr(box, side) <= have:
            continue
        whole = ax.figure.bbox
        inside = whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1
        if inside and not any(o is not None and m != n and box.overlaps(o) for m, o in enumerate(boxes)):
            continue
        share = have / getattr(box, side)
        before = float(text.get_fontsize())
        size = max(min(before, _SMALLEST), 0.97 * share * before)
        share *= before / size
        lines = text.get_text().split("\n")
        length = max(map(len, lines))
        short = "\n".join(shorten(line, int(share * length)) if share < 1 else line for line in lines)
        changed |= short != text.get_text() or size < before - 1e-6
        text.set(text=short, fontsize=size)
    return changed
