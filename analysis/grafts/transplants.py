"""Is a cell's state a code? A disc of it is moved elsewhere, and the host's rule runs what it finds.

Beside the graft stand, at the same place of the same run: a sham (the same place of a twin run), its
hidden channels alone, its colours alone, and a random change as large in every cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from analysis.experiments import metrics
from analysis.experiments.progress import Progress, Say, silent
from analysis.experiments.rollouts import STRETCH, Course, Tick, grown, keys_of, stretch
from analysis.grafts import matching
from analysis.grafts.config import GraftConfig
from analysis.healing.wounds import holes_in, no_body
from nca import edits
from nca.damage import disc
from nca.edits import Edit
from nca.errors import UserError
from nca.growth import trajectory
from nca.organism import Organism
from nca.perception import mature

GRAFT, HIDDEN, COLOUR, RANDOM, SHAM = "graft", "hidden only", "colour only", "random", "sham"
NULLS = (SHAM, RANDOM)
_STREAM = 7919  # of the random grafts, apart from every key's own
States = Float[np.ndarray, "run y x channel"]


@dataclass(frozen=True)
class Grafted:
    """What came of grafts.

    Attributes:
        donor, host: whose cells, and whose rule.
        config: how.
        grafts: what `compared` says; empty where there is trouble.
        isolation: what `isolated` says; empty where no map was made.
        organizers: what `organizing` says; empty where no map was made.
        film: states of the first run after the sham and after the graft, (step, y, x, channel).
        trouble: why nothing was grafted.
        warnings: what to bear in mind, in sentences.
    """

    donor: Organism
    host: Organism
    config: GraftConfig
    grafts: xr.Dataset = field(default_factory=xr.Dataset)
    isolation: xr.Dataset = field(default_factory=xr.Dataset)
    organizers: xr.Dataset = field(default_factory=xr.Dataset)
    film: tuple[np.ndarray, np.ndarray] | None = None
    trouble: str = ""
    warnings: Sequence[str] = ()


def graft(
    donor: Organism, host: Organism, config: GraftConfig, say: Say = silent, twin: bool | None = None
) -> Grafted:
    """Grow both, move the disc, follow, and map.

    Args:
        donor: whose cells are moved; grown on the host's canvas.
        host: whose rule runs them.
        config: how.
        say: is told the progress.
        twin: whether the donor is a twin run of the host, with the next key; if none, where both are
            the same organism.

    Raises:
        UserError: another number of channels, or a disc without a living cell.
    """
    config, donor = config.filled(), _fitted(donor, host)
    same = donor.hash == host.hash if twin is None else twin
    progress = Progress(say, planned(config, same))
    progress.stage = "growing"
    # Run i takes from run i + 1: one run more than is grafted.
    keys = keys_of(config.seed, config.runs + 1)
    hosts = np.asarray(grown(host, config.at, keys, tick=progress.tick))
    donors = hosts if same else np.asarray(grown(donor, config.at, keys, tick=progress.tick))
    warnings = () if same or _alike(donor, host) else (foreign(donor, host),)
    if trouble := no_body(host, hosts, config.at) or no_body(donor, donors, config.at):
        return Grafted(donor, host, config, trouble=trouble, warnings=warnings)
    check_disc(donor, donors, config)
    progress.stage = "grafting"
    found, ends = compared(donor, host, hosts, donors, keys, config, progress.tick)
    isolation = organizers = xr.Dataset()
    if config.map_runs:
        progress.stage = "isolating fragments"
        isolation = isolated(host, hosts, keys, config, ends, progress.tick)
        progress.stage = "looking for organizers"
        organizers = organizing(donor, host, hosts, donors, keys, config, ends, progress.tick)
    progress.stage = "filming"
    film = filmed(host, hosts, donors, keys, config)
    return Grafted(donor, host, config, found, isolation, organizers, film, warnings=warnings)


def planned(config: GraftConfig, same: bool) -> int:
    """Steps that `graft` takes at most, all runs together."""
    span = config.until - config.at
    maps = (len(config.fragments) + 1) * config.places * config.map_runs
    grafts = config.runs * (7 if same else 8) + 1
    return (config.runs + 1) * config.at * (1 if same else 2) + (grafts + maps) * span


def _fitted(donor: Organism, host: Organism) -> Organism:
    """The donor on the host's canvas."""
    theirs, ours = donor.rule.spec.channels, host.rule.spec.channels
    if theirs != ours:
        raise UserError(
            f"A graft needs equal channels in donor and host; {donor.name} has {theirs}, {host.name} {ours}."
        )
    return donor if donor.canvas == host.canvas else replace(donor, canvas=host.canvas)


