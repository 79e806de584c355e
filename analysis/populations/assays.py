"""How every network of a population heals, bears lesions and bears disturbance, in few runs of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis import metrics
from analysis.assays.lesions import first
from analysis.assays.lesions.config import LesionConfig
from analysis.assays.regeneration.config import RegenerationConfig
from analysis.assays.regeneration.regeneration import cuts_of, marks
from analysis.assays.robustness.battery import robust
from analysis.assays.robustness.battery import summary as by_dose
from analysis.assays.robustness.config import RobustnessConfig
from analysis.paired import run_controls, run_edited
from analysis.populations.members import Population, Verdict
from analysis.populations.studies import Measure, Study
from analysis.progress import Log, Progress
from analysis.rollouts import run_keys
from nca.damage import CUTS
from nca.errors import UserError

CUT = (
    Measure("all five", "median of five cuts", "recovery (median of five cuts)", 0.0),
    *(Measure(c, c, f"recovery from the {c} cut", 0.0, main=False) for c in CUTS),
)
NEED = (
    Measure("needed", "share of channels needed", "the share of hidden channels that is needed"),
    Measure("spread", "spread of the harm", "how evenly the harm is spread over the channels"),
    Measure("worst", "W without the worst", "W without the channel needed most", main=False),
)
HALF = 0.5  # of W: a channel whose loss costs more is needed
RUINED = -1.0  # the least W or share recovered that a network is counted with: an explosion has no number
BORNE = (
    Measure("all kinds", "median of all kinds", "W (median of all disturbances)"),
)  # with one for each kind and dose beside it


def healing(population: Population, verdicts: list[Verdict], config: RegenerationConfig, say: Log) -> Study:
    """What is recovered of the five cuts in every network, median over runs."""
    progress = Progress(say, _entering(verdicts) * config.runs * 7 * (config.until - config.cut_at))
    keys = run_keys(config.seed, config.runs)

    def one(verdict: Verdict) -> dict[str, float]:
        progress.stage = f"cutting {verdict.member.name}"
        organism = verdict.member.organism
        later = run_controls(organism, verdict.states, keys, marks(config.cut_at, config.until), tick=progress.tick)
        found = cuts_of(organism, later, progress.tick)
        each = {c: _median(found.recovered.sel(wound=c).values) for c in CUTS}
        return {"all five": _median(np.asarray(list(each.values()))), **each}

    null = "0, a body that stays as it was cut; the uncut twin of the same key is 1"
    return _study("regeneration", "recovered", null, population, verdicts, CUT, one, config.until)


def lesions(population: Population, verdicts: list[Verdict], config: LesionConfig, say: Log) -> Study:
    """How many hidden channels every network needs, and how evenly their loss harms it.

    Each hidden channel in turn is multiplied by 0.95 at every step, beside the undisturbed run of the
    same key; its harm is 1 - W, median over runs, held between 0 and 1.
    """
    horizon, runs = config.horizons[-1], config.runs
    progress = Progress(say, _entering(verdicts) * runs * 13 * horizon)
    keys = run_keys(config.seed, runs)

    def one(verdict: Verdict) -> dict[str, float]:
        progress.stage = f"lesions of {verdict.member.name}"
        organism = verdict.member.organism
        hidden = [n for n, name in enumerate(organism.rule.channel_names) if name.startswith("h")]
        if not hidden:
            raise UserError("It has no hidden channels.")
        controls = run_controls(organism, verdict.states, keys, first.marks(config.at, (horizon,)), tick=progress.tick)
        rows = first.lesions(organism, controls, "graded", config.seed)
        found = run_edited(
            organism,
            controls,
            [rows[c * runs + r] for c in hidden for r in range(runs)],
            progress.tick,
            final_states=False,
        )
        fitness = metrics.fitness(
            np.where(found["exploded"] >= 0, np.inf, found["mse"][:, -1]),
            np.tile(controls.mse[:, -1], len(hidden)),
            np.tile(controls.mse_empty[:, -1], len(hidden)),
        )
        by_channel = np.asarray(fitness, float).reshape(len(hidden), runs)
        return needs(np.asarray([_median(w) for w in by_channel]))

    null = "that within a lineage the regimes could be exchanged; an undisturbed body has W of 1"
    return _study("lesions", "", null, population, verdicts, NEED, one, config.at + horizon)


def needs(fitness: np.ndarray) -> dict[str, float]:
    """What W after the loss of each hidden channel says of how much hangs on few.

    Args:
        fitness: W by channel; NaN where it is not defined, -inf where the body exploded.

    Returns:
        needed, the share of channels whose loss costs more than half of W; spread, the effective number
        of channels that carry the harm, (sum h)^2 / sum h^2, over their number: 1 if all harm alike,
        1/n if one does all of it, NaN if none does; worst, the least W.
    """
    known = fitness[~np.isnan(fitness)]
    if not len(known):
        return dict.fromkeys(("needed", "spread", "worst"), float("nan"))
    harm = (1 - known).clip(0, 1)
    whole = np.square(harm).sum()
    return {
        "needed": float((harm > HALF).mean()),
        "spread": float(harm.sum() ** 2 / whole / len(known)) if whole > 1e-6 else float("nan"),
        "worst": float(known.min().clip(RUINED)),
    }


def robustness(population: Population, verdicts: list[Verdict], config: RobustnessConfig, say: Log) -> Study:
    """W under one dose or more of every kind of disturbance, in every network, median over runs."""
    kinds: dict[str, Measure] = {}

    def one(verdict: Verdict) -> dict[str, float]:
        found = robust(verdict.member.organism, config, say)
        if found.trouble:
            raise UserError(found.trouble)
        each = {}
        for row in by_dose(found.doses).itertuples():
            name = f"{row.kind}, {row.dose:g}"
            kinds[name] = Measure(name, name.replace(", ", "\n", 1), f"W under {name}", main=False)
            each[name] = _median(np.asarray([row.fitness]))
        return {"all kinds": _median(np.asarray(list(each.values()))), **each}

    null = "that within a lineage the regimes could be exchanged; an undisturbed body has W of 1, none 0"
    made = _study("robustness", "W", null, population, verdicts, BORNE, one, config.at)
    return replace(made, measures=(*BORNE, *kinds.values()))


def _study(
    name: str,
    label: str,
    null: str,
    population: Population,
    verdicts: list[Verdict],
    measures: tuple[Measure, ...],
    one: Callable[[Verdict], dict[str, float]],
    until: int,
) -> Study:
    """A study of the networks that enter; those excluded are not measured, since it would take long."""
    rows: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    for verdict in verdicts:
        if not verdict.admitted:
            continue
        try:
            found = one(verdict)
        except UserError as error:
            skipped[verdict.member.name] = str(error)
            continue
        rows += [{"member": verdict.member.name, "measure": k, "value": v} for k, v in found.items()]
    at = verdicts[0].at
    values = pd.DataFrame(rows, columns=["member", "measure", "value"])
    when = f"at step {at}" if name == "robustness" else f"from step {at} to {until}"
    return Study(name, at, when, label, null, population, verdicts, measures, values, skipped)


def _entering(verdicts: list[Verdict]) -> int:
    return sum(v.admitted for v in verdicts)


def _median(values: np.ndarray) -> float:
    """Median of what is defined, explosions (-inf) too, but not below `RUINED`."""
    known = values[~np.isnan(values)]
    return float(np.median(known).clip(RUINED)) if len(known) else float("nan")
