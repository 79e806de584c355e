"""Drawings: each takes finished values and an `ax`, and computes nothing but where to draw.

Colours are told apart by every kind of colour vision (Okabe & Ito 2008); maps of signed values run
from blue to orange through a pale middle. Ink is one colour, which a page may replace by its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import scipy.ndimage
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.report.labels import add_legend

INK, MUTED, FAINT = "#1f2328", "#8a9099", "#c9ced6"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#aa4499"
DIVERGING = LinearSegmentedColormap.from_list(
    "signed", ["#08306b", "#2171b5", "#85bcdb", "#f2efe9", "#f4b183", "#d55e00", "#7f2704"]
)
_SHADES = ["#efe9dc", "#9ecae1", "#2171b5", "#08306b"]
RECOVERED: dict[str, Any] = {  # how shares of a body that came back are drawn
    "cmap": LinearSegmentedColormap.from_list("recovered", _SHADES).with_extremes(under=ORANGE),
    "vmin": 0,
    "vmax": 1,
}
ORGANISM_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#e69f00", "#56b4e9", INK, MUTED)  # of the first, the second, ...
STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "svg.fonttype": "none",
    "image.interpolation": "none",
    "figure.constrained_layout.use": True,
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8.5),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor", "savefig.facecolor"), "none"),
}
SHOWN_COMPONENTS = 3  # components that maps and colours show
WIDTH = 7.2  # inches: two columns of a journal
TALLEST = 9.0  # inches: a page of it, less the caption


@contextmanager
def style() -> Iterator[None]:
    """The style of this package's figures, inside a `with`; nothing global changes."""
    with mpl.rc_context(STYLE):
        yield


def new_figure(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, np.ndarray]:
    """A figure as wide as a page, with its axes, always as (row, column); no window shows it."""
    empty = Figure(figsize=(WIDTH, height))
    return empty, empty.subplots(rows, columns, squeeze=False, **options)


def body_window(mask: np.ndarray, margin: int = 2) -> tuple[slice, slice]:
    """Rows and columns that hold a body, with a margin; the whole canvas where there is none."""
    box = (scipy.ndimage.find_objects(mask.astype(np.uint8)) or [tuple(map(slice, (0, 0), mask.shape))])[0]
    rows, columns = (
        slice(max(0, span.start - margin), min(size, span.stop + margin))
        for span, size in zip(box, mask.shape, strict=True)
    )
    return rows, columns


def hide_frame(ax: Axes) -> None:
    """No frame, no ticks."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def draw_body(ax: Axes, premultiplied: np.ndarray, title: str = "") -> None:
    """A body's picture (y, x, rgba), on no background."""
    alpha = premultiplied[..., 3:]
    straight = np.where(alpha > 0, premultiplied[..., :3] / np.maximum(alpha, 1e-6), 0)
    ax.imshow(np.concatenate([straight, alpha], -1).clip(0, 1))
    hide_frame(ax)
    ax.set_title(title)


def plot_bodies(pictures: Sequence[np.ndarray], titles: Sequence[str]) -> Figure:
    """Bodies (y, x, rgba) side by side, cropped to where any of them is."""
    rows, columns = body_window(np.any([p[..., 3] > 0.1 for p in pictures], axis=0))
    tall = (rows.stop - rows.start) / (columns.stop - columns.start)
    drawing, axes = new_figure(1, len(pictures), 0.3 + tall * WIDTH / (len(pictures) + 0.3))
    for ax, picture, title in zip(axes[0], pictures, titles, strict=True):
        draw_body(ax, picture[rows, columns], title)
    return drawing


def draw_outline(ax: Axes, mask: np.ndarray) -> None:
    """A thin line along the cells' edges around a body (y, x)."""
    padded = np.pad(mask, 1)
    # Of neighbours in a column (y - 1 and y of the mask), then of neighbours in a row, those that differ.
    edges = [((x - 1.5, y - 0.5), (x - 0.5, y - 0.5)) for y, x in np.argwhere(padded[1:] != padded[:-1])]
    edges += [((x - 0.5, y - 1.5), (x - 0.5, y - 0.5)) for y, x in np.argwhere(padded[:, 1:] != padded[:, :-1])]
    ax.add_collection(LineCollection(edges, colors=MUTED, linewidths=0.5, capstyle="round"))


