"""Figures of fate: cells coloured by the place that their state means, next to the control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.assays.fate.dictionary import SAME_PLACE
from analysis.assays.fate.lineages import FOUNDERS_STEP
from analysis.assays.fate.regrowth import CUT, FILLED
from analysis.assays.fate.run import FateResult
from analysis.assays.fate.transplants import CONTROLS, FATES, MIXED, SHARE
from analysis.assays.grafts.grafting import GRAFT, SHAM
from analysis.report import plots
from analysis.report.format import as_given, percent, plural
from analysis.report.model import SvgFigure, svg_figure
from analysis.report.plots import BLUE, GREEN, INK, MUTED, ORANGE, ORGANISM_COLOURS
from nca.damage import CUTS, disc

_UNKNOWN, _VEIL = 0.78, 0.7  # the grey that covers cells whose state is like none of the wild type's, and how much
_FATE_COLOURS = {"host": BLUE, "donor": ORANGE, "neither": "#b9b4a8"}


def place_colours(places: Float[np.ndarray, "*b 2"], body: Bool[np.ndarray, "y x"]) -> Float[np.ndarray, "*b 3"]:
    """A colour wheel laid on a body: hue by direction from its middle, paler towards the middle.

    Args:
        places: row and column, in cells.
        body: on which the wheel is centred.
    """
    cells = np.argwhere(body)
    middle = cells.mean(0)
    reach = np.quantile(np.linalg.norm(cells - middle, axis=1), 0.98)
    y, x = np.moveaxis(np.nan_to_num(places) - middle, -1, 0)
    hue = (np.arctan2(y, x) / (2 * np.pi)) % 1
    out = np.clip(np.hypot(y, x) / max(reach, 1), 0, 1)
    return hsv_to_rgb(np.stack([hue, 0.12 + 0.83 * out, 1 - 0.18 * out], -1))


def decoded_colours(places: Any, distance: Any, result: FateResult) -> Float[np.ndarray, "*b y x 4"]:
    """The cells of bodies in the colours of their decoded places, veiled in grey where the state is unknown; RGBA."""
    places, distance = np.asarray(places), np.asarray(distance)
    colours = place_colours(places, _first_body(result))
    unknown = distance > result.radius
    colours[unknown] += _VEIL * (_UNKNOWN - colours[unknown])
    return np.concatenate([colours, np.isfinite(places[..., :1])], -1)


def _draw_places(ax: Axes, places: Any, distance: Any, result: FateResult, window: tuple[slice, slice]) -> None:
    ax.imshow(decoded_colours(places, distance, result)[window])
    plots.hide_frame(ax)


def _first_body(result: FateResult) -> Bool[np.ndarray, "y x"]:
    """The first run's grown body."""
    return np.isfinite(result.growth.distance.values[-1])


def _window(*distances: Any) -> tuple[slice, slice]:
    """Rows and columns that hold every body of some fields (..., y, x)."""
    bodies = [np.isfinite(np.asarray(d)).reshape(-1, *np.shape(d)[-2:]).any(0) for d in distances]
    return plots.body_window(np.any(bodies, axis=0))


def fate_figures(results: Sequence[FateResult]) -> list[SvgFigure]:
    """The figures that there are results for: those of each organism, then those that compare."""
    figures = []
    with plots.style():
        for n, result in enumerate(results, 1):
            suffix = f"-{n}" if len(results) > 1 else ""
            makers: dict[str, Any] = {
                "fate-growth": _plot_growth,
                "fate-lineages": result.lineages and _plot_lineages,
                "fate-cuts": _plot_cuts,
                "fate-graft": result.example and _plot_graft,
                "fate-tissue": len(result.tissue) and _plot_tissue,
                "fate-shares": len(result.grafts) and _plot_shares,
            }
            figures += [svg_figure(name + suffix, *maker(result)) for name, maker in makers.items() if maker]
        if results:
            place = 1 + [f.name for f in figures].index("fate-cuts") if len(results) == 1 else 0
            figures.insert(place, svg_figure("fate-learning", *_plot_learning(results)))
    return figures


