"""Every lesion experiment on one organism: what `nca lesion` computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr

from analysis import metrics
from analysis.assays.lesions.atlas import half_doses, list_lesions, run_lesions, summarise_lesions
from analysis.assays.lesions.bases import BASIS_RUNS, channel_fitness, named_bases
from analysis.assays.lesions.config import LesionConfig
from analysis.assays.lesions.critical_periods import critical_periods, period_bounds
from analysis.assays.lesions.epistasis import double_lesions, pair_table
from analysis.assays.lesions.interventions import TWO_RUNS, Lesion, Specimen, add_control_channel, prepare_specimen
from analysis.assays.lesions.self_repair import REPAIR_INTERVENTIONS, repair_effects, self_repair
from analysis.paired import measured_steps, run_controls
from analysis.report.notebook import ReportHtml
from analysis.rollouts import grow_runs, run_keys, with_adult_step
from nca.damage import cut
from nca.errors import UserError
from nca.organism import Organism
from nca.progress import Log, Progress, silent
from nca.spec import hidden_channels

_SLOW = ("partial", "erase", "resample", "random-direction")  # the outcome of partial ablation takes time: all steps


@dataclass(frozen=True)
class LesionResult(ReportHtml):
    """Outcome of the lesion experiments on one organism.

    Attributes:
        organism: what was lesioned, without the control channel.
        config: with which options.
        atlas_runs: a row for each lesion, run and evaluation step (`run_lesions`).
        atlas: the same over runs (`summarise_lesions`).
        half_doses: dose of partial ablation at which half of the fitness is lost (`atlas.half_doses`).
        double_lesions: fitness by pair and run (`epistasis.double_lesions`).
        pairs: a row for each pair (`pair_table`).
        critical_periods: fitness by side, channel, step and run (`critical_periods.critical_periods`).
        period_bounds: a row for each channel (`critical_periods.period_bounds`).
        self_repair: effect by intervention, arm, channel and run (`self_repair.self_repair`).
        repair_effects: a row for each intervention, arm and channel (`self_repair.repair_effects`).
        basis_fitness: fitness after partial ablation by basis (index) and hidden channel (`bases.channel_fitness`).
        basis_backup: number of pairs of hidden channels that back each other up, by basis.
        pictures: every lesion of the atlas of the adult body with the first run's body at its last evaluation step,
            premultiplied RGBA (y, x, 4).
        skipped: why a method or phase has no results, by its name.
        portrait: the first run's adult body, premultiplied RGBA (y, x, 4).
    """

    organism: Organism
    config: LesionConfig
    atlas_runs: pd.DataFrame = field(default_factory=pd.DataFrame)
    atlas: pd.DataFrame = field(default_factory=pd.DataFrame)
    half_doses: pd.DataFrame = field(default_factory=pd.DataFrame)
    double_lesions: xr.Dataset = field(default_factory=xr.Dataset)
    pairs: pd.DataFrame = field(default_factory=pd.DataFrame)
    critical_periods: xr.Dataset = field(default_factory=xr.Dataset)
    period_bounds: pd.DataFrame = field(default_factory=pd.DataFrame)
    self_repair: xr.Dataset = field(default_factory=xr.Dataset)
    repair_effects: pd.DataFrame = field(default_factory=pd.DataFrame)
    basis_fitness: pd.DataFrame = field(default_factory=pd.DataFrame)
    basis_backup: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    pictures: Sequence[tuple[Lesion, np.ndarray]] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    portrait: np.ndarray | None = None


def run(organism: Organism, config: LesionConfig | None = None, *, log: Log = silent) -> LesionResult:
    """Make every lesion that the configuration asks for.

    Args:
        organism: what is lesioned; it grows with a control channel (`add_control_channel`).
        config: which lesions, when; by default those of `nca lesion`.

    Returns:
        The results; a method that makes no sense for this organism has its reason in `skipped` instead.
    """
    config = with_adult_step((config or LesionConfig()).filled(), organism)
    experiment = _Experiment(organism, config, log)
    results: dict[str, Any] = {}
    for name in config.methods:
        try:
            results |= getattr(experiment, f"_{name.replace('-', '_')}")()
        except UserError as error:
            experiment.skipped[name] = str(error)
    portrait = np.asarray(metrics.picture(experiment.organism.rule.spec, jnp.asarray(experiment.adult[0])))
    return LesionResult(organism, config, **results, skipped=experiment.skipped, portrait=portrait)


lesions = run  # its name in `analysis`


class _Experiment:
    """One organism with its control channel, and the adult runs that all methods share."""

    def __init__(self, original: Organism, config: LesionConfig, log: Log) -> None:
        self.original, self.organism, self.config = original, add_control_channel(original), config
        spec, names = self.organism.rule.spec, self.organism.rule.channel_names
        self.control_channel = spec.channels - 1 if spec.channels > original.rule.spec.channels else None
        self.hidden = hidden_channels(spec)
        self.names = ["control" if n == self.control_channel else names[n] for n in self.hidden]
        self.skipped: dict[str, str] = {}
        self.progress = Progress(log)
        runs = max(config.runs, config.epistasis_runs, config.repair_runs)
        self.keys = run_keys(config.seed, runs)
        self.progress.start(f"growing {original.name}", runs * config.adult_step)
        self.adult = np.asarray(grow_runs(self.organism, config.adult_step, self.keys, tick=self.progress.tick))

    @cached_property
    def bases(self) -> dict[str, Organism]:
        """The organism by the basis of its hidden channels; empty if no other basis is asked for or possible."""
        if not self.config.basis_controls:
            return {}
        try:
            return named_bases(self.original, self.config.basis_controls, self.config.seed)
        except UserError as error:
            self.skipped["basis controls"] = str(error)
            return {}

    def _schedule(self, phase: str) -> dict[tuple[int, ...], list[Lesion]]:
        """The atlas's lesions of a phase, by the steps at which their outcome is measured."""
        config, full, every = self.config, self.config.full, self.config.interventions
        first, highest = config.eval_steps[:1], config.doses if full else config.doses[-1:]
        early = every if full else ("partial", "erase", "zero", "random-direction")
        layer = ("zero", "mean", *(("partial",) if full else ()))
        # Target, which interventions, doses, evaluation steps.
        rows: dict[str, list[tuple[str, Sequence[str], Sequence[float], tuple[int, ...]]]] = {
            "growing": [("channel", early, config.doses, (config.growing_eval_steps,))],
            "adult": [
                ("channel", _SLOW, config.doses, config.eval_steps),
                ("channel", [x for x in every if x not in _SLOW], config.doses, config.eval_steps if full else first),
                ("filter", layer, highest, first),
                ("direction", ("partial", "erase", "random-direction"), highest, first),
                ("units", layer, highest, first),
                ("unit", ("zero",), highest, first),
            ],
            "regenerating": [("channel", every, config.doses, config.eval_steps)],
        }
        if not full:
            rows["regenerating"] = [("channel", ("partial", "erase"), (config.middle_dose,), config.eval_steps[-1:])]
        schedule: dict[tuple[int, ...], list[Lesion]] = {}
        for target, among, doses, eval_steps in rows[phase]:
            names = [x for x in every if x in among and (config.runs > 1 or x not in TWO_RUNS)]
            if target in config.targets:
                listed = list_lesions(self.organism, target, names, doses, config.noise_sd, self.control_channel)
                schedule.setdefault(eval_steps, []).extend(listed)
        return {eval_steps: listed for eval_steps, listed in schedule.items() if listed}

    def _specimen(self, runs: int, eval_steps: Sequence[int], phase: str = "adult") -> Specimen:
        """The first runs, from the first step of a phase on."""
        states, first = self.adult[:runs], self.config.adult_step
        if phase == "growing":
            first = self.config.growing_step
            states = np.asarray(grow_runs(self.organism, first, self.keys[:runs]))
        elif phase == "regenerating":
            states = np.where(cut(states.shape[1:3], self.config.cut)[..., None], 0, states)
        steps = measured_steps(first, eval_steps)
        controls = run_controls(self.organism, states, self.keys[:runs], steps, tick=self.progress.tick)
        if reason := metrics.missing_body(self.organism.rule, states, first):
            raise UserError(reason)
        return prepare_specimen(self.organism, controls, self.control_channel, self.config.seed)

    def _atlas(self) -> dict[str, Any]:
        runs, tables, reasons = self.config.runs, [], dict[str, str]()
        pictures: list[tuple[Lesion, np.ndarray]] = []
        for phase in self.config.phases:
            try:
                for eval_steps, listed in self._schedule(phase).items():
                    self.progress.start(f"atlas, {phase}", (len(listed) + 1) * runs * max(eval_steps))
                    specimen, tick = self._specimen(runs, eval_steps, phase), self.progress.tick
                    shown = pictures if phase == "adult" else None
                    options: dict[str, Any] = {"phase": phase, "unchanged": "keep", "pictures": shown, "tick": tick}
                    tables.append(run_lesions(specimen, listed, eval_steps, **options))
            except UserError as error:
                reasons[phase] = str(error)
        if not tables:
            raise UserError(next(iter(reasons.values()), "No target has any of these interventions in these phases."))
        self.skipped |= reasons
        table = pd.concat(tables, ignore_index=True)
        atlas = summarise_lesions(table)
        results = {"atlas_runs": table, "atlas": atlas, "half_doses": half_doses(atlas), "pictures": pictures}
        if "channel" in self.config.targets and "partial" in self.config.interventions and "adult" in set(atlas.phase):
            results["basis_fitness"] = self._basis_fitness()
        return results

    def _basis_fitness(self) -> pd.DataFrame:
        """Fitness after partial ablation of each hidden channel, in each basis."""
        config, eval_step = self.config, self.config.eval_steps[-1]
        lesions, bases = 1 + len(hidden_channels(self.original.rule.spec)), self.bases
        runs = min(config.runs, BASIS_RUNS)
        self.progress.start("atlas, other bases", len(bases) * runs * (config.adult_step + lesions * eval_step))
        timing = {"adult_step": config.adult_step, "eval_step": eval_step, "seed": config.seed}
        by_basis = {}
        for name, organism in bases.items():
            states = np.asarray(grow_runs(organism, config.adult_step, self.keys[:runs]))
            tick = self.progress.tick
            by_basis[name] = channel_fitness(organism, states, dose=config.middle_dose, **timing, tick=tick)
        return pd.DataFrame(by_basis).T

    def _epistasis(self) -> dict[str, Any]:
        runs, eval_step, size = self.config.epistasis_runs, self.config.epistasis_eval_steps, len(self.hidden)
        self.progress.start("epistasis", (size * (size + 1) // 2 + 1) * runs * eval_step)
        specimen = self._specimen(runs, (eval_step,))
        doubles = double_lesions(specimen, self.hidden, eval_step, names=self.names, tick=self.progress.tick)
        backup = {name: self._count_backup(organism) for name, organism in self.bases.items()}
        results = {"double_lesions": doubles, "pairs": pair_table(doubles, self.config.seed)}
        return results | {"basis_backup": pd.Series(backup, dtype=float)}

    def _count_backup(self, organism: Organism) -> int:
        """Number of pairs of hidden channels that back each other up, in the basis that this organism has."""
        runs, first, eval_step = self.config.epistasis_runs, self.config.adult_step, self.config.epistasis_eval_steps
        hidden = hidden_channels(organism.rule.spec)
        self.progress.start("epistasis, other bases", (len(hidden) * (len(hidden) + 1) // 2 + 1) * runs * eval_step)
        states, steps = grow_runs(organism, first, self.keys[:runs]), measured_steps(first, (eval_step,))
        controls = run_controls(organism, states, self.keys[:runs], steps, tick=self.progress.tick)
        specimen = prepare_specimen(organism, controls, seed=self.config.seed)
        doubles = double_lesions(specimen, hidden, eval_step, tick=self.progress.tick)
        return int((pair_table(doubles, self.config.seed).interaction == "backup").sum())

    def _critical_periods(self) -> dict[str, Any]:
        self.progress.start("critical periods")
        config, tick = self.config, self.progress.tick
        options: dict[str, Any] = {"eval_step": config.period_eval_step, "spacing": config.period_spacing}
        runs, seed = config.period_runs, config.seed
        periods = critical_periods(self.organism, self.hidden, runs, seed, names=self.names, tick=tick, **options)
        return {"critical_periods": periods, "period_bounds": period_bounds(periods, seed=self.config.seed)}

    def _self_repair(self) -> dict[str, Any]:
        runs, eval_step = self.config.repair_runs, self.config.repair_eval_steps
        rows = 4 * len(REPAIR_INTERVENTIONS) * len(self.hidden)  # lesion and null, with the others free and held
        self.progress.start("self-repair", (rows + 3) * runs * eval_step)
        specimen = self._specimen(runs, (eval_step,))
        repairs = self_repair(specimen, self.hidden, eval_step, names=self.names, tick=self.progress.tick)
        return {"self_repair": repairs, "repair_effects": repair_effects(repairs, seed=self.config.seed)}
