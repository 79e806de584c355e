"""The figures of a report: finished results laid out, with what to read in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from analysis import lesions, metrics, plots
from analysis.examination import Examination
from analysis.regeneration import MARGIN
from analysis.sections import Drawing, drawing
from nca.rule import Spec

SHOWN_STEPS = (10, 20, 30, 50, 75, 96, 150, 200, 400, 1000, 2000)
ABOVE = {"textcoords": "offset points", "ha": "right", "fontsize": 8.5, "color": plots.MUTED}
CUT_COLOURS = (plots.BLUE, plots.ORANGE, plots.GREEN, plots.PURPLE, "#e69f00")


def draw(found: Examination) -> dict[str, Drawing]:
    """Every figure that there are results for, by name."""
    makers: dict[str, tuple[bool, Callable[[Examination], tuple[Figure, str]]]] = {
        "growth": (True, growth),
        "course": (True, course),
        "maps": (bool(found.components), maps),
        "development": (bool(found.components), development),
        "null": (bool(found.tests), null),
        "spectrum": (bool(found.components), spectrum),
        "lesions": (bool(found.sweep), lesion_sweep),
        "cuts": (bool(found.wounds), cuts),
        "recovery": (bool(found.wounds), recovery),
    }
    drawn = {}
    with plots.style():
        for name, (known, maker) in makers.items():
            if known:
                made, caption = maker(found)
                drawn[name] = drawing(name, made, caption)
    return drawn


def growth(found: Examination) -> tuple[Figure, str]:
    """Stills of the first run."""
    spec, recording = found.organism.rule.spec, found.recording
    steps = shown_steps(found)
    states = recording.state.isel(run=0).sel(step=steps).values
    pictures = [np.asarray(metrics.picture(spec, s)) for s in states]
    titles = [f"step {n}" for n in steps]
    target = found.organism.picture()
    if target is not None:
        pictures.append(target)
        titles.append("target")
    seen = np.any([p[..., 3] > spec.threshold for p in pictures], axis=0)
    rows, columns = plots.window(seen)
    made, axes = plots.figure(
        1, len(pictures), 1.0 + 0.5 * (rows.stop - rows.start) / (columns.stop - columns.start)
    )
    for ax, picture, title in zip(axes[0], pictures, titles, strict=True):
        plots.body(ax, picture[rows, columns], title)
    return made, "The first run, from one seed." + (" Right: the target." if target is not None else "")


def shown_steps(found: Examination, most: int = 6) -> list[int]:
    """Steps worth a still, the last one among them."""
    last = found.config.steps
    steps = [n for n in SHOWN_STEPS if n < last][-(most - 1) :] if last > 75 else list(SHOWN_STEPS[:2])
    return sorted({n for n in steps if n < last} | {last})


def course(found: Examination) -> tuple[Figure, str]:
    """Error and size over time."""
    growth, target = found.growth, found.organism.target is not None
    made, axes = plots.figure(1, 2 if target else 1, 2.5)
    time = growth.time.values
    if target:
        e = np.asarray(metrics.log_error(growth.e.values))
        plots.keys_and_median(axes[0, 0], time, e, plots.BLUE)
        empty = float(metrics.log_error(growth.dead.values[0, 0]))
        axes[0, 0].axhline(empty, color=plots.MUTED, lw=1, ls="--")
        axes[0, 0].annotate("empty canvas", (time[-1], empty), (0, -3), **ABOVE, va="top")
        axes[0, 0].set(xlabel="step", ylabel="error L (log10 of E)")
    plots.keys_and_median(axes[0, -1], time, growth.mature.values, plots.BLUE)
    axes[0, -1].set(xlabel="step", ylabel="mature cells", ylim=(0, None))
    for ax in axes[0]:
        ax.axvline(found.config.steps, color=plots.FAINT, lw=0.8, zorder=0)
    return made, (
        f"Each thin line is one of {growth.sizes['run']} undisturbed runs, the thick one their median; "
        f"the vertical line is step {found.config.steps}, where the body counts as grown."
    )


def maps(found: Examination) -> tuple[Figure, str]:
    """The first components on the body, the surrogate's beneath."""
    components, at = found.components, found.config.steps
    scores = components.scores.isel(run=0).sel(step=at).values
    shown = min(3, scores.shape[-1])
    rows, columns = plots.window(np.isfinite(scores[..., 0]))
    sets = [("data", scores)]
    if found.tests:
        sets.append(("surrogate", found.tests.surrogate_scores.values))
    limits = colour_limits(scores)
    tall = (rows.stop - rows.start) / (columns.stop - columns.start)
    made, axes = plots.figure(len(sets), shown + 1, len(sets) * tall * plots.WIDTH / (shown + 1.3) + 0.8)
    for row, (name, values) in zip(axes, sets, strict=True):
        cropped = values[rows, columns, :shown]
        for k in range(shown):
            image = plots.signed_map(row[k], cropped[..., k], limits[k])
            plots.outline(row[k], np.isfinite(cropped[..., k]))
            if name == sets[-1][0]:
                plots.scale_bar(axes[:, k], image, "score", "bottom")
        plots.coloured_map(row[shown], cropped, limits)
        row[0].set_ylabel(name, fontsize=10)
    for k in range(shown):
        axes[0, k].set_title(f"PC{k + 1}, {100 * float(components.explained[k]):.0f} % of variance")
    axes[0, shown].set_title(f"PC1 to {shown} as RGB" if shown > 1 else "PC1")
    return made, (
        f"Scores of mature cells at step {at} ({components.attrs['channels']} channels, "
        f"{components.attrs['scaling']}, centred; {components.attrs['sign']}). Above, the data; below, one "
        f"of {found.config.surrogates} surrogates: a random field with the same covariance of channels and "
        "the same power at every scale, which knows nothing of place. What the eye finds in both is no "
        "finding."
        if found.tests
        else f"Scores of mature cells at step {at}."
    )


