"""Figures of the axes protocol in one organism: every value beside its null."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes as Panel
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.report import plots
from analysis.report.format import number

NAMES = {
    "plane R2 of PC1": "PC1 is a straight gradient (R²)",
    "plane R2 of PC2": "PC2 is a straight gradient (R²)",
    "plane R2 of PC3": "PC3 is a straight gradient (R²)",
    "radius rank of PC1": "PC1 follows the radius (|ρ|)",
    "radius rank of PC2": "PC2 follows the radius (|ρ|)",
    "radius rank of PC3": "PC3 follows the radius (|ρ|)",
    "horseshoe": "PC2 is a fold of PC1 (|r|)",
    "R2 of x": "x is decodable (R²)",
    "R2 of y": "y is decodable (R²)",
    "R2 of s": "place along the body is decodable (R²)",
    "R2 of radius": "radius is decodable (R²)",
    "R2 of edge": "distance to edge is decodable (R²)",
}
SOURCES = {
    "hidden": ("o", plots.BLUE),
    "shape": ("s", plots.ORANGE),
    "colour": ("D", plots.GREEN),
    "shape + hidden": ("s", plots.ORANGE),
    "colour + hidden": ("D", plots.GREEN),
}
GAP = 0.08  # inches about a panel: p and q stand between panels
ABOVE = 18  # points: a title stands above p and q
LOWEST = -1.2  # of an R2 that is drawn; a decoder may be as wrong as it likes
QUANTITIES = {"x": "x", "y": "y", "s": "s, along the body", "radius": "radius", "edge": "distance to edge"}
READ = (
    "Circles: observed, filled where q ≤ 0.05. Grey dots: the null; bar: its 5 to 95 %; stroke: its median. "
    "p is one-sided, q corrects it over the rows of the test (false discovery rate)."
)


def beside(panel: Panel, tests: xr.Dataset, names: dict[str, str], label: str) -> None:
    """Statistics beside their nulls, in rows; those not defined left out."""
    known = [s for s in names if s in tests.statistic.values and np.isfinite(tests.p.sel(statistic=s))]
    plots.against_null(panel, tests, known, [names[s] for s in known])
    low, high = panel.get_xlim()
    if "R²" in label and low < LOWEST:
        panel.set_xlim(left=LOWEST)
        low = LOWEST
    if low < 0 < high:
        panel.axvline(0, color=plots.FAINT, lw=0.8, zorder=0)
    panel.set_xlabel(label)


def _titled(panel: Panel, title: str) -> None:
    """A narrow panel among several: its title clear of p and q, few ticks."""
    panel.set_title(title, loc="left", pad=ABOVE)
    panel.xaxis.set_major_locator(MaxNLocator(3))
    panel.tick_params(axis="x", labelsize=7.5)


def null(tests: xr.Dataset) -> tuple[Figure, str]:
    """A0 to A2: every statistic of position beside its null."""
    known = [s for s in NAMES if s in tests.statistic.values]
    made, axes = plots.figure(1, 1, 0.32 * len(known) + 0.6)
    beside(axes[0, 0], tests, NAMES, "statistic")
    many = tests.attrs["surrogates"]
    return made, (
        f"{READ} The null here: {many} surrogates as smooth as the data, so p is at least "
        f"{1 / (many + 1):.3g}. R² "
        "of decoders is cross-validated by blocks of 8×8 cells and may be negative: worse than guessing "
        "the mean."
    )


def sources(controls: xr.Dataset) -> tuple[Figure, str]:
    """A3: what decodes place, and what hidden states add to shape and to colour."""
    made, axes = plots.figure(1, 3, 3.1, width_ratios=[1.15, 1, 1])
    made.set_layout_engine("constrained", w_pad=GAP)
    panel = axes[0, 0]
    names = [str(q) for q in controls.quantity.values]
    for k, (source, (marker, colour)) in enumerate(SOURCES.items()):
        both = "+" in source
        values = controls.r2.sel(source=source).values
        rows = np.arange(len(names)) + 0.15 * (k - 2)
        panel.plot(values, rows, marker, color=colour, mfc=colour if both else "none", ms=5, mew=1.3, label=source)
    panel.axvline(0, color=plots.FAINT, lw=0.8, zorder=0)
    panel.set_yticks(range(len(names)), [QUANTITIES[n] for n in names])
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel("R² (blocked folds)")
    made.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    for ax, source in zip(axes[0, 1:], ("shape", "colour"), strict=True):
        beside(ax, controls, {f"{q} over {source}": q for q in names}, "extra R²")
        _titled(ax, f"added to {source}")
    return made, (
        "Left: R² of decoders that see hidden states alone, the body’s shape alone (distance to the edge, "
        "smoothed "
        "outline and its slope), colour and alpha alone, or two of these. Middle and right: what hidden "
        "states "
        f"add. {READ} The null: {controls.attrs['surrogates']} surrogates of the hidden states, added to "
        "the same shape "
        "or colour. Distance to the edge is itself part of the shape."
    )


def across(found: xr.Dataset) -> tuple[Figure, str]:
    """A1 run by run."""
    made, axes = plots.figure(1, 1, 2.3)
    panel, names = axes[0, 0], [str(q) for q in found.quantity.values]
    for k, name in enumerate(names):
        one = found.sel(quantity=name)
        spread = np.linspace(-0.12, 0.12, one.sizes["run"]) if one.sizes["run"] > 1 else np.zeros(1)
        first = k == 0
        panel.errorbar(
            one.r2, k - 0.18 + spread, xerr=one.deal_sd, fmt="o", color=plots.BLUE, ms=4.5, mfc="none", lw=1,
            label="blocked folds within a run (± sd over deals)" if first else None,
        )  # fmt: skip
        panel.plot(
            one.left_out, k + 0.22 + spread, "x", color=plots.MUTED, ms=5,
            label="fitted on the other runs: reproducibility only" if first else None,
        )  # fmt: skip
    panel.axvline(0, color=plots.FAINT, lw=0.8, zorder=0)
    panel.set_yticks(range(len(names)), [QUANTITIES[n] for n in names])
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel("R²")
    made.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return made, (
        f"Decoders in each of {found.sizes['run']} runs of this network. Crosses lie high even for one "
        "frozen random "
        "field that all runs share; they say that runs repeat each other, not that place is coded."
    )


def origin(shuffled: xr.Dataset) -> tuple[Figure, str]:
    """A4: trained beside shuffled weights."""
    made, axes = plots.figure(1, 2, 2.5)
    made.set_layout_engine("constrained", w_pad=GAP)
    beside(axes[0, 0], shuffled, {f"R2 of {q}": n for q, n in QUANTITIES.items()}, "R²")
    beside(axes[0, 1], shuffled, {f"excess of {q}": q for q in QUANTITIES}, "R² less the surrogates’ median")
    return made, (
        f"{READ} The null: {shuffled.attrs['permutations']} rules with the trained weights in another "
        "order, led along "
        "the trained run (same living sites, fire masks and size of updates). What they decode as well, "
        "training "
        "did not make."
    )


def course(found: xr.Dataset) -> tuple[Figure, str]:
    """Decoders over time, the null's band, and the clock."""
    made, axes = plots.figure(1, found.sizes["quantity"], 2.2, sharey=True)
    steps = found.step.values
    for ax, q in zip(axes[0], found.quantity.values, strict=True):
        one = found.sel(quantity=q)
        ax.fill_between(steps, one.null_low, one.null_high, color=plots.FAINT, lw=0, label="surrogates, 5 to 95 %")
        ax.plot(steps, one.by_age, color=plots.ORANGE, lw=1.3, ls="--", label="age of the cell alone")
        ax.plot(steps, one.by_age + one.over_age, color=plots.GREEN, lw=1.2, ls=":", label="age and states")
        ax.plot(steps, one.r2, color=plots.BLUE, lw=1.6, label="states")
        ax.axhline(0, color=plots.MUTED, lw=0.6, zorder=0)
        ax.set(title=str(q), xlabel="step")
    axes[0, 0].set(ylabel="R²", ylim=(-1, 1.02))
    made.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return made, (
        "How well place is decoded at each step (blocked folds; cut off below −1). Dashed: from the "
        "number of "
        "steps since a cell became mature, a clock that comes for free with growing. Grey: "
        f"{found.attrs['surrogates']} surrogates of the states of that step."
    )


