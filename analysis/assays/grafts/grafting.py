"""A graft and its controls, followed in the same runs: sham, hidden channels alone, colours alone, random change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.grafts.config import GraftConfig
from analysis.assays.grafts.matching import BodyTemplate, picture_mse
from analysis.rollouts import Tick, grow_through
from nca import edits
from nca.damage import disc
from nca.edits import Edit
from nca.organism import Organism
from nca.spec import hidden_channels

GRAFT, HIDDEN, COLOUR, RANDOM, SHAM = "graft", "hidden only", "colour only", "random", "sham"
NULLS = (SHAM, RANDOM)
_STREAM = 7919  # of the random changes, so that they are independent of the runs' own keys
States = Float[np.ndarray, "run y x channel"]


@dataclass(frozen=True, eq=False)
class GraftRuns:
    """The grown bodies that are grafted.

    Run i of the host receives cells of the donor's run i + 1; the sham takes those of the host's run i + 1.

    Attributes:
        host: whose rule runs the cells.
        donor: whose cells are moved, on the host's canvas.
        config: of the graft; source and target are set.
        keys: one more than the runs that are grafted.
        host_states, donor_states: at the adult step.
        tick: receives the steps done.
    """

    host: Organism
    donor: Organism
    config: GraftConfig
    keys: Any
    host_states: States
    donor_states: States
    tick: Tick | None = None

    def edits(self, run: int) -> dict[str, Edit]:
        """The graft into one run and its controls, by intervention."""
        host, config, state = self.host, self.config, self.host_states[run]
        assert config.source
        assert config.target
        source, target = config.source, config.target
        donor, hidden = self.donor_states[run + 1], hidden_channels(host.rule.spec)
        visible = [n for n in range(host.rule.spec.channels) if n not in hidden]
        moves: dict[str, tuple[Any, ...]] = {GRAFT: (donor, source, config.turn, {})}
        if hidden:
            moves[HIDDEN] = donor, source, config.turn, {"channels": hidden}
            moves[COLOUR] = donor, source, config.turn, {"channels": visible}
        moves[SHAM] = self.host_states[run + 1], target, 0.0, {}
        grafts = {
            name: edits.graft(host, moved, origin, target, config.radius, turn, **channels)
            for name, (moved, origin, turn, channels) in moves.items()
        }
        # A change as large as the graft's in every cell, in a random direction of all channels.
        change = np.asarray(grafts[GRAFT].value) - state
        draw = np.random.default_rng([config.seed, run, _STREAM]).normal(size=change.shape)
        size = np.linalg.norm(change, axis=-1, keepdims=True) / np.linalg.norm(draw, axis=-1, keepdims=True)
        random = edits.clamp(host, state + draw * size).where(np.asarray(grafts[GRAFT].region))
        sham = grafts.pop(SHAM)
        return {name: edit.at(config.adult_step) for name, edit in (grafts | {RANDOM: random, SHAM: sham}).items()}

    def apply(self, run: int, edit: Edit) -> Float[np.ndarray, "y x channel"]:
        """The host's state with an edit of the adult step."""
        state = jnp.asarray(self.host_states[run])
        return np.asarray(edits.apply([edit], "state", state, self.config.adult_step, self.keys[run]))


def pictures_of(organism: Organism, states: Any) -> Float[np.ndarray, "*b y x 4"]:
    """What states show, premultiplied RGBA."""
    return np.asarray(metrics.picture(organism.rule.spec, states))