def _alike(donor: Organism, host: Organism) -> bool:
    """Whether two organisms go by one rule, whatever their canvas."""
    return replace(donor, canvas=host.canvas).hash == host.hash


def foreign(donor: Organism, host: Organism) -> str:
    """The warning where two rules meet."""
    return (
        f"{host.name} runs cells of {donor.name}, another rule: its hidden channels mean something else, so "
        "whatever grows says nothing of a code that both share."
    )


def check_disc(donor: Organism, donors: States, config: GraftConfig) -> None:
    """Raise where a disc takes no living cell of the donor, or lies off the canvas."""
    high, wide = donors.shape[1:3]
    for name, (y, x) in (("from", config.source), ("to", config.place)):
        if not (0 <= y < high and 0 <= x < wide):
            raise UserError(f"--{name} {y:g},{x:g} lies off the canvas of {high}x{wide} cells (y,x from 0).")
    body = np.asarray(mature(donor.rule, jnp.asarray(donors)))
    if not (body & disc((high, wide), config.source, config.radius)).any():
        rows, columns = np.argwhere(body.any(0)).T
        raise UserError(
            f"The disc at {config.source[0]:g},{config.source[1]:g} takes no cell of {donor.name}'s body, "
            f"which lies in rows {rows.min()} to {rows.max()} and columns {columns.min()} to {columns.max()} "
            f"at step {config.at}."
        )


def kinds(
    host: Organism, mine: np.ndarray, other: np.ndarray, twin: np.ndarray, config: GraftConfig, number: int
) -> dict[str, Edit]:
    """The graft into one run and what stands beside it, by name.

    Args:
        host: the host.
        mine: its state, (y, x, channel).
        other: the donor's.
        twin: the host's in the next run, which the sham comes from.
        config: how.
        number: of the run, which the random graft follows from.
    """
    colours, hidden = channels_of(host)
    move: dict[str, Any] = {
        "source": config.source,
        "place": config.place,
        "radius": config.radius,
        "turn": config.turn,
    }
    made = {GRAFT: edits.graft(host, other, **move)}
    if hidden:
        made[HIDDEN] = edits.graft(host, other, **move, channels=hidden)
        made[COLOUR] = edits.graft(host, other, **move, channels=colours)
    made[RANDOM] = scrambled(host, mine, made[GRAFT], config.seed, number)
    here = {**move, "source": config.place, "turn": 0.0}
    made[SHAM] = edits.graft(host, twin, **here)
    return {name: edit.at(config.at) for name, edit in made.items()}


def channels_of(organism: Organism) -> tuple[list[int], list[int]]:
    """Numbers of the channels that show, and of the others."""
    names = organism.rule.channel_names
    hidden = [i for i, name in enumerate(names) if name.startswith("h")]
    return [i for i in range(len(names)) if i not in hidden], hidden


def scrambled(host: Organism, mine: np.ndarray, graft: Edit, seed: int, number: int) -> Edit:
    """A change as large as the graft's in every cell, in a random direction of all channels."""
    change = np.asarray(graft.value) - mine
    draw = np.random.default_rng([seed, number, _STREAM]).normal(size=change.shape)
    size = np.linalg.norm(change, axis=-1, keepdims=True) / np.linalg.norm(draw, axis=-1, keepdims=True)
    return edits.clamp(host, mine + draw * size).where(np.asarray(graft.region))


def marks(config: GraftConfig) -> list[int]:
    """The steps looked at."""
    span = config.until - config.at
    return [config.at + n for n in sorted({0, 20, 60, *range(100, span, 100), span}) if n <= span]