def use(steering: xr.Dataset, subspaces: xr.Dataset) -> tuple[Figure, str]:
    """A6: pushes and projections beside random ones."""
    made, axes = plots.figure(1, 3 if subspaces else 2, 2.9)
    made.set_layout_engine("constrained", w_pad=GAP)
    beside(axes[0, 0], steering, {f"change by {q}": q for q in QUANTITIES}, "E to the twin")
    beside(axes[0, 1], steering, {f"left of {q}": q for q in QUANTITIES}, "share left")
    _titled(axes[0, 0], "after a push")
    _titled(axes[0, 1], "push left")
    if subspaces:
        names = {"harm without x and y": "without xy", "harm without radius and edge": "without re"}
        names |= {"harm with x and y alone": "xy alone", "harm with radius and edge alone": "re alone"}
        beside(axes[0, 2], subspaces, names, "loss (dead: 1)")
        _titled(axes[0, 2], "planes taken out")
    return made, (
        f"{READ} Left: what a push of all cells along each decoder, once at step "
        f"{steering.attrs['start']}, changes in "
        f"the picture {steering.attrs['horizon']} steps later; middle: the share of the push then left in "
        "the states; "
        f"the null: {steering.attrs['randoms']} random directions, as long."
        + (
            " Right: the fitness lost when the code’s plane (xy: of x and y; re: of radius and edge) is "
            "taken out of the states at every step, or all else is; the null: "
            f"{subspaces.attrs['randoms']} planes that read the same places scrambled, as smooth. With a "
            "plane alone, p is of as small a loss."
            if subspaces
            else ""
        )
    )