def _plot_growth(result: FateResult) -> tuple[Figure, str]:
    """The wheel, and the first run as it grows."""
    growth, body = result.growth, _first_body(result)
    window = _window(growth.distance)
    columns = 2 + growth.sizes["step"]
    figure, axes = _strip(1, columns, window)
    truth = np.moveaxis(np.indices(body.shape), 0, -1).astype(float)
    wheel = place_colours(truth, body)
    axes[0, 0].imshow(wheel[window])
    axes[0, 0].set_title("the wheel")
    plots.hide_frame(axes[0, 0])
    plots.draw_outline(axes[0, 0], body[window])
    _draw_places(axes[0, 1], np.where(body[..., None], truth, np.nan), np.where(body, 0, np.nan), result, window)
    axes[0, 1].set_title("true place")
    for ax, step in zip(axes[0, 2:], growth.step.values, strict=True):
        _draw_places(ax, growth.places.sel(step=step), growth.distance.sel(step=step), result, window)
        ax.set_title(f"step {step}")
    return figure, (
        f"Places as colours, for {result.organism.name}. Left: the colour wheel on the canvas, and on the body: a "
        "cell has the colour of the place where it is. Right: a run that is not in the dictionary, as it grows: a "
        "cell has the colour of the place that its hidden state means. Greyed: a state that is like none of the "
        "grown wild type’s."
    )


def _plot_lineages(result: FateResult) -> tuple[Figure, str]:
    """The young body and the grown one, in the colours of the young."""
    lineages = result.lineages
    grown = np.isfinite(lineages.ancestor.values[..., 0])
    window = plots.body_window((grown | lineages.founders.values).any(0))
    runs = lineages.sizes["run"]
    figure, axes = _strip(1, max(4, 2 * runs), window)
    for ax in axes[0, 2 * runs :]:
        ax.set_visible(False)
    for run in range(runs):
        founders = lineages.founders.values[run]
        own = np.moveaxis(np.indices(founders.shape), 0, -1)
        for ax, places, shown, title in (
            (axes[0, 2 * run], own, founders, f"run {run}, step {FOUNDERS_STEP}"),
            (axes[0, 2 * run + 1], lineages.ancestor.values[run], grown[run], f"step {result.config.adult_step}"),
        ):
            ax.imshow(np.concatenate([place_colours(places, founders), shown[..., None]], -1)[window])
            plots.hide_frame(ax)
            ax.set_title(title)
    return figure, (
        f"A fate map of {result.organism.name}: the body at step {FOUNDERS_STEP} in the colours of a wheel of its "
        "own, and the grown body, where each cell has the colour of the young cell that it descends from."
    )


def _strip(rows: int, columns: int, window: tuple[slice, slice], **options: Any) -> tuple[Figure, np.ndarray]:
    """Axes for bodies in rows and columns."""
    tall = (window[0].stop - window[0].start) / (window[1].stop - window[1].start)
    side = plots.WIDTH / (columns + 0.5)
    return plots.new_figure(rows, columns, rows * (side * tall + 0.08) + 0.45, **options)


def _plot_cuts(result: FateResult) -> tuple[Figure, str]:
    """The first run after each cut."""
    regrowth = result.regrowth
    window = _window(regrowth.distance, result.growth.distance[-1:])
    since = regrowth.since.values
    figure, axes = _strip(len(CUTS), len(since) + 1, window)
    adult = result.growth.isel(step=-1)
    for row, name in zip(axes, CUTS, strict=True):
        _draw_places(row[0], adult.places, adult.distance, result, window)
        row[0].set_ylabel(name)
        for ax, n in zip(row[1:], since, strict=True):
            chosen = regrowth.sel(wound=name, since=n)
            _draw_places(ax, chosen.places, chosen.distance, result, window)
    for ax, title in zip(axes[0], ("uncut", *(f"+{n}" for n in since)), strict=True):
        ax.set_title(title)
    return figure, (
        f"The first run of {result.organism.name} after each of five cuts (rows), in steps since the cut (columns); "
        "left the uncut body. Cells have the colours of their decoded places (wheel above); greyed: unknown states."
    )


