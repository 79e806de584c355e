"""Every lesion assay of one organism, by one config: what `nca lesion` computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr

from analysis import metrics
from analysis.assays.lesions import atlas, epistasis
from analysis.assays.lesions import critical_periods as periods
from analysis.assays.lesions import self_repair as repair
from analysis.assays.lesions.config import LesionConfig
from analysis.assays.lesions.kinds import Lesion, Scene, scene
from analysis.assays.lesions.neutral import marked, with_marker
from analysis.paired import Controls, run_controls
from analysis.progress import Log, Progress, silent
from analysis.rollouts import CHUNK, grow_runs, run_keys
from nca.damage import cut
from nca.errors import UserError
from nca.organism import Organism

PHASES = ("growing", "adult", "regenerating")
LONG = ("graded", "erase", "random direction")  # what a body may seem to bear, and then not
SHORT = ("zero", "noise", "mean", "clamp", "freeze", "resample")
INNER = ("zero", "mean")
ALONG = ("graded", "erase", "random direction")
Group = tuple[list[Lesion], tuple[int, ...]]


@dataclass(frozen=True)
class Lesions:
    """What was found.

    Attributes:
        organism: what was examined, without the marker.
        config: how.
        table: one row for each lesion, run and horizon, as `atlas.sweep` gives it.
        rows: the same over keys, as `atlas.summary` gives it.
        tolerance: half doses.
        doubles: as `epistasis.double_lesions` gives it.
        pairs: as `epistasis.pairs` gives it.
        periods: as `periods.critical_periods` gives it.
        crossings: as `periods.crossings` gives it.
        repairs: as `repair.self_repair` gives it.
        effects: as `repair.effects` gives it.
        skipped: why an assay was not made, by its name; its results are then empty.
        portrait: the first run's grown body, premultiplied RGBA (y, x, 4).
    """

    organism: Organism
    config: LesionConfig
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    tolerance: pd.DataFrame = field(default_factory=pd.DataFrame)
    doubles: xr.Dataset = field(default_factory=xr.Dataset)
    pairs: pd.DataFrame = field(default_factory=pd.DataFrame)
    periods: xr.Dataset = field(default_factory=xr.Dataset)
    crossings: pd.DataFrame = field(default_factory=pd.DataFrame)
    repairs: xr.Dataset = field(default_factory=xr.Dataset)
    effects: pd.DataFrame = field(default_factory=pd.DataFrame)
    skipped: dict[str, str] = field(default_factory=dict)
    portrait: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Bench:
    """What all assays of one organism share.

    Attributes:
        organism: what grows, with its marker.
        marker: the marker's number, if there is one.
        config: how it is examined.
        progress: is told what is done.
        keys: of all runs.
        adult: their states at the step where the body counts as grown.
    """

    organism: Organism
    marker: int | None
    config: LesionConfig
    progress: Progress
    keys: Any
    adult: np.ndarray

    @property
    def hidden(self) -> list[int]:
        """Numbers of the hidden channels, the marker last."""
        return [n for n, name in enumerate(self.organism.rule.channel_names) if name.startswith("h")]

    def names(self, channels: Sequence[int]) -> list[str]:
        """How channels are told: by name and number."""
        names = self.organism.rule.channel_names
        return [f"marker ({n})" if n == self.marker else f"{names[n]} ({n})" for n in channels]

    def scene(self, runs: int, horizons: Sequence[int], phase: str = "adult") -> Scene:
        """The first runs at the first step of a phase, and on."""
        states, at = self.adult[:runs], self.config.at
        if phase == "growing":
            at = self.config.young
            states = np.asarray(grow_runs(self.organism, at, self.keys[:runs]))
        elif phase == "regenerating":
            states = np.where(cut(states.shape[1:3], self.config.cut)[..., None], 0, states)
        marks = sorted({*range(at, at + max(horizons), CHUNK), *(at + h for h in horizons)})
        controls = run_controls(self.organism, states, self.keys[:runs], marks, tick=self.progress.tick)
        _need_body(controls, phase)
        return scene(self.organism, controls, self.marker, self.config.seed)


def lesion(organism: Organism, config: LesionConfig, say: Log = silent) -> Lesions:
    """Make every lesion that the config asks for.

    Args:
        organism: what is examined; it carries a neutral marker along (see `neutral`).
        config: which lesions, when.
        say: is told the progress and the time left.

    Returns:
        What was found; an assay that makes no sense for this organism says why.
    """
    filled = config.filled()
    grows = with_marker(organism)
    runs = max(filled.runs, filled.pair_runs, filled.repair_runs)
    keys = run_keys(filled.seed, runs)
    progress = Progress(say, planned(grows, filled))
    progress.stage = "growing"
    adult = np.asarray(grow_runs(grows, filled.at, keys, tick=progress.tick))
    bench = Bench(grows, marked(grows, organism), filled, progress, keys, adult)
    makers = {"atlas": _atlas, "pairs": _pairs, "periods": _periods, "repair": _repair}
    found: dict[str, Any] = {"skipped": {}}
    for name in filled.assays:
        progress.stage = name
        try:
            made = makers[name](bench)
            found["skipped"] |= made.pop("skipped", {})
            found |= made
        except UserError as error:
            found["skipped"][name] = str(error)
    portrait = np.asarray(metrics.picture(grows.rule.spec, jnp.asarray(adult[0])))
    return Lesions(organism, filled, portrait=portrait, **found)


def planned(organism: Organism, config: LesionConfig) -> int:
    """Steps that all of it takes, all runs together."""
    runs, hidden = config.runs, sum(n.startswith("h") for n in organism.rule.channel_names)
    total = max(runs, config.pair_runs, config.repair_runs) * config.at
    if "atlas" in config.assays:
        for phase in PHASES:
            for lesions, horizons in groups(organism, config, phase, None):
                total += (len(lesions) + 1) * runs * max(horizons)
    if "pairs" in config.assays:
        total += (hidden * (hidden + 1) // 2 + 1) * config.pair_runs * config.pair_for
    if "periods" in config.assays:
        windows = 2 * config.period_end // config.period_every
        total += (hidden + 1) * windows * config.period_runs * config.period_end * 3 // 4
    if "repair" in config.assays:
        total += (2 * len(repair.KINDS) * hidden + 3) * config.repair_runs * config.repair_for
    return total


def groups(organism: Organism, config: LesionConfig, phase: str, marker: int | None) -> list[Group]:
    """The atlas's lesions of one phase, with the horizons at which they are judged."""
    channels = partial(atlas.channels, organism, doses=config.doses, noises=config.noises, marker=marker)
    early, all_of = config.horizons[:1], config.horizons
    if phase == "growing":
        kinds = (*LONG, *SHORT) if config.full else ("graded", "erase", "zero", "random direction")
        return [(channels(kinds), (config.young_for,))]
    if phase == "regenerating":
        if config.full:
            return [(channels((*LONG, *SHORT)), all_of)]
        dose = config.doses[len(config.doses) // 2 :][:1]
        return [(channels(("graded", "erase"), doses=dose), all_of[-1:])]
    hidden = sum(n.startswith("h") for n in organism.rule.channel_names) - (marker is not None)
    doses = config.doses if config.full else config.doses[-1:]
    inner = (*INNER, "graded") if config.full else INNER
    others = atlas.filters(organism, inner, doses) + atlas.directions(hidden, ALONG, doses)
    others += atlas.units(organism, inner, doses)
    others += atlas.units(organism, ("zero",), single=True) if config.full else []
    if config.full:
        return [(channels((*LONG, *SHORT)), all_of), (others, early)]
    return [(channels(LONG), all_of), (channels(SHORT) + others, early)]


def _need_body(controls: Controls, phase: str) -> None:
    at, counts = int(controls.steps[0]), controls.mature_cells[:, 0]
    burst = np.asarray(metrics.exploded(jnp.asarray(controls.states)))
    if burst.any():
        raise UserError(f"There is no body to harm: at step {at}, run {int(burst.argmax())} has exploded.")
    if not counts.all():
        run = int((counts == 0).argmax())
        after = " after the cut" if phase == "regenerating" else ""
        raise UserError(f"There is no body to harm: at step {at}{after}, run {run} has no mature cell.")


def _atlas(bench: Bench) -> dict[str, Any]:
    config, tables, outcomes = bench.config, [], {}
    for phase in PHASES:
        bench.progress.stage = f"atlas, {phase}"
        try:
            for lesions, horizons in groups(bench.organism, config, phase, bench.marker):
                place = bench.scene(config.runs, horizons, phase)
                kept = [one for one in lesions if config.runs > 1 or one.kind not in ("clamp", "resample")]
                tables.append(
                    atlas.sweep(place, kept, horizons, phase=phase, untouched="keep", tick=bench.progress.tick)
                )
        except UserError as error:
            outcomes[phase] = str(error)
    if not tables:
        raise UserError(next(iter(outcomes.values())))
    table = pd.concat(tables, ignore_index=True)
    rows = atlas.summary(table)
    return {"table": table, "rows": rows, "tolerance": atlas.tolerance(rows), "skipped": outcomes}


def _pairs(bench: Bench) -> dict[str, Any]:
    config, hidden = bench.config, bench.hidden
    place = bench.scene(config.pair_runs, (config.pair_for,))
    doubles = epistasis.double_lesions(
        place, hidden, config.pair_for, names=bench.names(hidden), tick=bench.progress.tick
    )
    return {"doubles": doubles, "pairs": epistasis.pairs(doubles, config.seed)}


def _periods(bench: Bench) -> dict[str, Any]:
    config, hidden = bench.config, bench.hidden
    found = periods.critical_periods(
        bench.organism,
        hidden,
        config.period_runs,
        config.seed,
        end=config.period_end,
        every=config.period_every,
        names=bench.names(hidden),
        tick=bench.progress.tick,
    )
    return {"periods": found, "crossings": periods.crossings(found, seed=config.seed)}


def _repair(bench: Bench) -> dict[str, Any]:
    config, hidden = bench.config, bench.hidden
    place = bench.scene(config.repair_runs, (config.repair_for,))
    found = repair.self_repair(place, hidden, config.repair_for, names=bench.names(hidden), tick=bench.progress.tick)
    return {"repairs": found, "effects": repair.effects(found, seed=config.seed)}