def colour_limits(scores: np.ndarray) -> list[float]:
    """What the ends of the colour scales mean: 98 of 100 cells lie between."""
    known = np.abs(scores[np.isfinite(scores).all(-1)][:, :3])
    return [float(v) or 1.0 for v in np.quantile(known, 0.98, axis=0)] if len(known) else [1.0] * 3


def development(found: Examination) -> tuple[Figure, str]:
    """The three components as colours, from the seed on."""
    components, steps = found.components, shown_steps(found, 7)
    scores = components.scores.isel(run=0).sel(step=steps).values[..., :3]
    limits = colour_limits(components.scores.isel(run=0).sel(step=found.config.steps).values)
    rows, columns = plots.window(np.isfinite(scores[..., 0]).any(0))
    tall = (rows.stop - rows.start) / (columns.stop - columns.start)
    made, axes = plots.figure(1, len(steps), 0.3 + tall * plots.WIDTH / len(steps))
    for ax, step, values in zip(axes[0], steps, scores, strict=True):
        plots.coloured_map(ax, values[rows, columns], limits, f"step {step}")
    return made, (
        f"The first three components, fitted at step {found.config.steps}, as red, green and blue on the "
        "growing body: equal colours are equal states."
    )


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
    "R2 of radius": "radius is decodable (R²)",
    "R2 of edge": "distance to edge is decodable (R²)",
}


def null(found: Examination) -> tuple[Figure, str]:
    """Every statistic of position beside its null."""
    statistics = [s for s in NAMES if s in found.tests.statistic.values]
    made, axes = plots.figure(1, 1, 0.32 * len(statistics) + 0.6)
    plots.against_null(axes[0, 0], found.tests, statistics, [NAMES[s] for s in statistics])
    axes[0, 0].axvline(0, color=plots.FAINT, lw=0.8, zorder=0)
    axes[0, 0].set_xlabel("statistic")
    return made, (
        f"Circles: observed, filled where q ≤ 0.05. Grey dots: {found.config.surrogates} surrogates as "
        "smooth as the data; bar: their 5 to 95 %; stroke: their median. p is one-sided, q corrects it over "
        "the rows (false discovery rate). R² of decoders is cross-validated by blocks of 8×8 cells and may "
        "be negative."
    )


def spectrum(found: Examination) -> tuple[Figure, str]:
    """Scree and loadings."""
    spec: Spec = found.organism.rule.spec
    numbers = {name: i for i, name in enumerate(found.organism.rule.channel_names)}
    made, axes = plots.figure(1, 2, 2.9, width_ratios=[1, 1.35])
    plots.scree(axes[0, 0], found.components)
    image = plots.loadings(axes[0, 1], found.components, numbers)
    plots.scale_bar(axes[0, 1], image, "loading")
    return made, (
        f"Left: variance by component; grey lines at 90, 95 and 99 %. Right: how each of the "
        f"{found.components.sizes['channel']} channels (of {spec.channels}) enters the components."
    )