def compass(turned: xr.Dataset, state: xr.Dataset) -> tuple[Figure, str]:
    """A7: bodies grown with a turned compass, and grown bodies turned."""
    rows: list[tuple[str, list[np.ndarray], list[str]]] = []
    if turned:
        found = [a + float(_off(turned.body_turn.sel(angle=a)[0], a)) for a in turned.angle.values]
        titles = [f"{a:g}°: {_degrees(f)}" for a, f in zip(turned.angle.values, found, strict=True)]
        rows.append(("grown", list(turned.picture.values), ["0°", *titles[1:]]))
    if state:
        titles = [f"{a:g}°: W {number(float(state.kept.sel(angle=a)[0]))}" for a in state.angle.values]
        rows.append(("turned", list(state.picture.values), ["0°", *titles[1:]]))
    columns = max(len(pictures) + (name == "grown") for name, pictures, _ in rows)
    windows = [plots.window(np.any([p[..., 3] > 0.1 for p in pictures], axis=0)) for _, pictures, _ in rows]
    tall = [(y.stop - y.start) / (x.stop - x.start) for y, x in windows]
    height = 0.2 + sum(0.3 + min(t, 1.3) * plots.WIDTH / (columns + 0.4) for t in tall)
    made, axes = plots.figure(len(rows), columns, height, height_ratios=tall)
    for ax in axes.ravel():
        plots.bare(ax)
    for panels, (name, pictures, titles), (y, x) in zip(axes, rows, windows, strict=True):
        for ax, picture, title in zip(panels, pictures, titles, strict=False):
            plots.body(ax, picture[y, x], title)
        panels[0].set_ylabel(name, fontsize=10)
        if name == "grown":
            _asked_and_found(panels[len(pictures)], turned)
    upper = (
        "Grown with the compass turned by the first angle, by the same key; the second is the turn of the "
        "body that "
        "was found. Right: turns asked and found, of the body (circles) and of the gradients of PC1 to 3 "
        "(crosses), "
        "every key; at 0°, another key unturned. "
    )
    lower = (
        "Turned: grown bodies turned by hand under an unturned compass, "
        f"{0 if not state else state.attrs['steps']} steps later; W of this key against the twin turned "
        "alike."
    )
    return made, (upper if turned else "") + (lower if state else "")


def _off(turn: xr.DataArray, asked: float) -> xr.DataArray:
    """How far a turn is from what was asked, from -180 to 180 degrees."""
    return (turn - asked + 180) % 360 - 180


def _degrees(turn: float) -> str:
    return f"{number(turn, 0)}°" if np.isfinite(turn) else "no body"


def _asked_and_found(ax: Panel, turned: xr.Dataset) -> None:
    """The turn of bodies and gradients against the turn of the compass."""
    for spine in ("left", "bottom"):
        ax.spines[spine].set_visible(True)
    limit = max(180.0, float(np.abs(turned.angle).max()))
    ax.plot([0, limit], [0, limit], color=plots.FAINT, lw=1, zorder=0)
    for name, marker, colour in (("gradient_turn", "x", plots.ORANGE), ("body_turn", "o", plots.BLUE)):
        for angle in turned.angle.values:
            off = _off(turned[name].sel(angle=angle), angle)
            ax.plot(np.full(off.shape, angle), angle + off, marker, color=colour, mfc="none", ms=4.5)
    ax.set(xlabel="compass (°)", ylabel="found (°)", aspect="equal")
    ax.set_xticks([0, 90, 180])
    ax.set_yticks([0, 90, 180])
    ax.tick_params(length=3)
