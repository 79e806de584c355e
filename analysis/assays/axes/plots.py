"""Figures of the axes assay: finished results, each value with its null, as a figure and its caption."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import metrics
from analysis.assays.axes.pca import SHOWN
from analysis.recording import spec_of
from analysis.report import plots
from analysis.report.format import number
from analysis.report.labels import add_legend
from nca.spec import channel_names

if TYPE_CHECKING:
    from analysis.assays.axes.run import AxesResult

Drawn = tuple[Figure, str]  # with its caption
_LABELS = {"x": "x", "y": "y", "s": "s, along the body", "radius": "radius", "edge": "distance to edge"}
_MEASURE_LABELS = {
    "plane_r2": "plane R² of {}",
    "rank_correlation": "{} and radius, |ρ|",
    "horseshoe": "{} and PC1², |r|",
    "r2": "R² of {}",
}
_LOWEST = -1.2  # of an R² that is drawn; R² has no lower bound
_STEPS = (10, 20, 30, 50, 75, 96, 150, 200, 400, 1000, 2000)
_MAX_BODIES = 8
_MAX_STEPS = 7
_NULL = (
    "Circles: observed, filled where q ≤ 0.05. Grey dots: the null; bar: its 5 to 95 %; line: its median. p is "
    "one-sided; q is FDR-corrected over the rows of the test."
)

# Principal components


def plot_pca_maps(components: xr.Dataset, tests: xr.Dataset | None = None, run: int = 0) -> Drawn:
    """The first components on the body at the step of the PCA; below, those of a surrogate if there are tests."""
    step = components.attrs["step"]
    scores = components.scores.isel(run=run).sel(step=step).values
    shown = min(SHOWN, scores.shape[-1])
    window, aspect = _crop(np.isfinite(scores[..., 0]))
    sets = [("data", scores)] + ([("surrogate", tests.surrogate_scores.values)] if tests else [])
    limits = _score_limits(scores)
    height = len(sets) * aspect * plots.WIDTH / (shown + 1.3) + 1.05
    figure, axes = plots.new_figure(len(sets) + 1, shown + 1, height, height_ratios=[*[1.0] * len(sets), 0.03])
    for row, (name, values) in zip(axes, sets, strict=False):
        cropped = values[window][..., :shown]
        for k, (ax, limit) in enumerate(zip(row, limits, strict=False)):
            scale = {"cmap": plots.DIVERGING, "vmin": -limit, "vmax": limit}
            ax.imshow(np.ma.masked_invalid(cropped[..., k]), **scale)
            plots.hide_frame(ax)
            plots.draw_outline(ax, np.isfinite(cropped[..., k]))
        _rgb_map(row[shown], cropped, limits)
        if len(sets) > 1:
            row[0].set_ylabel(name, fontsize=10)
    for k in range(shown):
        axes[0, k].set_title(f"PC{k + 1}, {100 * float(components.explained[k]):.0f} %")
        bar = figure.colorbar(axes[-2, k].images[0], cax=axes[-1, k], orientation="horizontal", label="score")
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(4, symmetric=True)
        bar.update_ticks()
    axes[0, shown].set_title(f"PC1 to {shown} as RGB" if shown > 1 else "PC1")
    axes[-1, shown].set_axis_off()  # the others have their colour bars there
    colours = ", ".join(f"PC{k} is {c}" for k, c in enumerate(("red", "green", "blue")[:shown], 1))
    caption = (
        f"Scores of mature cells at step {step}, with each component’s share of the variance "
        f"({components.attrs['channels']} channels, {components.attrs['scaling']}, centred; the largest loading is "
        f"positive). The colour scale covers 98 % of the cells. Right: {colours}."
    )
    surrogate = (
        " Top: data. Bottom: a surrogate, a random field with the same covariance of channels and the same power at "
        "every scale, but without information about position. A pattern that appears in both is no finding."
    )
    no_null = " Maps of any smooth field look like gradients; only a comparison with a null shows whether these are."
    return figure, caption + (surrogate if tests else no_null)


def _plot_growth(components: xr.Dataset) -> Drawn:
    """The first components as colours on the growing body."""
    fitted = int(components.attrs["step"])
    scores = components.scores.isel(run=0)
    alive = components.step.values[np.isfinite(scores.isel(pc=0).values).any((1, 2))]
    steps = sorted({*[n for n in _STEPS if n < fitted and n in alive][1 - _MAX_STEPS :], fitted})
    shown, limits = scores.sel(step=steps).values[..., :SHOWN], _score_limits(scores.sel(step=fitted).values)
    window, aspect = _crop(np.isfinite(shown[..., 0]).any(0))
    figure, axes = plots.new_figure(1, len(steps), 0.35 + aspect * plots.WIDTH / max(len(steps), 3))
    for ax, step, values in zip(axes[0], steps, shown, strict=True):
        _rgb_map(ax, values[window], limits)
        ax.set_title(f"step {step}")
    return figure, (
        f"The first {min(SHOWN, components.sizes['pc'])} components, fitted at step {fitted}, as red, green and blue "
        "on the growing body: equal colours are equal states."
    )


def _plot_spectrum(components: xr.Dataset) -> Drawn:
    """Variance explained, and loadings."""
    figure, axes = plots.new_figure(1, 2, 2.9, width_ratios=[1, 1.35])
    scree, table = axes[0]
    share, pc = 100 * components.explained.values, components.pc.values
    scree.bar(pc, share, color=plots.BLUE, width=0.72, label="each")
    scree.plot(pc, share.cumsum(), "o-", color=plots.ORANGE, ms=3.5, lw=1.2, label="cumulative")
    for level in components.share.values:
        scree.axhline(level, color=plots.FAINT, lw=0.7, zorder=0)
    xlim = (0.3, max(5, len(pc)) + 0.7)
    scree.set(xlabel="principal component", ylabel="variance (%)", ylim=(0, 103), xlim=xlim)
    scree.xaxis.set_major_locator(MaxNLocator(integer=True))
    scree.legend(loc="center right")
    numbers = {name: i for i, name in enumerate(channel_names(spec_of(components)))}
    image = table.imshow(components.loadings.values, cmap=plots.DIVERGING, vmin=-1, vmax=1, aspect="auto")
    channels = [f"{c} ({numbers[str(c)]})" for c in components.channel.values]
    table.set_xticks(range(len(channels)), channels, rotation=60, ha="right", rotation_mode="anchor")
    table.set_yticks(range(len(pc)), [f"PC{k}" for k in pc])
    table.tick_params(length=0)
    table.spines[:].set_visible(False)
    plots.add_colour_bar(table, image, "loading")
    return figure, (
        "Left: variance explained by each component; grey lines at 90, 95 and 99 %. Right: loadings of the "
        f"{components.sizes['channel']} channels (their number among {len(numbers)} in brackets)."
    )


def _plot_pca_bodies(results: Sequence[AxesResult]) -> Drawn:
    """The grown body of each organism, above its first three components as colours."""
    shown = results[:_MAX_BODIES]
    figure, axes = plots.new_figure(2, len(shown), 0.35 + 2 * plots.WIDTH / (max(len(shown), 3) + 0.3))
    for (top, bottom), result in zip(axes.T, shown, strict=True):
        step = result.pca.attrs["step"]
        state = result.recording.state.isel(run=0).sel(step=step).values
        picture = np.asarray(metrics.picture(result.organism.rule.spec, state))
        values = result.pca.scores.isel(run=0).sel(step=step).values[..., :SHOWN]
        window, _ = _crop((picture[..., 3] > 0.1) | np.isfinite(values).all(-1))
        plots.draw_body(top, picture[window], _break_name(result.organism.name))
        _rgb_map(bottom, values[window], _score_limits(values))
    axes[1, 0].set_ylabel("PC1 to 3", fontsize=10)
    rest = f" The first {_MAX_BODIES} of {len(results)}." if len(results) > _MAX_BODIES else ""
    return figure, (
        "Grown bodies, and below each the first three components of its own cells’ states as red, green and blue. "
        f"Components of different networks cannot be compared colour by colour.{rest}"
    )


def _crop(mask: np.ndarray) -> tuple[tuple[slice, slice], float]:
    """Rows and columns around a body, and its height over its width."""
    rows, columns = plots.body_window(mask)
    return (rows, columns), (rows.stop - rows.start) / (columns.stop - columns.start)


def _score_limits(scores: np.ndarray) -> list[float]:
    """Ends of the colour scale of each of the first components: 98 % of the cells lie within."""
    known = np.abs(scores[np.isfinite(scores).all(-1)][:, :SHOWN])
    shown = min(SHOWN, scores.shape[-1])
    return [float(v) or 1.0 for v in np.quantile(known, 0.98, axis=0)] if len(known) else [1.0] * shown


def _break_name(name: str, most: int = 16) -> str:
    """A name that fits above a small picture: broken at the dash next to its middle."""
    if len(name) <= most or "-" not in name:
        return name
    middle = min((i for i, c in enumerate(name) if c == "-"), key=lambda i: abs(i - len(name) / 2))
    return name[: middle + 1] + "\n" + name[middle + 1 :]


def _rgb_map(ax: Axes, scores: np.ndarray, limits: Sequence[float]) -> None:
    """Up to three maps (y, x, pc) as red, green and blue, each from -limit to limit."""
    inside = np.isfinite(scores).all(-1)
    rgb = np.full((*scores.shape[:2], 3), 0.5)
    rgb[..., : scores.shape[2]] += 0.42 * np.clip(np.nan_to_num(scores) / limits, -1, 1)
    ax.imshow(np.concatenate([rgb, inside[..., None]], -1))
    plots.hide_frame(ax)


# Null tests


def _plot_position(tests: xr.Dataset) -> Drawn:
    """A0 to A2: gradients and decoders."""
    order = list(_MEASURE_LABELS)
    statistics = sorted(tests.statistic.values, key=lambda s: order.index(s[1]))
    rows = {s: _MEASURE_LABELS[s[1]].format(_LABELS.get(s[0], s[0])) for s in statistics}
    figure, axes = plots.new_figure(1, 1, 0.32 * len(rows) + 0.6)
    _plot_null_tests(axes[0, 0], tests, rows, "statistic")
    n = tests.attrs["surrogates"]
    return figure, (
        f"{_NULL} The null: {n} surrogates as smooth as the data, so that p is at least {1 / (n + 1):.3g}. R² of "
        "decoders is cross-validated by blocks of 8×8 cells; below 0, the decoder is worse than guessing the mean."
    )


def _plot_shape_and_colour(tests: xr.Dataset) -> Drawn:
    """A3: what decodes position, and what hidden states add to shape and to colour."""
    shape, colour = tests.sel(measure="over_shape"), tests.sel(measure="over_colour")
    series = {
        "hidden": (shape.r2_hidden, "^", plots.BLUE),
        "shape": (shape.r2_covariate, "s", plots.GREEN),
        "shape + hidden": (shape.r2_both, "+", plots.GREEN),
        "colour": (colour.r2_covariate, "D", plots.PURPLE),
        "colour + hidden": (colour.r2_both, "x", plots.PURPLE),
    }
    figure, axes = _null_panels(3, 3.9, width_ratios=[1.5, 1, 1])
    names = [str(q) for q in shape.quantity.values]
    for k, (label, (r2, marker, line)) in enumerate(series.items()):
        rows = np.arange(len(names)) + 0.17 * (k - 2)
        axes[0].plot(r2.sel(quantity=names), rows, marker, color=line, mfc="none", ms=5, mew=1.3, label=label)
    for row in range(1, len(names)):
        axes[0].axhline(row - 0.5, color=plots.FAINT, lw=0.5, zorder=0)
    axes[0].axvline(0, color=plots.FAINT, lw=0.8, zorder=0)
    _label_rows(axes[0], names)
    axes[0].set_xlabel("R² (blocked folds)")
    for ax, covariate in zip(axes[1:], ("shape", "colour"), strict=True):
        _plot_null_tests(ax, tests, {(q, f"over_{covariate}"): q for q in names}, "added R²", f"added to {covariate}")
    _add_legend(figure, axes[0])
    return figure, (
        "Left: R² of decoders of hidden states, of the body’s shape (distance to the edge, smoothed mask and its "
        f"slope), of colour and alpha, and of two of these. Middle and right: what hidden states add. {_NULL} The "
        f"null: {tests.attrs['surrogates']} surrogates of the hidden states with the same shape or colour. s: position "
        "along the body; edge: distance to the edge, itself part of the shape."
    )


def _plot_weight_shuffle(tests: xr.Dataset) -> Drawn:
    """A4: the trained rule and rules with shuffled weights."""
    figure, axes = _null_panels(3, 2.5)
    for ax, measure, label in zip(axes, ("r2", "excess"), ("R²", "R² above surrogates’ median"), strict=False):
        _plot_null_tests(ax, tests, {(q, measure): q for q in _LABELS}, label)
    _plot_null_tests(axes[2], tests, {("PC1", "rank_correlation"): "PC1"}, "|ρ| with the radius")
    axes[2].set_ylim(axes[0].get_ylim())
    axes[2].xaxis.set_major_locator(MaxNLocator(3))
    return figure, (
        f"{_NULL} The null: {tests.attrs['weight_shuffles']} rules with shuffled weights, guided by the trained run "
        "(same alive sites, fire masks and size of updates). What they encode as well was not made by training. s: "
        "position along the body; edge: distance to the edge."
    )


def _plot_interventions(pushes: xr.Dataset, projections: xr.Dataset) -> Drawn:
    """A6: pushes along the code, and states without it."""
    figure, axes = _null_panels(3 if projections else 2, 2.9)
    _plot_null_tests(axes[0], pushes, {(q, "mse"): q for q in _LABELS}, "MSE", "after a push")
    _plot_null_tests(axes[1], pushes, {(q, "share_left"): q for q in _LABELS}, "share left", "push left")
    caption = (
        f"{_NULL} Left: MSE {pushes.attrs['eval_steps']} steps after all cells were pushed along a decoder, once, at "
        f"step {pushes.attrs['adult_step']}. Middle: the share of the push that is then left in the states. The null: "
        f"{pushes.attrs['random_directions']} random directions of the same norm."
    )
    if projections:
        rows = {
            (code, measure): f"{verb} {short}"
            for measure, verb in (("excluded_loss", "without"), ("restricted_loss", "only"))
            for code, short in (("x and y", "xy"), ("radius and edge", "re"))
        }
        _plot_null_tests(axes[2], projections, rows, "loss (1: dead)", "planes removed")
        caption += (
            " Right: fitness lost when the plane of a code (xy: of x and y; re: of radius and edge) is removed from "
            f"the states at every step, or all else is. The null: {projections.attrs['null_planes']} planes that "
            "decode the same quantities scrambled, as smooth. For a plane alone, p asks whether the loss is small."
        )
    return figure, caption


def _null_panels(columns: int, height: float, **options: Any) -> tuple[Figure, np.ndarray]:
    """Panels side by side, with space between them for p and q."""
    figure, axes = plots.new_figure(1, columns, height, **options)
    figure.set_layout_engine("constrained", w_pad=0.08)
    return figure, axes[0]


def _plot_null_tests(
    ax: Axes, tests: xr.Dataset, rows: Mapping[tuple[str, str], str], xlabel: str, title: str = ""
) -> None:
    """Statistics (quantity, measure) with their nulls, in labelled rows; those that are not defined are left out."""
    tested = [s for s in rows if s in tests.indexes["statistic"] and np.isfinite(tests.p.sel(statistic=s))]
    plots.plot_null_tests(ax, tests, tested, [rows[s] for s in tested])
    low, high = ax.get_xlim()
    if "R²" in xlabel and low < _LOWEST:
        low = _LOWEST
        ax.set_xlim(left=low)
    if low < 0 < high:
        ax.axvline(0, color=plots.FAINT, lw=0.8, zorder=0)
    ax.set_xlabel(xlabel)
    if title:
        ax.set_title(title, loc="left", pad=18)  # above p and q
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.tick_params(axis="x", labelsize=7.5)


# Runs, and the course of growth


def _plot_runs(decoded: xr.Dataset) -> Drawn:
    """A1 run by run."""
    figure, axes = plots.new_figure(1, 1, 2.3)
    ax, runs = axes[0, 0], decoded.sizes["run"]
    rows = np.arange(decoded.sizes["quantity"])[:, None] + (np.linspace(-0.12, 0.12, runs) if runs > 1 else 0.0)
    r2, sd, left_out = (
        decoded[name].transpose("quantity", "run").values for name in ("r2", "repeat_sd", "left_out_r2")
    )
    blocked = {"fmt": "o", "color": plots.BLUE, "ms": 4.5, "mfc": "none", "lw": 1}
    label = "blocked folds within a run (± sd over repeats)"
    ax.errorbar(r2.ravel(), rows.ravel() - 0.18, xerr=sd.ravel(), **blocked, label=label)
    caption = (
        f"Decoders in each of {runs} runs of this network." if runs > 1 else "Decoders in one run of this network."
    )
    if np.isfinite(left_out).any():
        label = "decoders of the other runs: reproducibility only"
        ax.plot(left_out.ravel(), rows.ravel() + 0.22, "x", color=plots.MUTED, ms=5, label=label)
        caption += (
            " Crosses are high even for one frozen random field that all runs share: they show that runs repeat each "
            "other, not that position is encoded."
        )
    ax.axvline(0, color=plots.FAINT, lw=0.8, zorder=0)
    _label_rows(ax, [_LABELS[str(q)] for q in decoded.quantity.values])
    ax.set_xlabel("R²")
    _add_legend(figure, ax)
    return figure, caption


def _plot_time_course(course: xr.Dataset) -> Drawn:
    """Decoders at every step, the range of the null, and the clock of cell age."""
    figure, panels = _course_panels(course, course.step.values, 2.2, "surrogates, 5 to 95 %")
    for ax, q in zip(panels, course.quantity.values, strict=True):
        steps, results = course.step.values, course.sel(quantity=q)
        ax.plot(steps, results.r2_age, color=plots.ORANGE, lw=1.3, ls="--", label="age of the cell alone")
        ax.plot(steps, results.r2_age + results.gain, color=plots.GREEN, lw=1.2, ls=":", label="age and states")
        ax.plot(steps, results.r2, color=plots.BLUE, lw=1.6, label="states")
        ax.set(title=str(q), xlabel="step")
    panels[0].set(ylabel="R²", ylim=(-1, 1.02))
    _add_legend(figure, panels[0])
    return figure, (
        "R² of position at each step (blocked folds; cut off below −1). Dashed: decoded from the number of steps "
        f"since a cell became mature, a clock that comes for free with growth. Grey: {course.attrs['surrogates']} "
        "surrogates of the states at that step."
    )


def _plot_training(table: xr.Dataset) -> Drawn:
    """A1 and A2 across one training run."""
    steps = table.training_step.values
    figure, panels = _course_panels(table, steps, 2.3, f"{table.attrs['surrogates']} surrogates, 5 to 95 %")
    for ax, q in zip(panels, table.quantity.values, strict=True):
        results = table.sel(quantity=q)
        ax.plot(steps, results.null_median, color=plots.MUTED, lw=1, label="their median")
        ax.plot(steps, results.r2, color=plots.ORANGE, lw=1.2, label="observed")
        _plot_circles(ax, steps, results.r2.values, results.q.values, ms=4.5, mew=1.2)
        if len(steps) > 2 and steps[-1] > 30 * max(1, steps[steps > 0].min(initial=steps[-1])):
            ax.set_xscale("symlog", linthresh=max(1, int(steps[steps > 0].min())))
        ax.set(title=_short_label(q), xlabel="training step")
    panels[0].set(ylabel="R²", ylim=(_LOWEST, 1.02))
    _add_legend(figure, panels[0])
    return figure, (
        "R² of position across one training run (circles filled where q ≤ 0.05 over all snapshots; cut off below "
        f"{number(_LOWEST, 1)}). Gaps: no body to examine."
    )


def _course_panels(table: xr.Dataset, steps: np.ndarray, height: float, label: str) -> tuple[Figure, np.ndarray]:
    """A panel for each quantity, with the 5 to 95 % of its null at each step."""
    figure, axes = plots.new_figure(1, table.sizes["quantity"], height, sharey=True)
    for ax, q in zip(axes[0], table.quantity.values, strict=True):
        null = (table[name].sel(quantity=q) for name in ("null_low", "null_high"))
        ax.fill_between(steps, *null, color=plots.FAINT, lw=0, label=label)
        ax.axhline(0, color=plots.MUTED, lw=0.6, zorder=0)
    return figure, axes[0]


# Rotation test


def _plot_rotation_test(perception: xr.Dataset, states: xr.Dataset) -> Drawn:
    """A7: bodies grown with a rotated perception, and rotated bodies."""
    rows: list[tuple[str, np.ndarray, list[str]]] = []
    caption = ""
    if perception:
        titles = []
        for angle in _measured(perception.body_rotation).isel(run=0):
            found = f"{number(float(angle), 0)}°" if np.isfinite(angle) else "no body"
            titles.append(f"{float(angle.angle):g}°: {found}")
        rows.append(("grown", perception.picture.values, titles))
        crosses = np.isfinite(perception.gradient_rotation).any()
        gradients = " and of the gradients of PC1 to PC3 (crosses)" if crosses else ""
        caption = (
            "Grown: with the perception rotated by the first angle, by the same key; the second is the measured "
            "rotation of the body. Right: rotation of the perception, and measured rotation of the body (circles)"
            f"{gradients}, every run; at 0°, another run. "
        )
    if states:
        fitness = states.fitness_rotated.isel(run=0)
        rows.append(("rotated", states.picture.values, [f"{float(w.angle):g}°: W {number(float(w))}" for w in fitness]))
        caption += (
            f"Rotated: grown bodies {states.attrs['eval_steps']} steps after they were rotated under an unrotated "
            "perception; W relative to the control rotated alike."
        )
    columns = max(len(pictures) + (name == "grown") for name, pictures, _ in rows)
    windows, aspects = zip(*[_crop(np.any(pictures[..., 3] > 0.1, axis=0)) for _, pictures, _ in rows], strict=True)
    height = 0.2 + sum(0.3 + min(a, 1.3) * plots.WIDTH / (columns + 0.4) for a in aspects)
    figure, axes = plots.new_figure(len(rows), columns, height, height_ratios=aspects)
    for ax in axes.ravel():
        plots.hide_frame(ax)
    for panels, (name, pictures, titles), window in zip(axes, rows, windows, strict=True):
        for ax, picture, title in zip(panels, pictures, ["0°", *titles[1:]], strict=False):
            plots.draw_body(ax, picture[window], title)
        panels[0].set_ylabel(name, fontsize=10)
        if name == "grown":
            _plot_rotations(panels[len(pictures)], perception)
    return figure, caption


def _plot_rotations(ax: Axes, perception: xr.Dataset) -> None:
    """Rotation of bodies and gradients against the rotation of the perception."""
    ax.spines[["left", "bottom"]].set_visible(True)
    limit = max(180.0, float(np.abs(perception.angle).max()))
    ax.plot([0, limit], [0, limit], color=plots.FAINT, lw=1, zorder=0)
    for name, marker, colour in (("gradient_rotation", "x", plots.ORANGE), ("body_rotation", "o", plots.BLUE)):
        measured = _measured(perception[name]).transpose("angle", "run").values
        ax.plot(perception.angle.values, measured, marker, color=colour, mfc="none", ms=4.5)
    ax.set(xlabel="perception (°)", ylabel="measured (°)", aspect="equal", xticks=[0, 90, 180], yticks=[0, 90, 180])
    ax.tick_params(length=3)


def _measured(rotation: xr.DataArray) -> xr.DataArray:
    """Measured rotations, within 180 degrees of those of the perception."""
    return rotation.angle + (rotation - rotation.angle + 180) % 360 - 180


# Several networks


def _plot_networks(table: xr.Dataset) -> Drawn:
    """A1 and A2 of every organism, row by row."""
    names = [str(n) for n in table.organism.values]
    figure, axes = plots.new_figure(1, table.sizes["quantity"], 0.3 * len(names) + 1.0, sharey=True)
    rows = np.arange(len(names))
    for ax, q in zip(axes[0], table.quantity.values, strict=True):
        results = table.sel(quantity=q)
        ax.hlines(rows, results.null_low, results.null_high, color=plots.FAINT, lw=5, zorder=1)
        ax.vlines(results.null_median, rows - 0.28, rows + 0.28, color=plots.INK, lw=1.1, zorder=2)
        _plot_circles(ax, results.r2.clip(_LOWEST).values, rows, results.q.values, ms=6, mew=1.4)
        ax.axvline(0, color=plots.MUTED, lw=0.6, zorder=0)
        ax.set(title=_short_label(q), xlabel="R²", xlim=(_LOWEST - 0.08, 1.05))
        ax.tick_params(axis="y", length=0)
    _label_rows(axes[0, 0], names)
    return figure, (
        f"R² of position in each of {len(names)} organisms, one run each (circles, filled where q ≤ 0.05 over all of "
        f"them; R² below {number(_LOWEST, 1)} is drawn there), with the 5 to 95 % (grey) and the median (line) of "
        f"{table.attrs['surrogates']} surrogates."
    )


def _plot_directions(agreement: xr.Dataset, directions: Sequence[xr.Dataset]) -> Drawn:
    """A5: the direction in which each network encodes position best."""
    names = [str(n) for n in agreement.network.values]
    figure, axes = plots.new_figure(1, 2, 0.26 * len(names) + 1.5, width_ratios=[1.5, 1])
    left, right = axes[0]
    rng = np.random.default_rng(0)  # scatters the points within their row
    body = agreement.attrs["frame"] == "body"
    for row, direction in enumerate(directions):
        null = (direction.null_angle.values - (float(direction.body_angle) if body else 0.0)) % 180
        left.plot(null, row + rng.uniform(-0.25, 0.25, len(null)), ".", color=plots.FAINT, ms=3, zorder=1)
    left.plot(agreement.angle, range(len(names)), "o", color=plots.ORANGE, ms=7, zorder=3)
    left.axvline(agreement.direction, color=plots.MUTED, lw=1, ls="--", zorder=0)
    _label_rows(left, names)
    origin = "body’s long axis" if body else "x axis, towards y"
    xlabel = f"direction decoded best (° from the {origin})"
    left.set(xlim=(0, 180), xticks=[0, 45, 90, 135, 180], xlabel=xlabel)
    right.hist(agreement.null_length.values, np.linspace(0, 1, 31), color=plots.FAINT)
    right.axvline(agreement.length, color=plots.ORANGE, lw=2)
    right.set(xlabel="agreement (length of the mean axis)", ylabel="draws", xlim=(0, 1))
    return figure, (
        "Left: the direction across the body along which position is decoded best, in each network (orange) and in "
        "its surrogates (grey dots), which the shape of the body alone draws to some directions; dashed: the mean "
        "axis. Right: agreement of the networks (orange), and of one surrogate of each, drawn "
        f"{agreement.attrs['draws']} times."
    )


# Parts of a panel


def _plot_circles(ax: Axes, x: np.ndarray, y: np.ndarray, q: np.ndarray, **options: Any) -> None:
    """Observed values, filled where q ≤ 0.05."""
    for selected, fill in ((q <= 0.05, plots.ORANGE), (q > 0.05, "none")):
        ax.plot(x[selected], y[selected], "o", color=plots.ORANGE, mfc=fill, zorder=3, **options)


def _label_rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)


def _add_legend(figure: Figure, ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    add_legend(figure, handles, labels)


def _short_label(quantity: object) -> str:
    return "edge" if quantity == "edge" else _LABELS[str(quantity)]


_FIGURES: dict[
    str, tuple[tuple[str, ...], Callable[..., Drawn]]
] = {  # by name: the parts that they show, any of which may be missing but not all
    "maps": (("pca", "position"), plot_pca_maps),
    "development": (("pca",), _plot_growth),
    "position": (("position",), _plot_position),
    "shape-and-colour": (("shape_and_colour",), _plot_shape_and_colour),
    "runs": (("runs",), _plot_runs),
    "spectrum": (("pca",), _plot_spectrum),
    "weight-shuffle": (("weight_shuffle",), _plot_weight_shuffle),
    "time-course": (("time_course",), _plot_time_course),
    "interventions": (("pushes", "projections"), _plot_interventions),
    "rotation-test": (("rotated_perception", "rotated_states"), _plot_rotation_test),
    "bodies": (("bodies",), _plot_pca_bodies),
    "training": (("training",), _plot_training),
    "networks": (("networks",), _plot_networks),
    "directions": (("agreement", "directions"), _plot_directions),
}


def axes_figures(parts: Mapping[str, Any]) -> dict[str, Drawn]:
    """Figures and captions by name, in the order of the page, of the parts that there are.

    Args:
        parts: results of one organism, by the names of the fields of `AxesResult`; of several: bodies (their results),
            training or networks (`compare_networks` of them), agreement (`direction_agreement`) and directions (the
            results that it compares).
    """
    results: Mapping[str, Any] = defaultdict(xr.Dataset, parts)
    return {
        name: plot(*(results[part] for part in shown))
        for name, (shown, plot) in _FIGURES.items()
        if any(results[part] for part in shown)
    }
