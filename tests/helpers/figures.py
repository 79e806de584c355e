"""Whether the labels of a figure can be read: names as users give them, and which labels overprint."""

import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np

NAMES = [f"{'🦎' if n % 3 == 0 else 'planarian'}-regenerating-after-a-long-training-{n}" for n in range(24)]


def renamed(result, names=NAMES):
    """Results of organisms that differ in their name alone."""
    return [replace(result, organism=result.organism.rename(name)) for name in names]


def _corners(label):
    """The corners of a text as it is drawn, turned, (4, 2), and the directions of its sides, (2, 2)."""
    angle = np.radians(label.get_rotation())
    sides = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    box, turned = label.get_window_extent(), label.get_rotation()
    label.set_rotation(0)
    flat = label.get_window_extent()
    label.set_rotation(turned)
    middle = np.array([box.x0 + box.x1, box.y0 + box.y1]) / 2
    half = np.array([flat.width, flat.height]) / 2
    return middle + np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) * half @ sides, sides


def _overlap(one, other):
    """Whether two turned rectangles overlap: they do unless a side of one of them separates them."""
    (a, sides), (b, more) = _corners(one), _corners(other)
    for side in np.concatenate([sides, more]):
        if (a @ side).max() <= (b @ side).min() + 0.5 or (b @ side).max() <= (a @ side).min() + 0.5:
            return False
    return True


def overprinted(figure):
    """Pairs of neighbouring tick labels, and of titles, that overprint each other; and texts that are cut off. No emoji
    raises a warning here."""
    with warnings.catch_warnings(action="ignore"):
        return _overprinted(figure)


def _is_cut(text):
    """Whether a text leaves the figure."""
    box, whole = text.get_window_extent(), text.figure.bbox
    inside = whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1
    return bool(text.get_text()) and text.get_visible() and not inside


def _overprinted(figure):
    figure.draw_without_rendering()
    shown = [ax for ax in figure.axes if ax.get_visible() and ax.axison]
    rows = [[ax.title for ax in shown]]
    rows += [axis.get_majorticklabels() for ax in shown for axis in (ax.xaxis, ax.yaxis)]
    found = [
        (t.get_text(), "cut off") for ax in shown for t in (ax.title, ax.xaxis.label, ax.yaxis.label) if _is_cut(t)
    ]
    for row in rows:
        texts = [text for text in row if text.get_visible() and text.get_text()]
        found += [(a.get_text(), b.get_text()) for a, b in pairwise(texts) if _overlap(a, b)]
    return found
