"""Figures of the axes assay: finished results, each value with its null, as a figure and its caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.assays.axes.pca_plots import pca_figures, plot_pca_bodies
from analysis.assays.axes.run import AxesResult
from analysis.report import plots
from analysis.report.format import number

_QUANTITY_LABELS = {"x": "x", "y": "y", "s": "s, along the body", "radius": "radius", "edge": "distance to edge"}
_MEASURE_LABELS = {
    "plane_r2": "plane R² of {}",
    "rank_correlation": "{} and radius, |ρ|",
    "horseshoe": "{} and PC1², |r|",
    "r2": "R² of {}",
}
_LOWEST = -1.2  # of an R² that is drawn; R² has no lower bound
_NULL = (
    "Circles: observed, filled where q ≤ 0.05. Grey dots: the null; bar: its 5 to 95 %; line: its median. p is "
    "one-sided; q is FDR-corrected over the rows of the test."
)


def network_figures(axes: AxesResult) -> dict[str, tuple[Figure, str]]:
    """Figures and captions of one organism by name; those that there are no results for are left out."""
    figures = pca_figures(axes.pca, axes.position) if axes.pca else {}
    if axes.position:
        figures["position"] = _plot_position(axes.position)
    if axes.shape_and_colour:
        figures["shape-and-colour"] = _plot_shape_and_colour(axes.shape_and_colour)
    if axes.runs:
        figures["runs"] = _plot_runs(axes.runs)
    if axes.weight_shuffle:
        figures["weight-shuffle"] = _plot_weight_shuffle(axes.weight_shuffle)
    if axes.time_course:
        figures["time-course"] = _plot_decoding_over_steps(axes.time_course)
    if axes.pushes or axes.projections:
        figures["interventions"] = _plot_interventions(axes.pushes, axes.projections)
    if axes.rotated_perception or axes.rotated_states:
        figures["rotation-test"] = _plot_rotation_test(axes.rotated_perception, axes.rotated_states)
    return figures


def comparison_figures(
    results: Sequence[AxesResult], table: xr.Dataset, agreement: xr.Dataset
) -> dict[str, tuple[Figure, str]]:
    """Figures and captions of several organisms by name.

    Args:
        results: one per organism.
        table: `compare_networks` of them.
        agreement: `direction_agreement` of those that have a direction; empty if it was not tested.
    """
    figures = {}
    bodies = [axes for axes in results if axes.pca]
    if bodies:
        figures["bodies"] = plot_pca_bodies(bodies)
    if table.attrs["one_training_run"]:
        figures["training"] = _plot_training(table)
    else:
        figures["networks"] = _plot_networks(table)
    if agreement:
        figures["directions"] = _plot_directions(agreement, [axes.direction for axes in results if axes.direction])
    return figures


def _plot_position(tests: xr.Dataset) -> tuple[Figure, str]:
    """A0 to A2: gradients and decoders."""
    order = list(_MEASURE_LABELS)
    statistics = sorted(tests.statistic.values, key=lambda s: order.index(s[1]))
    rows = {s: _MEASURE_LABELS[s[1]].format(_QUANTITY_LABELS.get(s[0], s[0])) for s in statistics}
    figure, axes = plots.new_figure(1, 1, 0.32 * len(rows) + 0.6)
    _plot_null_tests(axes[0, 0], tests, rows, "statistic")
    n = tests.attrs["surrogates"]
    return figure, (
        f"{_NULL} The null: {n} surrogates as smooth as the data, so that p is at least {1 / (n + 1):.3g}. R² of "
        "decoders is cross-validated by blocks of 8×8 cells; below 0, the decoder is worse than guessing the mean."
    )


def _plot_shape_and_colour(tests: xr.Dataset) -> tuple[Figure, str]:
    """A3: what decodes position, and what hidden states add to shape and to colour."""
    figure, axes = plots.new_figure(1, 3, 3.9, width_ratios=[1.5, 1, 1])
    figure.set_layout_engine("constrained", w_pad=0.08)  # p and q stand between panels
    shape, colour = tests.sel(measure="over_shape"), tests.sel(measure="over_colour")
    series = {
        "hidden": (shape.r2_hidden, "^", plots.BLUE),
        "shape": (shape.r2_covariate, "s", plots.GREEN),
        "shape + hidden": (shape.r2_both, "+", plots.GREEN),
        "colour": (colour.r2_covariate, "D", plots.PURPLE),
        "colour + hidden": (colour.r2_both, "x", plots.PURPLE),
    }
    ax, names = axes[0, 0], [str(q) for q in shape.quantity.values]
    for k, (label, (r2, marker, line)) in enumerate(series.items()):
        rows = np.arange(len(names)) + 0.17 * (k - 2)
        ax.plot(r2.sel(quantity=names), rows, marker, color=line, mfc="none", ms=5, mew=1.3, label=label)
    for row in range(1, len(names)):
        ax.axhline(row - 0.5, color=plots.FAINT, lw=0.5, zorder=0)
    _label_quantities(ax, names)
    ax.set_yticks(range(len(names)), names)  # as in the other panels
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("R² (blocked folds)")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    for ax, covariate in zip(axes[0, 1:], ("shape", "colour"), strict=True):
        _plot_null_tests(ax, tests, {(q, f"over_{covariate}"): q for q in names}, "added R²", f"added to {covariate}")
    return figure, (
        "Left: R² of decoders of hidden states, of the body’s shape (distance to the edge, smoothed mask and its "
        f"slope), of colour and alpha, and of two of these. Middle and right: what hidden states add. {_NULL} The "
        f"null: {tests.attrs['surrogates']} surrogates of the hidden states with the same shape or colour. s: position "
        "along the body; edge: distance to the edge, itself part of the shape."
    )


def _plot_runs(decoded: xr.Dataset) -> tuple[Figure, str]:
    """A1 run by run."""
    figure, axes = plots.new_figure(1, 1, 2.3)
    ax, names, runs = axes[0, 0], [str(q) for q in decoded.quantity.values], decoded.sizes["run"]
    spread = np.linspace(-0.12, 0.12, runs) if runs > 1 else np.zeros(1)
    labels = ["blocked folds within a run (± sd over repeats)", "decoders of the other runs: reproducibility only"]
    for k, name in enumerate(names):
        results = decoded.sel(quantity=name)
        blocked = {"color": plots.BLUE, "ms": 4.5, "mfc": "none", "lw": 1, "label": labels[0] if k == 0 else None}
        ax.errorbar(results.r2, k - 0.18 + spread, xerr=results.repeat_sd, fmt="o", **blocked)
        label = labels[1] if k == 0 else None
        ax.plot(results.left_out_r2, k + 0.22 + spread, "x", color=plots.MUTED, ms=5, label=label)
    _label_quantities(ax, names)
    ax.set_xlabel("R²")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure, (
        f"Decoders in each of {runs} runs of this network. Crosses are high even for one frozen random field that all "
        "runs share: they show that runs repeat each other, not that position is encoded."
    )


def _plot_weight_shuffle(tests: xr.Dataset) -> tuple[Figure, str]:
    """A4: the trained rule and rules with shuffled weights."""
    figure, axes = plots.new_figure(1, 2, 2.5)
    figure.set_layout_engine("constrained", w_pad=0.08)
    _plot_null_tests(axes[0, 0], tests, {(q, "r2"): q for q in _QUANTITY_LABELS}, "R²")
    excess = {(q, "excess"): q for q in _QUANTITY_LABELS}
    _plot_null_tests(axes[0, 1], tests, excess, "R² above the surrogates’ median")
    return figure, (
        f"{_NULL} The null: {tests.attrs['weight_shuffles']} rules with shuffled weights, guided by the trained run "
        "(same alive sites, fire masks and size of updates). What they encode as well was not made by training. s: "
        "position along the body; edge: distance to the edge."
    )


def _plot_decoding_over_steps(course: xr.Dataset) -> tuple[Figure, str]:
    """Decoders at every step, the range of the null, and the clock of cell age."""
    figure, axes = plots.new_figure(1, course.sizes["quantity"], 2.2, sharey=True)
    steps = course.step.values
    for ax, q in zip(axes[0], course.quantity.values, strict=True):
        results = course.sel(quantity=q)
        ax.fill_between(
            steps, results.null_low, results.null_high, color=plots.FAINT, lw=0, label="surrogates, 5 to 95 %"
        )
        ax.plot(steps, results.r2_age, color=plots.ORANGE, lw=1.3, ls="--", label="age of the cell alone")
        ax.plot(steps, results.r2_age + results.gain, color=plots.GREEN, lw=1.2, ls=":", label="age and states")
        ax.plot(steps, results.r2, color=plots.BLUE, lw=1.6, label="states")
        ax.axhline(0, color=plots.MUTED, lw=0.6, zorder=0)
        ax.set(title=str(q), xlabel="step")
    axes[0, 0].set(ylabel="R²", ylim=(-1, 1.02))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure, (
        "R² of position at each step (blocked folds; cut off below −1). Dashed: decoded from the number of steps "
        f"since a cell became mature, a clock that comes for free with growth. Grey: {course.attrs['surrogates']} "
        "surrogates of the states at that step."
    )


def _plot_interventions(pushes: xr.Dataset, projections: xr.Dataset) -> tuple[Figure, str]:
    """A6: pushes along the code, and states without it."""
    figure, axes = plots.new_figure(1, 3 if projections else 2, 2.9)
    figure.set_layout_engine("constrained", w_pad=0.08)
    for ax, measure, label, title in (
        (axes[0, 0], "mse", "MSE", "after a push"),
        (axes[0, 1], "share_left", "share left", "push left"),
    ):
        _plot_null_tests(ax, pushes, {(q, measure): q for q in _QUANTITY_LABELS}, label, title)
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
        _plot_null_tests(axes[0, 2], projections, rows, "loss (1: dead)", "planes removed")
        caption += (
            " Right: fitness lost when the plane of a code (xy: of x and y; re: of radius and edge) is removed from "
            f"the states at every step, or all else is. The null: {projections.attrs['null_planes']} planes that "
            "decode the same quantities scrambled, as smooth. For a plane alone, p asks whether the loss is small."
        )
    return figure, caption


def _plot_rotation_test(perception: xr.Dataset, states: xr.Dataset) -> tuple[Figure, str]:
    """A7: bodies grown with a rotated perception, and rotated bodies."""
    rows: list[tuple[str, np.ndarray, list[str]]] = []
    caption = ""
    if perception:
        found = perception.angle + _deviation(perception.body_rotation.isel(run=0))
        labels = [f"{number(float(f), 0)}°" if np.isfinite(f) else "no body" for f in found]
        rows.append(
            (
                "grown",
                perception.picture.values,
                [f"{float(a):g}°: {n}" for a, n in zip(found.angle, labels, strict=True)],
            )
        )
        caption = (
            "Grown: with the perception rotated by the first angle, by the same key; the second is the measured "
            "rotation of the body. Right: rotation of the perception, and measured rotation of the body (circles) and "
            "of the gradients of PC1 to PC3 (crosses), every run; at 0°, another run. "
        )
    if states:
        fitness = states.fitness_rotated.isel(run=0)
        rows.append(("rotated", states.picture.values, [f"{float(w.angle):g}°: W {number(float(w))}" for w in fitness]))
        caption += (
            f"Rotated: grown bodies {states.attrs['eval_steps']} steps after they were rotated under an unrotated "
            "perception; W relative to the control rotated alike."
        )
    columns = max(len(pictures) + (name == "grown") for name, pictures, _ in rows)
    windows = [plots.body_window(np.any(pictures[..., 3] > 0.1, axis=0)) for _, pictures, _ in rows]
    aspects = [(y.stop - y.start) / (x.stop - x.start) for y, x in windows]
    height = 0.2 + sum(0.3 + min(a, 1.3) * plots.WIDTH / (columns + 0.4) for a in aspects)
    figure, axes = plots.new_figure(len(rows), columns, height, height_ratios=aspects)
    for ax in axes.ravel():
        plots.hide_frame(ax)
    for panels, (name, pictures, titles), (y, x) in zip(axes, rows, windows, strict=True):
        for ax, picture, title in zip(panels, pictures, ["0°", *titles[1:]], strict=False):
            plots.draw_body(ax, picture[y, x], title)
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
        measured = (perception.angle + _deviation(perception[name])).transpose("angle", "run").values
        angles = np.broadcast_to(perception.angle.values[:, None], measured.shape)
        ax.plot(angles.ravel(), measured.ravel(), marker, color=colour, mfc="none", ms=4.5)
    ax.set(xlabel="perception (°)", ylabel="measured (°)", aspect="equal", xticks=[0, 90, 180], yticks=[0, 90, 180])
    ax.tick_params(length=3)


def _deviation(rotation: xr.DataArray) -> xr.DataArray:
    """How far measured rotations deviate from those of the perception, from -180 to 180 degrees."""
    return (rotation - rotation.angle + 180) % 360 - 180


# Several networks


def _plot_networks(table: xr.Dataset) -> tuple[Figure, str]:
    """A1 and A2 of every organism, row by row."""
    names = [str(n) for n in table.organism.values]
    figure, axes = plots.new_figure(1, table.sizes["quantity"], 0.3 * len(names) + 1.0, sharey=True)
    for ax, q in zip(axes[0], table.quantity.values, strict=True):
        for row in range(len(names)):
            result = table.sel(quantity=q).isel(organism=row)
            if not np.isfinite(result.r2):
                continue
            band = {"color": plots.FAINT, "lw": 5, "solid_capstyle": "butt", "zorder": 1}
            ax.plot([result.null_low, result.null_high], [row, row], **band)
            ax.plot([result.null_median] * 2, [row - 0.28, row + 0.28], color=plots.INK, lw=1.1, zorder=2)
            fill = plots.ORANGE if result.q <= 0.05 else "none"
            ax.plot(max(float(result.r2), _LOWEST), row, "o", ms=6, color=plots.ORANGE, mfc=fill, mew=1.4, zorder=3)
        ax.axvline(0, color=plots.MUTED, lw=0.6, zorder=0)
        ax.set(title=_short_label(q), xlabel="R²", xlim=(_LOWEST - 0.08, 1.05))
        ax.tick_params(axis="y", length=0)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    return figure, (
        f"R² of position in each of {len(names)} organisms, one run each (circles, filled where q ≤ 0.05 over all of "
        f"them; R² below {number(_LOWEST, 1)} is drawn there), with the 5 to 95 % (grey) and the median (line) of "
        f"{table.attrs['surrogates']} surrogates."
    )


def _plot_training(table: xr.Dataset) -> tuple[Figure, str]:
    """A1 and A2 across one training run."""
    figure, axes = plots.new_figure(1, table.sizes["quantity"], 2.3, sharey=True)
    steps = table.training_step.values
    for ax, q in zip(axes[0], table.quantity.values, strict=True):
        results = table.sel(quantity=q)
        label = f"{table.attrs['surrogates']} surrogates, 5 to 95 %"
        ax.fill_between(steps, results.null_low, results.null_high, color=plots.FAINT, lw=0, label=label)
        ax.plot(steps, results.null_median, color=plots.MUTED, lw=1, label="their median")
        ax.plot(steps, results.r2, color=plots.ORANGE, lw=1.2, label="observed")
        for selected, fill in ((results.q <= 0.05, plots.ORANGE), (results.q > 0.05, "none")):
            ax.plot(steps[selected], results.r2[selected], "o", color=plots.ORANGE, mfc=fill, ms=4.5, mew=1.2)
        ax.axhline(0, color=plots.MUTED, lw=0.6, zorder=0)
        if len(steps) > 2 and steps[-1] > 30 * max(1, steps[steps > 0].min(initial=steps[-1])):
            ax.set_xscale("symlog", linthresh=max(1, int(steps[steps > 0].min())))
        ax.set(title=_short_label(q), xlabel="training step")
    axes[0, 0].set(ylabel="R²", ylim=(_LOWEST, 1.02))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure, (
        "R² of position across one training run (circles filled where q ≤ 0.05 over all snapshots; cut off below "
        f"{number(_LOWEST, 1)}). Gaps: no body to examine."
    )


def _plot_directions(agreement: xr.Dataset, directions: Sequence[xr.Dataset]) -> tuple[Figure, str]:
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
    left.set_yticks(range(len(names)), names)
    left.tick_params(axis="y", length=0)
    origin = "body’s long axis" if body else "x axis, towards y"
    left.set(xlim=(0, 180), xlabel=f"direction decoded best (° from the {origin})", ylim=(len(names) - 0.5, -0.5))
    left.set_xticks([0, 45, 90, 135, 180])
    right.hist(agreement.null_length.values, np.linspace(0, 1, 31), color=plots.FAINT)
    right.axvline(agreement.length, color=plots.ORANGE, lw=2)
    right.set(xlabel="agreement (length of the mean axis)", ylabel="draws", xlim=(0, 1))
    return figure, (
        "Left: the direction across the body along which position is decoded best, in each network (orange) and in "
        "its surrogates (grey dots), which the shape of the body alone draws to some directions; dashed: the mean "
        "axis. Right: agreement of the networks (orange), and of one surrogate of each, drawn "
        f"{agreement.attrs['draws']} times."
    )


# Panels


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


def _label_quantities(ax: Axes, names: Sequence[str]) -> None:
    ax.axvline(0, color=plots.FAINT, lw=0.8, zorder=0)
    ax.set_yticks(range(len(names)), [_QUANTITY_LABELS[n] for n in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)


def _short_label(quantity: object) -> str:
    return "edge" if quantity == "edge" else _QUANTITY_LABELS[str(quantity)]
