"""`nca robust`: fitness against dose of every perturbation, return to the control, and spread between runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.robustness.canalization import grow_with_spread
from analysis.assays.robustness.config import RobustnessConfig
from analysis.assays.robustness.dose_response import Pictures, measure_doses
from analysis.report.notebook import ReportHtml
from analysis.rollouts import run_keys, with_adult_step
from nca.organism import Organism
from nca.progress import Log, Progress, silent


@dataclass(frozen=True)
class RobustnessResult(ReportHtml):
    """How much perturbation one organism tolerates.

    Attributes:
        organism: what was perturbed.
        config: how, with `full` already applied.
        doses: a row per perturbation, dose and run: fitness (NaN: not defined; -inf: exploded),
            fitness_displaced (with the target moved by up to 4 cells, where that is better), log_mse_increase over
            the control, mature_cells, mature_cells_control, overgrown, exploded.
        returns: Dataset over (dose, run, step): distance of the state to its control after noise added once, as a
            share of the control's norm; between_runs (run, step), that between controls of different keys.
        spread: Dataset over (pair, step): distances between runs as they grow, of picture and hidden channels.
        no_body: why nothing was perturbed; empty where it was.
        skipped: what was left out, and why.
        portrait: the first run's grown body, premultiplied RGBA.
        pictures: the first run's body at the end, by (perturbation, dose); on a smaller canvas, that canvas.
    """

    organism: Organism
    config: RobustnessConfig
    doses: pd.DataFrame = field(default_factory=pd.DataFrame)
    returns: xr.Dataset = field(default_factory=xr.Dataset)
    spread: xr.Dataset = field(default_factory=xr.Dataset)
    no_body: str = ""
    skipped: Sequence[str] = ()
    portrait: Float[np.ndarray, "y x 4"] | None = None
    pictures: Pictures = field(default_factory=dict)


def run(organism: Organism, config: RobustnessConfig | None = None, *, log: Log = silent) -> RobustnessResult:
    """Grow the organism, perturb it, and measure what becomes of it.

    Args:
        organism: what is perturbed.
        config: perturbations and doses; the default configuration if none.
        log: receives the progress.
    """
    config = with_adult_step((config or RobustnessConfig()).filled(), organism)
    progress = Progress(log)
    keys = run_keys(config.seed, config.runs)
    progress.start(f"growing {organism.name}", config.runs * config.adult_step)
    states, spread = grow_with_spread(organism, keys, config.adult_step, progress.tick)
    if no_body := metrics.missing_body(organism.rule, states, config.adult_step):
        return RobustnessResult(organism, config, spread=spread, no_body=no_body)
    table, returns, pictures = measure_doses(organism, config, keys, states, progress)
    skipped = []
    if config.canvas_margins and not {"canvas_margin", "seed_offset"} & set(table.get("perturbation", ())):
        skipped.append("Canvas margins: the body leaves no more room than the margins asked for.")
    portrait = np.asarray(metrics.picture(organism.rule.spec, states[0]))
    return RobustnessResult(organism, config, table, returns, spread, "", skipped, portrait, pictures)


robustness = run  # its name in `analysis`
