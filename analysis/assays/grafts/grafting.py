"""A graft and its controls, followed in the same runs: sham, hidden channels alone, colours alone, random change."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.grafts.config import GraftConfig
from analysis.assays.grafts.matching import BodyTemplate, Point
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
        config: of the graft.
        source: centre of the disc in the donor.
        target: where it goes in the host.
        keys: one more than the runs that are grafted.
        host_states, donor_states: at the adult step.
        tick: receives the steps done.
    """

    host: Organism
    donor: Organism
    config: GraftConfig
    source: Point
    target: Point
    keys: Any
    host_states: States
    donor_states: States
    tick: Tick | None = None

    def picture(self, states: Any) -> Float[np.ndarray, "*b y x 4"]:
        """What states of the host show, premultiplied RGBA."""
        return np.asarray(metrics.picture(self.host.rule.spec, states))

    def edits(self, run: int) -> dict[str, Edit]:
        """The graft into one run and its controls, by intervention."""
        host, config, state, source, target = self.host, self.config, self.host_states[run], self.source, self.target
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
    host, config = grafting.host, grafting.config
    runs = range(config.runs)
    by_run = [grafting.edits(run) for run in runs]
    names = list(by_run[0])
    start = np.stack([[grafting.apply(run, by_run[run][name]) for run in runs] for name in names])
    after = {0, 20, 60, *range(100, config.eval_steps, 100), config.eval_steps}
    steps = [config.adult_step + n for n in sorted(after) if n <= config.eval_steps]

    def _follow(organism: Organism, states: States, keys: Any) -> Float[np.ndarray, "run step y x channel"]:
        return grow_through(organism, keys, steps, states=states, tick=grafting.tick).swapaxes(0, 1)

    repeated = grafting.keys[jnp.asarray([run for _ in names for run in runs])]
    grafted = _follow(host, start.reshape(-1, *start.shape[2:]), repeated).reshape(
        *start.shape[:2], len(steps), *start.shape[2:]
    )
    controls = _follow(host, grafting.host_states[: config.runs], grafting.keys[: config.runs])
    donors = _follow(grafting.donor, grafting.donor_states[1:], grafting.keys[1:])
    pictures = grafting.picture(controls)
    dims = ("intervention", "run", "step")
    data: dict[str, Any] = {
        **{name: (dims, values) for name, values in _measure(grafting, grafted, controls, donors).items()},
        "mse": (dims, np.asarray(metrics.mse(host.rule.spec, grafted, pictures), float)),
        "picture": ((*dims, "y", "x", "rgba"), grafting.picture(grafted)),
        "picture_control": (("run", "step", "y", "x", "rgba"), pictures),
        "mature_cells": (dims, np.asarray(metrics.mature_count(host.rule, grafted))),
        "mature_cells_control": (("run", "step"), np.asarray(metrics.mature_count(host.rule, controls))),
        "exploded": (dims[:2], np.asarray(metrics.exploded(grafted[:, :, -1]))),
        "cells_changed": (dims[:2], (start != grafting.host_states[: config.runs]).any(-1).sum((-2, -1))),
    }
    cells = int(disc(host.canvas, grafting.target, config.radius).sum())
    attrs = {"donor": grafting.donor.hash, "host": host.hash, "cells": cells}
    return xr.Dataset(data, {"intervention": names, "run": list(runs), "step": steps}, attrs), controls[:, -1]


def _measure(
    grafting: GraftRuns, states: np.ndarray, controls: np.ndarray, donors: np.ndarray
) -> dict[str, np.ndarray]:
    """How alike bodies and graft are: states (intervention, run, step, y, x, channel), the others (run, step, ...)."""
    host, source, target = grafting.host, grafting.source, grafting.target
    radius, turn = grafting.config.radius, grafting.config.turn
    region = disc(host.canvas, target, radius)
    names = ("second_body", "first_body", "second_cells", "turn", "retained")
    out = {name: np.full(states.shape[:3], np.nan) for name in names}
    for run, step in product(range(states.shape[1]), range(states.shape[2])):
        control = controls[run, step]
        template = BodyTemplate(grafting.picture(control), source, target, ~region, host.rule.spec.threshold)
        moved = np.asarray(edits.graft(host, donors[run, step], source, target, radius, turn).value)
        apart = np.linalg.norm((control - moved)[region])
        for k in range(len(states)):
            at = k, run, step
            match = template.match(grafting.picture(states[at]))
            out["second_body"][at], out["first_body"][at] = match.second, match.first
            out["second_cells"][at], out["turn"][at] = match.cells, match.turn
            out["retained"][at] = 1 - np.linalg.norm((states[at] - moved)[region]) / apart if apart else np.nan
    return out
