"""`nca robust`: fitness against dose of every perturbation, return to the control, and spread between runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.robustness import dose_response as doses
from analysis.assays.robustness.canalization import grow_with_spread
from analysis.assays.robustness.config import RobustnessConfig
from analysis.progress import Log, Progress, silent
from analysis.report.notebook import ReportHtml
from analysis.rollouts import run_keys
from nca.organism import Organism


@dataclass(frozen=True)
class RobustnessResult(ReportHtml):
    """How much perturbation one organism tolerates.

    Attributes:
        organism: what was perturbed.
        config: how, with `full` already applied.
        doses: a row per perturbation, dose and run: fitness (NaN: not defined; -inf: exploded), log_mse_increase over
            the control, mature_cells, mature_cells_control, overgrown, exploded.
        returns: Dataset over (dose, run, step): distance of the state to its control after noise added once, as a
            share of the control's norm; between_runs (run, step), that between controls of different keys.
        spread: Dataset over (pair, step): distances between runs as they grow, of picture and hidden channels.
        no_body: why nothing was perturbed; empty where it was.
        skipped: what was left out, and why.
        portrait: the first run's grown body, premultiplied RGBA.
    """

    organism: Organism
    config: RobustnessConfig
    doses: pd.DataFrame = field(default_factory=pd.DataFrame)
    returns: xr.Dataset = field(default_factory=xr.Dataset)
    spread: xr.Dataset = field(default_factory=xr.Dataset)
    no_body: str = ""
    skipped: Sequence[str] = ()
    portrait: Float[np.ndarray, "y x 4"] | None = None


def run(organism: Organism, config: RobustnessConfig | None = None, *, log: Log = silent) -> RobustnessResult:
    """Grow the organism, perturb it, and measure what becomes of it.

    Args:
        organism: what is perturbed.
        config: perturbations and doses; the default configuration if none.
        log: receives the progress.
    """
    config = (config or RobustnessConfig()).filled()
    progress = Progress(log)
    keys = run_keys(config.seed, config.runs)
    progress.start(f"growing {organism.name}", config.runs * config.adult_step)
    states, spread = grow_with_spread(organism, keys, config.adult_step, progress.tick)
    if no_body := metrics.missing_body(organism.rule, states, config.adult_step):
        return RobustnessResult(organism, config, spread=spread, no_body=no_body)
    target = organism.padded_target(organism.canvas)
    pictures = np.asarray(metrics.picture(organism.rule.spec, states))
    reference = pictures if target is None else np.broadcast_to(target, pictures.shape)
    control = doses.ControlRuns(organism, config, keys, states, reference, progress.tick)
    progress.start(f"state noise on {organism.name}", config.runs * config.eval_steps * (len(config.state_noise) + 1))
    rows, returns = doses.add_state_noise(control)
    per_step = len(config.state_noise_per_step)
    progress.start(f"lasting state noise on {organism.name}", config.runs * config.eval_steps * (per_step + 1))
    rows += doses.add_state_noise_per_step(control)
    growth = config.runs * config.adult_step
    progress.start(f"weight noise on {organism.name}", growth * len(config.weight_noise))
    rows += doses.add_weight_noise(control)
    progress.start(f"fire rates of {organism.name}")
    rows += doses.change_fire_rate(control)
    progress.start(f"canvas margins of {organism.name}", 2 * growth * len(config.canvas_margins))
    edge_rows = doses.reduce_canvas(control)
    skipped = []
    if config.canvas_margins and not edge_rows:
        skipped.append("Canvas margins: the body leaves no more room than the margins asked for.")
    table = pd.DataFrame(rows + edge_rows)
    return RobustnessResult(organism, config, table, returns, spread, "", skipped, pictures[0])


robustness = run  # its name in `analysis`