def lesion_sweep(found: Examination) -> tuple[Figure, str]:
    """Fitness and error after each lesion."""
    rows = lesions.table(found.sweep)
    values = [v for v in ("fitness", "worse") if np.isfinite(rows[v]).any()]
    labels = {"fitness": "fitness W", "worse": "rise of L"}
    null = rows[rows.kind == "random direction"]
    titles = {"graded": "graded", "erase": "erased once"}
    columns = [(kind, value) for kind in titles for value in values]
    made, axes = plots.figure(1, len(columns), 0.235 * found.sweep.sizes["channel"] + 1.1, sharey=True)
    for ax, (kind, value) in zip(axes[0], columns, strict=True):
        plots.lesions(ax, rows[rows.kind == kind], null if kind == "erase" else None, value)
        ax.set(title=titles[kind], xlabel=labels[value])
        for intact, looks in ((1, "-"), (0, "--")) if value == "fitness" else ((0, "-"),):
            ax.axvline(intact, color=plots.GREEN if looks == "-" else plots.MUTED, lw=1, ls=looks, zorder=0)
    axes[0, 0].set_ylabel("channel")
    handles = {label: h for ax in axes[0] for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    made.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return made, (
        f"Median over {found.sweep.sizes['run']} paired keys with 95 % bootstrap interval, after a lesion "
        f"that begins at step {found.config.steps}: graded takes 5 % off the channel at every step, erased "
        "sets it to zero once. W is 1 for an intact body (green), 0 for an empty canvas (dashed); the rise "
        "of L is over the undisturbed run of the same key, 1 being ten times the error. Crosses: the same "
        "cells pushed as far along a random hidden direction. Colour channels are what the error sees and "
        "alpha keeps cells alive: they are shown, but say nothing of the hidden ones."
    )


def cuts(found: Examination) -> tuple[Figure, str]:
    """Before and after, cut by cut."""
    wounds = found.wounds
    names = [n for n in wounds.wound.values if n != MARGIN]
    threshold = found.organism.rule.spec.threshold
    seen = (wounds.picture_before[..., 3] > threshold) | (wounds.picture_end[..., 3] > threshold).any("wound")
    rows, columns = plots.window((seen | (wounds.picture_twin[..., 3] > threshold)).values)
    tall = (rows.stop - rows.start) / (columns.stop - columns.start)
    made, axes = plots.figure(2, len(names) + 1, 0.3 + 2 * tall * plots.WIDTH / (len(names) + 1.2))
    plots.body(axes[0, 0], wounds.picture_before.values[rows, columns], "uncut")
    plots.body(axes[1, 0], wounds.picture_twin.values[rows, columns])
    for column, name in enumerate(names, 1):
        one = wounds.sel(wound=name)
        plots.body(axes[0, column], one.picture_cut.values[rows, columns], name)
        plots.body(axes[1, column], one.picture_end.values[rows, columns])
    axes[0, 0].set_ylabel(f"step {found.config.steps}", fontsize=10)
    axes[1, 0].set_ylabel(f"step {found.config.until}", fontsize=10)
    return made, "The first run: above, just after each cut; below, at the end. Left, its uncut twin."


def recovery(found: Examination) -> tuple[Figure, str]:
    """How much came back, and when."""
    wounds = found.wounds
    names = [str(n) for n in wounds.wound.values if n != MARGIN]
    made, axes = plots.figure(1, 2, 2.6, width_ratios=[1, 1.15])
    plots.dots(axes[0, 0], wounds.recovered.sel(wound=names).values, names, CUT_COLOURS)
    axes[0, 0].axvline(1, color=plots.GREEN, lw=1, zorder=0)
    axes[0, 0].axvline(0, color=plots.MUTED, lw=1, ls="--", zorder=0)
    axes[0, 0].set(xlabel="recovered", ylabel="cut")
    for name, colour in zip(names, CUT_COLOURS, strict=True):
        e = np.asarray(metrics.log_error(wounds.e.sel(wound=name).values))
        axes[0, 1].plot(wounds.time, np.median(e, 0), color=colour, lw=1.5)
    if wounds.attrs["reference"] == "target":
        twin = np.median(np.asarray(metrics.log_error(wounds.e_twin.values)), 0)
        axes[0, 1].plot(wounds.time, twin, color=plots.INK, lw=1, ls="--")
    axes[0, 1].set(xlabel="step", ylabel="error L (log10 of E)")
    return made, (
        f"Left: recovered fraction, every one of {wounds.sizes['run']} keys (circles) and the median (bar): "
        "1 is as good as the uncut twin of the same key (green), 0 is as cut (dashed). Right, in the same "
        f"colours: median error to the {wounds.attrs['reference']} after each cut"
        + ("; dashed, of the uncut twins." if wounds.attrs["reference"] == "target" else ".")
    )
