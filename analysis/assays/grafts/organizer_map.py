"""Maps over the body: which disc, left alone, rebuilds it, and which disc, moved, organizes a second body."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.grafts.grafting import GraftRuns, States
from analysis.assays.grafts.matching import BodyTemplate, best_fit
from analysis.geometry import hole_grid
from analysis.rollouts import grow_runs
from nca import edits
from nca.damage import disc
from nca.perception import mature

_Measured = Mapping[str, float]


def isolation_map(grafting: GraftRuns, controls: States) -> xr.Dataset:
    """What every disc of the host's body grows into when it is left alone.

    Args:
        grafting: the grown bodies.
        controls: undisturbed states at the end.

    Returns:
        Dataset over (point, run): fit (fitness of the body that fits best what grew, over shifts and turns), fit_start
        (the same of the bare disc, its null), mature_cells, mature_cells_control (run,); radius, centre_y,
        centre_x (point,); picture (point, y, x, rgba) of the first run; body (y, x).
    """
    host, states, config = grafting.host, grafting.host_states, grafting.config
    body = np.asarray(mature(host.rule, jnp.asarray(states[0])))
    discs = list(hole_grid(body, config.fragments, config.map_points).values())

    def _start(point: int, run: int) -> Float[np.ndarray, "y x channel"]:
        return np.where(discs[point][0][..., None], states[run], 0).astype(np.float32)

    def _measure(point: int, run: int, state: np.ndarray) -> _Measured:
        return {
            "fit": best_fit(grafting.picture(state), grafting.picture(controls[run]))[0],
            "fit_start": best_fit(grafting.picture(_start(point, run)), grafting.picture(states[run]))[0],
            "mature_cells": float(metrics.mature_count(host.rule, state)),
        }

    cells = np.asarray(metrics.mature_count(host.rule, controls[: config.map_runs]))
    data = _map_points(grafting, [numbers for _, numbers in discs], _start, _measure)
    return data.assign(body=(("y", "x"), body), mature_cells_control=("run", cells))


def organizer_map(grafting: GraftRuns, controls: States) -> xr.Dataset:
    """What discs from all over the donor's body make when each is moved to the graft's target.

    Args:
        grafting: the grown bodies.
        controls: undisturbed states at the end.

    Returns:
        Dataset over (point, run): second_body, first_body (shares at the end, as of `follow_grafts`) and mse (to the
        ungrafted control); radius, centre_y, centre_x (point,) of the disc's origin; picture (point, y, x, rgba) of
        the first run; body (y, x), the donor's.
    """
    host, config, target = grafting.host, grafting.config, grafting.target
    outside = ~disc(host.canvas, target, config.radius)
    body = np.asarray(mature(grafting.donor.rule, jnp.asarray(grafting.donor_states[1])))
    points = [numbers for _, numbers in hole_grid(body, (config.radius,), config.map_points).values()]
    sources = [(numbers["centre_y"], numbers["centre_x"]) for numbers in points]

    def _start(point: int, run: int) -> Float[np.ndarray, "y x channel"]:
        donor = grafting.donor_states[run + 1]
        edit = edits.graft(host, donor, sources[point], target, config.radius, config.turn)
        return grafting.apply(run, edit.at(config.adult_step))

    def _measure(point: int, run: int, state: np.ndarray) -> _Measured:
        control = grafting.picture(controls[run])
        template = BodyTemplate(control, sources[point], target, outside, host.rule.spec.threshold)
        match = template.match(grafting.picture(state))
        mse = float(metrics.mse(host.rule.spec, state, control))
        return {"second_body": match.second, "first_body": match.first, "mse": mse}

    return _map_points(grafting, points, _start, _measure).assign(body=(("y", "x"), body))


def _map_points(
    grafting: GraftRuns,
    points: Sequence[Mapping[str, float]],
    start: Callable[[int, int], np.ndarray],
    measure: Callable[[int, int, np.ndarray], _Measured],
) -> xr.Dataset:
    """What `measure` gives of what grows from `start`, at every point in every run of a map."""
    host, config = grafting.host, grafting.config
    rows = list(product(range(len(points)), range(config.map_runs)))
    runs = jnp.asarray([run for _, run in rows])
    begin = np.stack([start(*row) for row in rows])
    keys, steps = grafting.keys[runs], config.eval_steps
    ends = np.asarray(grow_runs(host, steps, keys, states=begin, start=config.adult_step, tick=grafting.tick))
    measured = [measure(*row, end) for row, end in zip(rows, ends, strict=True)]
    shape = len(points), config.map_runs
    data: dict[str, Any] = {n: (("point", "run"), np.reshape([m[n] for m in measured], shape)) for n in measured[0]}
    data |= {name: ("point", np.array([p[name] for p in points])) for name in points[0]}
    first = ends.reshape(*shape, *ends.shape[1:])[:, 0]
    data["picture"] = ("point", "y", "x", "rgba"), grafting.picture(first)
    return xr.Dataset(data, {"point": np.arange(len(points)), "run": np.arange(config.map_runs)})
