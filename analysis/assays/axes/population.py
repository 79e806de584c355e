"""What is measured of every network where networks are compared: position beyond smoothness, and components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from analysis import metrics
from analysis.assays.axes.config import AxesConfig
from analysis.assays.axes.decoding import position_tests
from analysis.assays.axes.pca import PCA_MIN_CELLS, pca
from analysis.assays.population import Measure, PopulationAssay
from analysis.recording import label_states
from nca.errors import UserError
from nca.organism import Organism
from nca.progress import Log, silent
from nca.spec import hidden_channels

_POSITION = (
    Measure("x", "x beyond smoothness", 0.0, title="x"),
    Measure("y", "y beyond smoothness", 0.0, title="y"),
    Measure("radius", "the radius beyond smoothness", 0.0, main=False, title="radius"),
    Measure("edge", "the distance to the edge beyond smoothness", 0.0, main=False, title="distance to edge"),
)
_COMPONENTS = (
    Measure("n_components", "the number of components for 95 % of the variance", title="components for 95 %"),
    Measure("explained", "the share of PC1", title="share of PC1"),
    Measure("radius_correlation", "the rank correlation of PC1 with the radius", title="PC1 and radius, |ρ|"),
    Measure("plane_r2", "the plane R² of PC1", title="PC1 a plane, R²"),
)


def _measure_position(
    organism: Organism, states: np.ndarray, config: AxesConfig, log: Log = silent
) -> dict[str, Mapping[str, float]]:
    """R2 of position, decoded with blocked folds (A1), minus the median over band-rotated surrogates (A2).

    Returns:
        value and r2 are means over runs; low and high are the surrogates' 5 and 95 % on the scale of the value; z is
        the excess over the surrogates' mean in their standard deviations, mean over runs; p is that of the first run.
    """
    log(f"{organism.name}: decoders and surrogates at step {config.adult_step}")
    recording, components = _components_of(organism, states, config)
    options: Any = {"surrogates": config.surrogates, "cv_repeats": config.cv_repeats, "seed": config.seed}
    tests = [
        position_tests(recording, components, run=run, **options)
        .sel(measure="r2")
        .sel(quantity=[m.name for m in _POSITION])
        for run in range(recording.sizes["run"])
    ]
    columns = {
        "value": np.mean([t.observed.values - t.null_median.values for t in tests], axis=0),
        "low": np.mean([t.null_low.values - t.null_median.values for t in tests], axis=0),
        "high": np.mean([t.null_high.values - t.null_median.values for t in tests], axis=0),
        "z": np.mean([(t.observed - t.null.mean("surrogate")) / t.null.std("surrogate") for t in tests], axis=0),
        "p": tests[0].p.values,
        "r2": np.mean([t.observed.values for t in tests], axis=0),
    }
    return {m.name: {name: float(v[k]) for name, v in columns.items()} for k, m in enumerate(_POSITION)}


def _measure_components(
    organism: Organism, states: np.ndarray, config: AxesConfig, log: Log = silent
) -> dict[str, float]:
    """How many components there are, and how the first one lies on the body."""
    components = _components_of(organism, states, config)[1]
    return {
        "n_components": float(components.n_components.sel(share=95)),
        "explained": float(components.explained[0]),
        "radius_correlation": float(components.radius_correlation[:, 0].mean()),
        "plane_r2": float(components.plane_r2[:, 0].mean()),
    }


def _components_of(organism: Organism, states: np.ndarray, config: AxesConfig) -> tuple[xr.Dataset, xr.Dataset]:
    """The runs that have a body, as a recording, and their components.

    Raises:
        UserError: no run has a body.
    """
    cells = np.asarray(metrics.mature_count(organism.rule, states))
    complete = (cells >= PCA_MIN_CELLS) & ~np.asarray(metrics.exploded(states))
    if not complete.any():
        raise UserError(f"No run has a body of {PCA_MIN_CELLS} or more cells at step {config.adult_step}.")
    recording = label_states(organism, states[complete][:, None], steps=[config.adult_step])
    channels = config.channels if hidden_channels(organism.rule.spec) else "all"
    return recording, pca(recording, step=config.adult_step, channels=channels, scaling=config.scaling)


def _position_method(config: Any) -> str:
    return (
        "For each network: R² of x, y, the radius and the distance to the edge, decoded from its hidden states "
        "with cells held out by blocks of 8×8 (A1), minus the median of the same for "
        f"{config.surrogates} band-rotated surrogates of these states (A2), which keep their smoothness, covariance "
        f"and power at every scale; mean over {config.runs} runs. z is the excess over the surrogates’ mean in "
        "their standard deviations; p is the rank of the first run among its surrogates. The excess may be above 0 "
        "where R² itself is not: then smooth fields do worse still, and position cannot be decoded; such networks "
        "are counted apart. Bodies as small as these have few blocks, so that decoders extrapolate and power is "
        "low. The surrogates’ width depends on the size and shape of a body, which differ between regimes: the "
        "tests are therefore repeated on z."
    )


def _components_method(config: Any) -> str:
    return (
        f"Principal components of the hidden states of mature cells, centred, fitted on {config.runs} runs of a "
        "network together. Any smooth field shows gradients: nothing here says that a body has axes."
    )


POPULATION = PopulationAssay(
    "axes",
    measures=lambda config: _POSITION,
    measure=_measure_position,
    null=lambda config: f"{config.surrogates} band-rotated surrogates of each network’s own states",
    method=_position_method,
    axis="R² above the surrogates’ median",
    published_step=True,
    excluded_runs=1,
)
COMPONENTS = PopulationAssay(
    "components",
    measures=lambda config: _COMPONENTS,
    measure=_measure_components,
    null=lambda config: "an exchange of the regimes within a lineage; the components themselves have no null here",
    method=_components_method,
    published_step=True,
    excluded_runs=None,
)