def organism_legend(figure: Figure, names: Sequence[str]) -> None:
    """A legend of several organisms below a figure; one needs none."""
    if len(names) > 1:
        colours = (ORGANISM_COLOURS * len(names))[: len(names)]
        lines = [Line2D([], [], color=colour, marker="o", mfc="none", lw=1.6) for colour in colours]
        add_legend(figure, lines, names, most=4)


def nearest_map(
    ax: Axes, body: np.ndarray, centres: np.ndarray, values: np.ndarray, window: tuple[slice, slice], radius: float
) -> Any:
    """Each cell of a body (y, x) in the colour of the nearest of some centres (point, 2).

    Centres are dots, or crosses where there is no value; the bar below is as long as a disc of the radius is wide.
    """
    shown = np.full(body.shape, np.nan)
    if len(centres):
        cells = np.argwhere(body)
        shown[body] = values[np.square(cells[:, None] - centres[None]).sum(-1).argmin(1)]
    image = ax.imshow(shown[window], **RECOVERED)
    draw_outline(ax, body[window])
    for (y, x), value in zip(centres - np.array([window[0].start, window[1].start]), values, strict=True):
        marker, size = (".", 2) if np.isfinite(value) else ("x", 4)
        ax.plot(x, y, marker=marker, ms=size, color=MUTED)
    below = window[0].stop - window[0].start + 1.5
    ax.plot([0, 2 * radius], [below] * 2, color=INK, lw=1.5, solid_capstyle="butt", clip_on=False)
    hide_frame(ax)
    return image


def add_colour_bar(axes: Any, image: Any, label: str, location: str = "right", extend: str = "neither") -> None:
    """A bar of colours next to or below the axes that share its scale."""
    first = np.ravel(axes)[0]
    slim = {"shrink": 0.62, "aspect": 22, "pad": 0.02} if location == "bottom" else {"fraction": 0.05, "pad": 0.03}
    bar = first.figure.colorbar(image, ax=axes, location=location, extend=extend, **slim)
    bar.outline.set_visible(False)
    bar.set_label(label)
    bar.locator = MaxNLocator(4, symmetric=True)
    bar.update_ticks()


def plot_null_tests(ax: Axes, tests: xr.Dataset, statistics: Sequence[Any], names: Sequence[str]) -> None:
    """Every surrogate, their 5 to 95 % and median, and the observed value, a row for each statistic."""
    rng = np.random.default_rng(0)  # scatters the points within their row
    beside: dict[str, Any] = {"va": "center", "ha": "center", "fontsize": 8.5, "annotation_clip": False}
    beside |= {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    for row, statistic in enumerate(statistics):
        test = tests.sel(statistic=statistic)
        height = row + rng.uniform(-0.22, 0.22, test.sizes["surrogate"])
        ax.plot(test.null, height, ".", color=FAINT, ms=3, zorder=1)
        ax.plot([test.null_low, test.null_high], [row, row], color=MUTED, lw=3.5, solid_capstyle="butt", zorder=2)
        ax.plot([test.null_median] * 2, [row - 0.3, row + 0.3], color=INK, lw=1.2, zorder=3)
        clear = float(test.q) <= 0.05
        ax.plot(test.observed, row, "o", ms=7, color=ORANGE, mfc=ORANGE if clear else "none", mew=1.6, zorder=4)
        for offset, value in ((18, float(test.p)), (50, float(test.q))):
            ax.annotate(f"{value:.{3 if value < 0.0995 else 2}f}", (1, row), xytext=(offset, 0), **beside)
    for offset, name in ((18, "p"), (50, "q")):
        ax.annotate(name, (1, -0.8), xytext=(offset, 0), **beside)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