def compared(
    donor: Organism,
    host: Organism,
    hosts: States,
    donors: States,
    keys: Any,
    config: GraftConfig,
    tick: Tick | None = None,
) -> tuple[xr.Dataset, States]:
    """The graft and what stands beside it, in every run, as they go on.

    Returns:
        Dataset over (kind, run, time): second (share of a second body, NaN where too few cells could
        show one), first (share of the first body kept), cells (that show the second), turn (of the
        second body, degrees), distance (E to the ungrafted twin), kept (1: the disc is still as in the
        donor's own run, 0: as far from it as the twin's), mature; mature_twin (run, time); exploded
        (kind, run); touched (kind, run), cells that the graft changed; picture (kind, run, time, y, x,
        rgba) and picture_twin (run, time, y, x, rgba); and the twins at the end.
    """
    runs = range(config.runs)
    mine, theirs = hosts[: config.runs], donors[1 : config.runs + 1]
    each = [kinds(host, mine[r], theirs[r], hosts[r + 1], config, r) for r in runs]
    names = list(each[0])
    rows = [(k, r) for k in names for r in runs]
    start = np.stack([_set(host, mine[r], each[r][k], config.at, keys[r]) for k, r in rows])
    own = jnp.asarray([r for _, r in rows])
    when = marks(config)
    grafted = _followed(host, start, keys[own], when, tick)
    twins = _followed(host, mine, keys[: config.runs], when, tick)
    origin = _followed(donor, theirs, keys[1 : config.runs + 1], when, tick)
    dims = ("kind", "run", "time")
    shaped = grafted.reshape(len(when), len(names), config.runs, *grafted.shape[2:]).transpose(
        1, 2, 0, 3, 4, 5
    )
    data = judged(host, shaped, twins.swapaxes(0, 1), origin.swapaxes(0, 1), config)
    touched = [
        [int((_seen(start, names, k, r) != mine[r]).any(-1).sum()) for r in runs] for k in range(len(names))
    ]
    found = xr.Dataset(
        {name: (dims, values) for name, values in data.items()},
        {"kind": names, "run": list(runs), "time": when},
        {
            "donor": donor.hash,
            "host": host.hash,
            "cells": int(disc(host.canvas, config.place, config.radius).sum()),
        },
    )
    pictures = np.asarray(metrics.picture(host.rule.spec, shaped))
    found["picture"] = (*dims, "y", "x", "rgba"), pictures
    found["picture_twin"] = ("run", "time", "y", "x", "rgba"), _pictures(host, twins.swapaxes(0, 1))
    found["mature_twin"] = ("run", "time"), np.asarray(metrics.mature_count(host.rule, twins)).T
    found["exploded"] = ("kind", "run"), np.asarray(metrics.exploded(shaped[:, :, -1]))
    found["touched"] = ("kind", "run"), touched
    return found, twins[-1]


def _seen(start: np.ndarray, names: Sequence[str], kind: int, run: int) -> np.ndarray:
    return start.reshape(len(names), -1, *start.shape[1:])[kind, run]


def _set(host: Organism, state: np.ndarray, edit: Edit, at: int, key: Any) -> np.ndarray:
    return np.asarray(edits.apply([edit], "state", jnp.asarray(state), at, key))


def _pictures(organism: Organism, states: Any) -> Float[np.ndarray, "*b y x 4"]:
    return np.asarray(metrics.picture(organism.rule.spec, states))


def _followed(
    organism: Organism, states: np.ndarray, keys: Any, when: Sequence[int], tick: Tick | None
) -> Float[np.ndarray, "time run y x channel"]:
    """States at every mark."""
    seen = [np.asarray(states)]
    for here, there in pairwise(when):
        seen.append(np.asarray(grown(organism, there - here, keys, states=seen[-1], start=here, tick=tick)))
    return np.stack(seen)


