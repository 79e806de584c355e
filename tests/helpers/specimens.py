"""Control runs that lesions are made on, and results of known truth."""

import numpy as np
import xarray as xr

from analysis.assays.lesions.config import LesionConfig
from analysis.assays.lesions.interventions import prepare_specimen
from analysis.paired import run_controls
from analysis.rollouts import grow_runs, run_keys

STEP, EVAL_STEP = 20, 20  # first step of lesions, and steps after it
SMALL = LesionConfig(
    runs=2,
    adult_step=20,
    growing_step=20,
    growing_eval_steps=20,
    eval_steps=(20,),
    doses=(0.05, 0.2),
    epistasis_runs=2,
    epistasis_eval_steps=20,
    period_runs=2,
    period_eval_step=40,
    period_spacing=20,
    repair_runs=2,
    repair_eval_steps=20,
    basis_controls=0,
)


def specimen_of(organism, runs=2, step=STEP, eval_step=EVAL_STEP, **options):
    """The first runs of an organism from a step on, measured at that step and at the evaluation step."""
    keys = run_keys(0, runs)
    controls = run_controls(organism, grow_runs(organism, step, keys), keys, [step, step + eval_step])
    return prepare_specimen(organism, controls, **options)


def hidden_of(organism):
    """Indices of the hidden channels."""
    return [n for n, name in enumerate(organism.rule.channel_names) if name.startswith("h")]


def colour_share(organism, colour):
    """The share of an organism's fitness that one colour is worth."""
    squares = (organism.padded_target() ** 2).sum((0, 1))
    return float(squares["rgb".index(colour)] / squares.sum())


def periods_of(after, before, runs=3):
    """Fitness of one channel, equal in all runs."""
    fitness = np.repeat(np.stack([after, before])[None, ..., None].astype(float), runs, -1)
    coords = {"channel": ["h0"], "side": ["after", "before"], "step": np.array([0, 10, 20, 30, 40])}
    return xr.Dataset({"fitness": (("channel", "side", "step", "run"), fitness)}, coords)


def repairs_of(total, direct, null_total=0.9, null_direct=0.5, overgrown=-1, runs=6):
    """Effects of one channel, equal in all runs; a run of the null may overgrow."""
    effect = np.array([[[total], [direct]], [[null_total], [null_direct]]]).reshape(1, 2, 2, 1, 1).repeat(runs, -1)
    stops = np.full((1, 2, 2, 1, runs), -1)
    stops[0, 1, 0, 0, 3] = overgrown
    dims = ("intervention", "arm", "others", "channel", "run")
    coords = {"intervention": ["zero"], "arm": ["lesion", "null"], "others": ["free", "held"], "channel": ["h0"]}
    data = {"effect": (dims, effect), "overgrown": (dims, stops), "exploded": (dims, 0 * stops - 1)}
    return xr.Dataset(data, coords)
