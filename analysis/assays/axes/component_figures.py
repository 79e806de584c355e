"""Figures of components: maps on the body, growth in their colours, scree and loadings."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from analysis.recording import spec_of
from analysis.report import plots
from nca.spec import channel_names

STEPS = (10, 20, 30, 50, 75, 96, 150, 200, 400, 1000, 2000)


def maps(components: xr.Dataset, tests: xr.Dataset | None = None, run: int = 0) -> tuple[Figure, str]:
    """The first components on the body at the step of the PCA, a surrogate's beneath if there are tests."""
    at = components.attrs["at"]
    scores = components.scores.isel(run=run).sel(step=at).values
    shown = min(plots.SHOWN, scores.shape[-1])
    rows, columns = plots.window(np.isfinite(scores[..., 0]))
    sets = [("data", scores)] + ([("surrogate", tests.surrogate_scores.values)] if tests else [])
    limits = colour_limits(scores)
    tall = (rows.stop - rows.start) / (columns.stop - columns.start)
    ratios = [*[1.0] * len(sets), 0.03]
    made, axes = plots.figure(
        len(sets) + 1,
        shown + 1,
        len(sets) * tall * plots.WIDTH / (shown + 1.3) + 1.05,
        height_ratios=ratios,
    )
    for row, (name, values) in zip(axes, sets, strict=False):
        cropped = values[rows, columns, :shown]
        for k in range(shown):
            image = plots.signed_map(row[k], cropped[..., k], limits[k])
            plots.outline(row[k], np.isfinite(cropped[..., k]))
            if name == sets[-1][0]:
                plots.scale_in(axes[-1, k], image, "score")
        plots.coloured_map(row[shown], cropped, limits)
        if len(sets) > 1:
            row[0].set_ylabel(name, fontsize=10)
    for k in range(shown):
        axes[0, k].set_title(f"PC{k + 1}, {100 * float(components.explained[k]):.0f} %")
    axes[0, shown].set_title(f"PC1 to {shown} as RGB" if shown > 1 else "PC1")
    axes[-1, shown].set_axis_off()  # the others have their scales there
    about = (
        f"Scores of mature cells at step {at}, with each component's share of the variance "
        f"({components.attrs['channels']} channels, {components.attrs['scaling']}, centred; "
        f"{components.attrs['sign']}); colours end where 98 of 100 cells lie. At the right "
        f"{', '.join(f'PC{k} is {c}' for k, c in enumerate(('red', 'green', 'blue')[:shown], 1))}."
    )
    beneath = (
        " Above, the data; below, one of the surrogates: a random field with the same covariance of channels "
        "and the same power at every scale, which knows nothing of place. What the eye finds in both is no "
        "finding."
    )
    alone = " Maps of any smooth field look like gradients: only a null tells whether these are."
    return made, about + (beneath if tests else alone)


def colour_limits(scores: np.ndarray) -> list[float]:
    """What the ends of the colour scales mean: 98 of 100 cells lie between."""
    known = np.abs(scores[np.isfinite(scores).all(-1)][:, : plots.SHOWN])
    size = min(plots.SHOWN, scores.shape[-1])
    return [float(v) or 1.0 for v in np.quantile(known, 0.98, axis=0)] if len(known) else [1.0] * size


def development(components: xr.Dataset, run: int = 0, most: int = 7) -> tuple[Figure, str]:
    """The first components as colours, from the first body on."""
    steps = shown_steps(components, run, most)
    scores = components.scores.isel(run=run).sel(step=steps).values[..., : plots.SHOWN]
    limits = colour_limits(components.scores.isel(run=run).sel(step=components.attrs["at"]).values)
    rows, columns = plots.window(np.isfinite(scores[..., 0]).any(0))
    tall = (rows.stop - rows.start) / (columns.stop - columns.start)
    made, axes = plots.figure(1, len(steps), 0.35 + tall * plots.WIDTH / max(len(steps), 3))
    for ax, step, values in zip(axes[0], steps, scores, strict=True):
        plots.coloured_map(ax, values[rows, columns], limits, f"step {step}")
    which = "the first three components" if components.sizes["pc"] >= 3 else "the components"
    return made, (
        f"Development: {which}, fitted at step {components.attrs['at']}, as red, green and blue on the "
        "growing body: equal colours are equal states."
    )


def shown_steps(components: xr.Dataset, run: int, most: int) -> list[int]:
    """Recorded steps worth a map: those with a body, the step of the PCA among them."""
    at = int(components.attrs["at"])
    alive = np.isfinite(components.scores.isel(run=run, pc=0).values).any((1, 2))
    there = components.step.values[alive]
    wanted = [n for n in STEPS if n < at and n in there]
    return sorted({*wanted[-(most - 1) :], at})


def spectrum(components: xr.Dataset) -> tuple[Figure, str]:
    """Scree and loadings."""
    names = channel_names(spec_of(components))
    made, axes = plots.figure(1, 2, 2.9, width_ratios=[1, 1.35])
    plots.scree(axes[0, 0], components)
    image = plots.loadings(axes[0, 1], components, {n: i for i, n in enumerate(names)})
    plots.scale_bar(axes[0, 1], image, "loading")
    return made, (
        "Left: variance by component; grey lines at 90, 95 and 99 %. Right: how each of the "
        f"{components.sizes['channel']} channels (its number among {len(names)} in brackets) enters the "
        "components."
    )