def _plot_learning(results: Sequence[FateResult]) -> tuple[Figure, str]:
    """Positional error of cells born after each cut, every run a line."""
    figure, axes = plots.new_figure(1, len(CUTS), 2.7, sharey=True, sharex=True)
    for ax, name in zip(axes[0], CUTS, strict=True):
        for result, colour in zip(results, ORGANISM_COLOURS * len(results), strict=False):
            chosen = result.regrowth.sel(wound=name)
            since = chosen.since.values
            ax.plot(since, chosen.new_error.sel(start=CUT).T, color=colour, lw=0.8, alpha=0.8)
            ax.plot(since, chosen.old_error.sel(start=CUT).median("run"), color=colour, lw=1.2, ls=":")
            if len(results) == 1:
                ax.plot(since, chosen.chance.sel(start=CUT).median("run"), color=MUTED, lw=1, ls="--")
                if FILLED in chosen.start.values:
                    ax.plot(since, chosen.new_error.sel(start=FILLED).T, color=ORANGE, lw=0.8, alpha=0.8)
        ax.axhspan(0, SAME_PLACE, color=GREEN, alpha=0.10, lw=0, zorder=0)
        ax.set_title(name)
        _root_scale(ax, since[-1])
    axes[0, 0].set_ylim(bottom=-0.4)
    axes[0, 0].set_ylabel("error of new cells\n(cells, median)")
    axes[0, len(CUTS) // 2].set_xlabel("steps since the cut (square-root scale)")
    if len(results) == 1:
        lines = [Line2D([], [], color=ORGANISM_COLOURS[0]), Line2D([], [], color=ORGANISM_COLOURS[0], ls=":")]
        lines += [Line2D([], [], color=MUTED, ls="--"), Line2D([], [], color=ORANGE)]
        names = ["born after the cut", "old cells", "random places", "wound filled at random"]
        shown = 4 if FILLED in results[0].regrowth.start.values else 3
        figure.legend(lines[:shown], names[:shown], loc="outside lower center", ncols=4)
    else:
        plots.organism_legend(figure, [result.organism.name for result in results])
    return figure, (
        "Do regrown cells learn where they are? Median distance of the cells in the wound from the place that their "
        f"state means, after each of five cuts; a line is a run ({plural(results[0].config.runs, 'run')}). Dotted: "
        f"old cells of the same bodies. Green: within {as_given(SAME_PLACE)} cells."
    )


def _plot_graft(result: FateResult) -> tuple[Figure, str]:
    """A graft next to its sham."""
    example = result.example
    window = _window(example.distance)
    since, at = example.since.values, example.attrs
    figure, axes = _strip(2, len(since), window)
    places = {"target": (at["target_y"], at["target_x"]), "source": (at["source_y"], at["source_x"])}
    region = {k: disc(result.organism.canvas, place, result.config.radius) for k, place in places.items()}
    for row, name in zip(axes, (SHAM, GRAFT), strict=True):
        for ax, n in zip(row, since, strict=True):
            chosen = example.sel(intervention=name, since=n)
            _draw_places(ax, chosen.places, chosen.distance, result, window)
            plots.draw_outline(ax, region["target"][window])
            if name == GRAFT and n == since[0]:
                plots.draw_outline(ax, region["source"][window])
        row[0].set_ylabel(name)
    for ax, n in zip(axes[0], since, strict=True):
        ax.set_title(f"+{n}")
    return figure, (
        f"A disc of {result.organism.name} moved from row {places['source'][0]:g}, column {places['source'][1]:g} to "
        f"row {places['target'][0]:g}, column {places['target'][1]:g} (outlines), the graft whose cells keep "
        "their identity most. Above, its sham: the same place of another run. Cells have the colours of their decoded "
        "places."
    )


def _plot_tissue(result: FateResult) -> tuple[Figure, str]:
    """Determined and specified tissue on the body, for every target, in both halves of the runs."""
    body, tissue = _first_body(result), result.tissue
    window = plots.body_window(body)
    panels = [(target, half) for target in sorted(tissue.target.unique()) for half in ("set", "judged")]
    columns = 4
    rows = -(-len(panels) // columns)
    figure, axes = _strip(rows, columns, window)
    for ax in axes.ravel()[len(panels) :]:
        ax.set_visible(False)
    for ax, (target, half) in zip(axes.ravel(), panels, strict=False):
        _draw_tissue(ax, tissue[(tissue.half == half) & (tissue.target == target)], body, window, result)
        runs = {"set": "first", "judged": "second"}[half]
        ax.set_title(f"to target {target + 1},\n{runs} half of the runs", fontsize=8.5)
    lines = [Line2D([], [], color=c, marker="s", ls="", ms=7) for c in _FATE_COLOURS.values()]
    labels = ["read as host place", "read as donor place", "neither", f"{percent(SHARE)} agree"]
    figure.legend(
        [*lines, Line2D([], [], color=INK, marker="o", ls="", ms=4)], labels, loc="outside lower center", ncols=4
    )
    return figure, (
        f"Where the tissue of {result.organism.name} is determined. Each cell has the colour of the nearest source "
        f"place: a mixture of what the cells moved from there are read as {result.judged_since} steps later. Orange: "
        "they keep the identity of their source; blue: they take that of the target (circle: the graft there). Large "
        f"dots: source places with {percent(SHARE)} or more of either, determined or specified."
    )


def _draw_tissue(
    ax: Axes, table: pd.DataFrame, body: Bool[np.ndarray, "y x"], window: tuple[slice, slice], result: FateResult
) -> None:
    """One map of `_plot_tissue`."""
    corner = np.array([window[0].start, window[1].start])
    image = np.zeros((*body.shape, 4))
    if len(table):
        sources = table[["source_y", "source_x"]].to_numpy(float)
        shares = table[list(_FATE_COLOURS)].to_numpy()
        colours = shares @ np.array([to_rgba(colour) for colour in _FATE_COLOURS.values()])
        cells = np.argwhere(body)
        image[body] = colours[np.square(cells[:, None] - sources[None]).sum(-1).argmin(1)].clip(0, 1)
        clear = (table.tissue != MIXED).to_numpy()
        for chosen, size in ((clear, 6), (~clear, 1.5)):
            y, x = (sources[chosen] - corner).T
            ax.plot(x, y, ".", color=INK, ms=size)
        y, x = table[["target_y", "target_x"]].to_numpy(float)[0] - corner
        angle = np.linspace(0, 2 * np.pi, 60)
        ax.plot(x + result.config.radius * np.cos(angle), y + result.config.radius * np.sin(angle), color=INK, lw=1)
    ax.imshow(image[window])
    plots.draw_outline(ax, body[window])
    plots.hide_frame(ax)


def _root_scale(ax: Axes, last: int) -> None:
    """Steps from 0 to the last on a square-root scale, which shows the first ones."""
    ax.set_xlim(0, last)
    ax.set_xscale("function", functions=(lambda n: np.sqrt(np.maximum(n, 0)), np.square))
    ax.set_xticks(sorted({0, 20, 100, last}))


def _plot_shares(result: FateResult) -> tuple[Figure, str]:
    """Host, donor and neither over time: the grafts, and what they are compared with."""
    grafts = result.grafts[result.grafts.cells > 0]
    names = [name for name in (GRAFT, *CONTROLS) if (grafts.intervention == name).any()]
    figure, axes = plots.new_figure(1, len(names), 2.3, sharey=True, sharex=True)
    for ax, name in zip(axes[0], names, strict=True):
        chosen = grafts[grafts.intervention == name]
        for fate in FATES:
            table = chosen.pivot_table(index="since", columns=["target", "point", "run"], values=fate)
            ax.plot(
                table.index, table.to_numpy(), color=_FATE_COLOURS[fate], lw=0.4, alpha=min(0.5, 12 / table.shape[1])
            )
            ax.plot(table.index, table.mean(axis=1), color=_FATE_COLOURS[fate], lw=2)
        ax.set_title(f"{name}\n({plural(chosen.groupby(['target', 'point', 'run']).ngroups, 'graft')})", fontsize=9)
        ax.set(ylim=(-0.03, 1.03))
        _root_scale(ax, int(grafts.since.max()))
    axes[0, 0].set_ylabel("share of the moved cells")
    axes[0, len(names) // 2].set_xlabel("steps since the graft (square-root scale)")
    lines = [Line2D([], [], color=colour, lw=2) for colour in _FATE_COLOURS.values()]
    labels = ["host place", "donor place", "neither"]
    figure.legend(lines, labels, loc="outside lower center", ncols=3)
    return figure, (
        f"What the moved cells of {result.organism.name} are read as, over time: thin lines are grafts, thick ones "
        "their mean. Shuffled: the moved cells change places among each other; random: a random change as large in "
        f"every cell; colour only: the hidden channels stay. Within {as_given(SAME_PLACE)} cells, and a known state; "
        "dead cells are neither."
    )
