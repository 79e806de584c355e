"""Where on the body a fragment makes a whole, and where a graft makes a second body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from analysis import metrics
from analysis.assays.grafts import matching
from analysis.assays.grafts.config import GraftConfig
from analysis.assays.grafts.operations import States, pictures, set_once
from analysis.assays.regeneration.wounds import holes_in
from analysis.rollouts import Tick, grow_runs
from nca import edits
from nca.damage import disc
from nca.organism import Organism
from nca.perception import mature


def isolated(
    host: Organism, hosts: States, keys: Any, config: GraftConfig, ends: States, tick: Tick | None = None
) -> xr.Dataset:
    """Which disc, left alone, rebuilds the whole.

    Returns:
        Dataset over (place, run): fit (W of the body laid best over what grew, any shift and turn),
        fit_start (the same of the bare fragment, its null), mature and mature_twin (cells at the end);
        radius, at_y, at_x (place,); picture (place, y, x, rgba) of the first run; body (y, x).
    """
    body = np.asarray(mature(host.rule, jnp.asarray(hosts[0])))
    wounds = holes_in(body, config.fragments, config.places)
    regions = np.stack([region for region, _ in wounds.values()])

    def start(place: int, run: int) -> np.ndarray:
        return np.where(regions[place][..., None], hosts[run], 0).astype(np.float32)

    def judge(place: int, run: int, state: np.ndarray) -> tuple[float, float, float]:
        whole = pictures(host, ends[run])
        bare = matching.whole_body(pictures(host, start(place, run)), pictures(host, hosts[run]))[0]
        cells = float(metrics.mature_count(host.rule, state))
        return matching.whole_body(pictures(host, state), whole)[0], bare, cells

    found = _mapped(host, keys, config, [n for _, n in wounds.values()], start, judge, tick)
    found = found.rename({"a": "fit", "b": "fit_start", "c": "mature"})
    few = [int(metrics.mature_count(host.rule, end)) for end in ends[: config.map_runs]]
    return found.assign(body=(("y", "x"), body), mature_twin=("run", few))


def organizing(
    donor: Organism,
    host: Organism,
    hosts: States,
    donors: States,
    keys: Any,
    config: GraftConfig,
    ends: States,
    tick: Tick | None = None,
) -> xr.Dataset:
    """Discs from all over the donor's body, each moved to the graft's place.

    Returns:
        Dataset over (place, run): second, first (shares at the end, as in `compared`) and distance (E to
        the ungrafted twin); radius, at_y, at_x (place,) of the disc's origin; picture (place, y, x,
        rgba) of the first run; body (y, x), the donor's.
    """
    body = np.asarray(mature(donor.rule, jnp.asarray(donors[1])))
    numbers = [n for _, n in holes_in(body, (config.radius,), config.places).values()]
    outside = ~disc(host.canvas, config.place, config.radius)

    def start(place: int, run: int) -> np.ndarray:
        source = (numbers[place]["at_y"], numbers[place]["at_x"])
        edit = edits.graft(host, donors[run + 1], source, config.place, config.radius, config.turn)
        return set_once(host, hosts[run], edit.at(config.at), config.at, keys[run])

    def judge(place: int, run: int, state: np.ndarray) -> tuple[float, float, float]:
        source = (numbers[place]["at_y"], numbers[place]["at_x"])
        twin, picture = pictures(host, ends[run]), pictures(host, state)
        found = matching.Template(twin, source, config.place, outside, host.rule.spec.threshold).match(picture)
        return found.share, found.first, matching.distance(picture, twin)

    found = _mapped(host, keys, config, numbers, start, judge, tick)
    return found.rename({"a": "second", "b": "first", "c": "distance"}).assign(body=(("y", "x"), body))


def _mapped(
    host: Organism,
    keys: Any,
    config: GraftConfig,
    numbers: Sequence[dict[str, float]],
    start: Callable[[int, int], np.ndarray],
    judge: Callable[[int, int, np.ndarray], tuple[float, float, float]],
    tick: Tick | None,
) -> xr.Dataset:
    """Three measures (a, b, c) of what grows from a start at every place, in every run of a map."""
    rows = list(product(range(len(numbers)), range(config.map_runs)))
    begun = np.stack([start(*row) for row in rows])
    own = jnp.asarray([run for _, run in rows])
    ends = np.asarray(grow_runs(host, config.until - config.at, keys[own], states=begun, start=config.at, tick=tick))
    values = np.array([judge(*row, end) for row, end in zip(rows, ends, strict=True)])
    shaped = values.reshape(len(numbers), config.map_runs, 3)
    found = xr.Dataset(
        {name: (("place", "run"), shaped[..., i]) for i, name in enumerate("abc")},
        {"place": np.arange(len(numbers)), "run": np.arange(config.map_runs)},
    )
    for name in numbers[0]:
        found[name] = "place", [n[name] for n in numbers]
    first = ends.reshape(len(numbers), config.map_runs, *ends.shape[1:])[:, 0]
    return found.assign(picture=(("place", "y", "x", "rgba"), pictures(host, first)))