def judged(
    host: Organism, states: np.ndarray, twins: np.ndarray, origin: np.ndarray, config: GraftConfig
) -> dict[str, np.ndarray]:
    """The measures of `compared`, of states (kind, run, time, y, x, channel) and twins (run, time, ...)."""
    region = disc(states.shape[3:5], config.place, config.radius)
    out = {
        name: np.full(states.shape[:3], np.nan)
        for name in ("second", "first", "cells", "turn", "distance", "kept")
    }
    for run, time in product(range(states.shape[1]), range(states.shape[2])):
        body = _pictures(host, twins[run, time])
        template = matching.Template(body, config.source, config.place, ~region, host.rule.spec.threshold)
        donor = edits.graft(
            host,
            origin[run, time],
            source=config.source,
            place=config.place,
            radius=config.radius,
            turn=config.turn,
        )
        away = np.linalg.norm((twins[run, time] - np.asarray(donor.value))[region])
        for kind in range(len(states)):
            picture, at = _pictures(host, states[kind, run, time]), (kind, run, time)
            found = template.match(picture)
            out["second"][at], out["first"][at], out["cells"][at] = found.share, found.first, found.cells
            out["turn"][at], out["distance"][at] = found.turn, matching.distance(picture, body)
            off = np.linalg.norm((states[at] - np.asarray(donor.value))[region])
            out["kept"][at] = 1 - off / away if away else np.nan
    return out | {"mature": np.asarray(metrics.mature_count(host.rule, states))}


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
        whole = _pictures(host, ends[run])
        bare = matching.whole_body(_pictures(host, start(place, run)), _pictures(host, hosts[run]))[0]
        cells = float(metrics.mature_count(host.rule, state))
        return matching.whole_body(_pictures(host, state), whole)[0], bare, cells

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
        return _set(host, hosts[run], edit.at(config.at), config.at, keys[run])

    def judge(place: int, run: int, state: np.ndarray) -> tuple[float, float, float]:
        source = (numbers[place]["at_y"], numbers[place]["at_x"])
        twin, picture = _pictures(host, ends[run]), _pictures(host, state)
        found = matching.Template(twin, source, config.place, outside, host.rule.spec.threshold).match(
            picture
        )
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
    ends = np.asarray(
        grown(host, config.until - config.at, keys[own], states=begun, start=config.at, tick=tick)
    )
    values = np.array([judge(*row, end) for row, end in zip(rows, ends, strict=True)])
    shaped = values.reshape(len(numbers), config.map_runs, 3)
    found = xr.Dataset(
        {name: (("place", "run"), shaped[..., i]) for i, name in enumerate("abc")},
        {"place": np.arange(len(numbers)), "run": np.arange(config.map_runs)},
    )
    for name in numbers[0]:
        found[name] = "place", [n[name] for n in numbers]
    first = ends.reshape(len(numbers), config.map_runs, *ends.shape[1:])[:, 0]
    return found.assign(picture=(("place", "y", "x", "rgba"), _pictures(host, first)))


def filmed(
    host: Organism, hosts: States, donors: States, keys: Any, config: GraftConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The first run after the sham and after the graft, every state from the operation on."""
    made = kinds(host, hosts[0], donors[1], hosts[1], config, 0)
    course = Course(host, keys[:1], start=config.at)
    films = []
    for kind in (SHAM, GRAFT):
        states = [_set(host, hosts[0], made[kind], config.at, keys[0])[None]]
        for here in range(0, config.until - config.at, STRETCH):
            steps = min(STRETCH, config.until - config.at - here)
            more = stretch(course, jnp.asarray(states[-1][-1:]), here, steps, trajectory)
            states.append(np.asarray(more[0, 1:]))
        films.append(np.concatenate(states))
    return films[0], films[1]


def above(values: Any, null: Any) -> tuple[float, float]:
    """One-sided p that some keys exceed a null's by chance (permutation of keys), and the least possible.

    NaN where either has less than two keys.
    """
    from scipy.stats import permutation_test

    known, drawn = (np.asarray(v, float).ravel() for v in (values, null))
    known, drawn = known[np.isfinite(known)], drawn[np.isfinite(drawn)]
    if min(known.size, drawn.size) < 2:
        return float("nan"), float("nan")
    deals = min(9999, math.comb(known.size + drawn.size, known.size))

    def excess(a: np.ndarray, b: np.ndarray, axis: int) -> Any:
        return a.mean(axis) - b.mean(axis)

    test = permutation_test(
        (known, drawn), excess, n_resamples=deals, alternative="greater", vectorized=True, rng=0
    )
    return float(test.pvalue), 1 / (deals if deals < 9999 else 10000)