def follow_grafts(grafting: GraftRuns) -> tuple[xr.Dataset, States]:
    """The graft and its controls, in every run, from the adult step on.

    Returns:
        Dataset over (intervention, run, step): second_body (share of a second body that shows, NaN where too few cells
        could show one), first_body (share of the first body that is kept), second_cells, turn (of the second body,
        degrees), mse (to the ungrafted control), retained (1: the disc is as in the donor's own run, 0: as far from it
        as the control's), mature_cells; exploded, cells_changed (intervention, run); picture (intervention, run, step,
        y, x, rgba); mature_cells_control (run, step), picture_control (run, step, y, x, rgba). And the states of the
        controls at the end.
    """
    host, donor, config = grafting.host, grafting.donor, grafting.config
    assert config.target
    runs = range(config.runs)
    by_run = [grafting.edits(run) for run in runs]
    names = list(by_run[0])
    start = np.stack([[grafting.apply(run, by_run[run][name]) for run in runs] for name in names])
    after = sorted({0, 20, 60, *range(100, config.eval_steps, 100), config.eval_steps})
    steps = [config.adult_step + n for n in after if n <= config.eval_steps]
    keys = grafting.keys
    own = jnp.asarray([run for _ in names for run in runs])
    flat = grow_through(host, keys[own], steps, states=start.reshape(-1, *start.shape[2:]), tick=grafting.tick)
    grafted = flat.reshape(len(steps), len(names), config.runs, *flat.shape[2:]).transpose(1, 2, 0, 3, 4, 5)
    runs_of = slice(config.runs), slice(1, config.runs + 1)
    controls, donors = (
        grow_through(organism, keys[own], steps, states=states[own], tick=grafting.tick)
        for organism, states, own in zip(
            (host, donor), (grafting.host_states, grafting.donor_states), runs_of, strict=True
        )
    )
    dims = ("intervention", "run", "step")
    data: dict[str, Any] = {
        name: (dims, values)
        for name, values in _measure(host, config, grafted, controls.swapaxes(0, 1), donors.swapaxes(0, 1)).items()
    }
    changed = (start != grafting.host_states[None, : config.runs]).any(-1).sum((-2, -1))
    data |= {
        "picture": ((*dims, "y", "x", "rgba"), pictures_of(host, grafted)),
        "picture_control": (("run", "step", "y", "x", "rgba"), pictures_of(host, controls.swapaxes(0, 1))),
        "mature_cells": (dims, np.asarray(metrics.mature_count(host.rule, grafted))),
        "mature_cells_control": (("run", "step"), np.asarray(metrics.mature_count(host.rule, controls)).T),
        "exploded": (("intervention", "run"), np.asarray(metrics.exploded(grafted[:, :, -1]))),
        "cells_changed": (("intervention", "run"), changed),
    }
    cells = int(disc(host.canvas, config.target, config.radius).sum())
    attrs = {"donor": donor.hash, "host": host.hash, "cells": cells}
    return xr.Dataset(data, {"intervention": names, "run": list(runs), "step": steps}, attrs), controls[-1]


def _measure(
    host: Organism, config: GraftConfig, states: np.ndarray, controls: np.ndarray, donors: np.ndarray
) -> dict[str, np.ndarray]:
    """The measures of `follow_grafts`: states (intervention, run, step, y, x, channel), the others (run, step, ...)."""
    assert config.source
    assert config.target
    region = disc(states.shape[3:5], config.target, config.radius)
    names = ("second_body", "first_body", "second_cells", "turn", "mse", "retained")
    out = {name: np.full(states.shape[:3], np.nan) for name in names}
    for run, step in product(range(states.shape[1]), range(states.shape[2])):
        control = controls[run, step]
        body = pictures_of(host, control)
        template = BodyTemplate(body, config.source, config.target, ~region, host.rule.spec.threshold)
        disc_of_donor = np.asarray(
            edits.graft(host, donors[run, step], config.source, config.target, config.radius, config.turn).value
        )
        apart = np.linalg.norm((control - disc_of_donor)[region])
        for k in range(len(states)):
            picture, at = pictures_of(host, states[k, run, step]), (k, run, step)
            match = template.match(picture)
            out["second_body"][at], out["first_body"][at] = match.second, match.first
            out["second_cells"][at], out["turn"][at] = match.cells, match.turn
            out["mse"][at] = picture_mse(picture, body)
            left = np.linalg.norm((states[at] - disc_of_donor)[region])
            out["retained"][at] = 1 - left / apart if apart else np.nan
    return out


def permutation_p(values: Any, null: Any) -> tuple[float, float]:
    """One-sided p that the values of some runs exceed those of a null by chance, and the least possible p.

    Runs are permuted; NaN where either has fewer than two defined values.
    """
    from scipy.stats import permutation_test

    samples = [np.asarray(v, float).ravel() for v in (values, null)]
    a, b = (v[np.isfinite(v)] for v in samples)
    if min(a.size, b.size) < 2:
        return float("nan"), float("nan")
    permutations = min(9999, math.comb(a.size + b.size, a.size))

    test = permutation_test(
        (a, b),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        n_resamples=permutations,
        alternative="greater",
        vectorized=True,
        rng=0,
    )
    return float(test.pvalue), 1 / (permutations if permutations < 9999 else 10000)
