"""`nca fate`: where does each cell think it is, after growth, after a cut, and when it is moved?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.fate.config import FateConfig
from analysis.assays.fate.dictionary import (
    Dictionary,
    build_dictionary,
    calibrate,
    decode_bodies,
    held_out_errors,
    vacuity_control,
)
from analysis.assays.fate.films import record_films
from analysis.assays.fate.lineages import map_lineages
from analysis.assays.fate.mutants import read_mutants
from analysis.assays.fate.regrowth import follow_regrowth
from analysis.assays.fate.transplants import Grafting, follow_transplants, map_tissue, start_of
from analysis.assays.grafts.grafting import GRAFT, SHAM
from analysis.report.notebook import ReportHtml
from analysis.rollouts import grow_through, run_keys, with_adult_step
from nca.damage import CUTS
from nca.errors import UserError
from nca.organism import Organism
from nca.progress import Log, Progress, silent
from nca.spec import hidden_channels

SINCE = (0, 20, 40, 60, 100, 150, 300)  # steps after a cut at which cells are decoded
GRAFTED_SINCE = (0, 20, 60, 150, 300)
JUDGED_SINCE = 150  # steps after which tissue is called determined or specified
_YOUNG = (20, 40, 60)  # steps at which growing bodies are decoded


@dataclass(frozen=True)
class FateResult(ReportHtml):
    """Where the cells of one organism think they are.

    Attributes:
        organism: what was examined.
        config: how, with `full` applied.
        radius: whitened distance within which a state counts as known.
        positional_error: Dataset over (dictionary: hidden, colour; step; run), as of `held_out_errors`.
        vacuity: what `vacuity_control` returns.
        regrowth: what `follow_regrowth` returns.
        grafts: what `follow_transplants` returns; empty without grafts.
        tissue: what `map_tissue` returns, for each half of the runs (column half: set, judged).
        growth: Dataset over step of the first run, undisturbed: places (step, y, x, axis), distance (step, y, x).
        example: the same over (intervention: sham, graft; since), of the graft of the first run that most cells keep
            their identity in, with source and target in its attributes; empty without grafts.
        mutants: what `read_mutants` returns; empty without.
        lineages: what `map_lineages` returns; empty without.
        films: what `record_films` returns; empty without films.
        portrait: the first run's grown body, premultiplied RGBA.
        no_body: why nothing was examined; empty where it was.
    """

    organism: Organism
    config: FateConfig
    radius: float = float("nan")
    positional_error: xr.Dataset = field(default_factory=xr.Dataset)
    vacuity: xr.Dataset = field(default_factory=xr.Dataset)
    regrowth: xr.Dataset = field(default_factory=xr.Dataset)
    grafts: pd.DataFrame = field(default_factory=pd.DataFrame)
    tissue: pd.DataFrame = field(default_factory=pd.DataFrame)
    growth: xr.Dataset = field(default_factory=xr.Dataset)
    example: xr.Dataset = field(default_factory=xr.Dataset)
    mutants: pd.DataFrame = field(default_factory=pd.DataFrame)
    lineages: xr.Dataset = field(default_factory=xr.Dataset)
    films: Mapping[str, xr.Dataset] = field(default_factory=dict)
    portrait: Float[np.ndarray, "y x 4"] | None = None
    no_body: str = ""

    @property
    def judged_since(self) -> int:
        """Steps after the graft at which tissue is judged."""
        return int(max(n for n in self.grafts.since.unique() if n <= JUDGED_SINCE))


def run(organism: Organism, config: FateConfig | None = None, *, log: Log = silent) -> FateResult:
    """Make a dictionary of undisturbed runs, and decode by it the cells of others: grown, cut and grafted.

    Args:
        organism: what is examined.
        config: how; the default configuration if none.
        log: receives the progress.

    Raises:
        UserError: the organism has no hidden channels, or the same state in all of its cells.
    """
    config = with_adult_step((config or FateConfig()).filled(), organism)
    progress, adult, entries = Progress(log), config.adult_step, config.dictionary_runs
    keys = run_keys(config.seed, entries + config.runs + 1)  # run i takes cells from run i + 1
    grown = [adult, adult + -(-config.eval_steps // 2), adult + config.eval_steps]
    early = [n for n in _YOUNG if n < adult]
    progress.start(f"growing {organism.name}", len(keys) * grown[-1])
    course = grow_through(organism, keys, [0, *early, *dict.fromkeys(grown)], tick=progress.tick)
    states = course[1 + len(early) :]
    if no_body := metrics.missing_body(organism.rule, states[0], adult):
        return FateResult(organism, config, no_body=no_body)
    dictionary = build_dictionary(organism, states[:, :entries])
    half = config.runs // 2
    dictionary = calibrate(dictionary, organism, states[:, entries : entries + half])
    steps = list(dict.fromkeys(grown))
    young = course[1 : 2 + len(early), entries]
    places, distance = decode_bodies(dictionary, organism, young)
    held_out, held_out_keys = states[0, entries:], keys[entries:]
    progress.start(f"cutting {organism.name}", len(CUTS) * (1 + config.fill) * config.runs * config.eval_steps)
    since = [n for n in SINCE if n < config.eval_steps] + [config.eval_steps]
    after = [adult + n for n in since]
    regrowth = follow_regrowth(organism, dictionary, held_out, held_out_keys, after, config.fill, progress.tick)
    grafting = Grafting(organism, dictionary, config, held_out, held_out_keys, progress.tick)
    moved = _transplants(grafting, progress) if config.map_points else {}
    return FateResult(
        organism,
        config,
        dictionary.radius,
        _positional_error(organism, dictionary, states, steps, entries, half),
        vacuity_control(organism, states.swapaxes(0, 1), entries, config.surrogates, config.seed),
        regrowth,
        growth=_fields(places, distance, "step", [*early, adult]),
        portrait=np.asarray(metrics.picture(organism.rule.spec, jnp.asarray(held_out[0]))),
        mutants=read_mutants(organism, dictionary, held_out, held_out_keys, adult, config.mutants),
        lineages=map_lineages(organism, adult, config.lineage_runs, config.seed),
        films=record_films(grafting, moved.get("example", xr.Dataset())) if config.film else {},
        **moved,
    )


fate = run  # its name in `analysis`


def _positional_error(
    organism: Organism, dictionary: Dictionary, states: np.ndarray, steps: list[int], entries: int, half: int
) -> xr.Dataset:
    """Of held-out runs, by hidden channels and by colour alone."""
    hidden = set(hidden_channels(organism.rule.spec))
    visible = [n for n in range(organism.rule.spec.channels) if n not in hidden]
    measured = {"hidden": held_out_errors(dictionary, organism, states[:, entries:], steps)}
    try:
        colours = build_dictionary(organism, states[:, :entries], visible)
        colours = calibrate(colours, organism, states[:, entries : entries + half])
        measured["colour"] = held_out_errors(colours, organism, states[:, entries:], steps)
    except UserError:  # one colour everywhere
        pass
    return xr.concat(measured.values(), xr.IndexVariable("dictionary", list(measured)))


def _fields(places: np.ndarray, distance: np.ndarray, dim: str, values: list[int]) -> xr.Dataset:
    data = {"places": ((dim, "y", "x", "axis"), places), "distance": ((dim, "y", "x"), distance)}
    return xr.Dataset(data, {dim: values, "axis": ["y", "x"]})


def _transplants(grafting: Grafting, progress: Progress) -> dict[str, Any]:
    """Grafts, tissue and example of a result."""
    config, adult = grafting.config, grafting.config.adult_step
    since = sorted({n for n in GRAFTED_SINCE if n < config.eval_steps} | {config.eval_steps})
    steps = [adult + n for n in since]
    grafts_expected = config.targets * config.runs * (config.map_points + 3 * config.control_points + 1)
    progress.start(f"grafting {grafting.organism.name}", grafts_expected * config.eval_steps)
    grafts = follow_transplants(grafting, steps)
    judged, half = max(n for n in since if n <= JUDGED_SINCE), config.runs // 2
    halves = {"set": range(half), "judged": range(half, config.runs)}
    tissue = pd.concat([map_tissue(grafts, judged, runs).assign(half=name) for name, runs in halves.items()])
    moved = grafts[(grafts.intervention == GRAFT) & (grafts.since == judged) & (grafts.run == 0) & (grafts.cells > 0)]
    if moved.empty:
        return {"grafts": grafts, "tissue": tissue}
    best = moved.loc[moved.donor.idxmax()].to_dict()
    rows = [best | {"intervention": kind} for kind in (SHAM, GRAFT)]
    rows[0] |= {"source_y": best["target_y"], "source_x": best["target_x"]}
    starts = np.stack([start_of(grafting, row) for row in rows])
    keys = grafting.keys[np.zeros(len(rows), int)]
    course = grow_through(grafting.organism, keys, steps, states=starts, tick=grafting.tick).swapaxes(0, 1)
    shown = [_fields(*decode_bodies(grafting.dictionary, grafting.organism, c), "since", since) for c in course]
    example = xr.concat(shown, xr.IndexVariable("intervention", [SHAM, GRAFT]))
    example.attrs = {name: best[name] for name in ("source_y", "source_x", "target_y", "target_x", "target")}
    return {"grafts": grafts, "tissue": tissue, "example": example}
