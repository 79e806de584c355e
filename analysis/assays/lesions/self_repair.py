"""Self-repair: what the other hidden channels do about a lost one.

The total effect TE of a lesion lets everything respond. For its direct effect DE the updates of the
other hidden channels are held to those of the undisturbed run of the same key, while colour and alpha run
free. What they make up for is DE - TE (after Rushing & Nanda 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.lesions.kinds import Scene
from analysis.paired import EditedRun, run_edited
from analysis.rollouts import Tick
from analysis.stats.surrogates import LARGEST_BODY, modes, rotated
from nca import edits
from nca.errors import UserError
from nca.rollout import trajectory
from nca.rule import Rule
from nca.step import fire_mask, step_sites

KINDS = {
    "zero": "held at zero from the first step on",
    "erase": "erased once, its own updates free",
    "erase, held": "erased once, its own updates held as well, so that it cannot come back by itself",
    "null of zero": "held off its undisturbed values by as much as zero is at first, as smoothly, elsewhere",
    "null of erase": "displaced once by as much, as smoothly, elsewhere",
    "null of erase, held": "displaced so, and its own updates held",
}
NULL = "null of "
WAYS = ("total", "direct")
STOPPED = ("overgrown", "exploded")
LEAST = 1e-4  # of W: an effect below is as good as none


def self_repair(
    scene: Scene,
    channels: Sequence[int],
    horizon: int,
    *,
    names: Sequence[str] | None = None,
    tick: Tick | None = None,
) -> xr.Dataset:
    """Fitness after the loss of each channel, with the others free and with the others held.

    Args:
        scene: the runs; their marks hold the first step plus the horizon.
        channels: hidden channels, two or more; those that are held are the others of the scene.
        horizon: steps after the first at which the outcome is measured.
        names: of the channels, if not the rule's.
        tick: is told the steps done.

    Returns:
        Dataset over (kind, way, channel, run): effect (1 - W; NaN: not defined), overgrown, exploded.
        Under "erase, held" the total lets the others respond while the channel's own updates are held.
        A body of more than 4,000 cells, whose waves would take minutes, has no nulls.
    """
    if len(scene.hidden) < 2:
        raise UserError("Self-repair needs two hidden channels or more: one is lost, others respond.")
    runs, controls = len(scene.states), scene.controls
    paths = clean_paths(scene, horizon, tick)
    pushes = displacements(scene, channels)
    kinds = [kind for kind in KINDS if pushes is not None or not kind.startswith(NULL)]
    pushes = np.zeros((runs, len(channels), 1, 1)) if pushes is None else pushes
    rows = [
        EditedRun(run, tuple(_edits(scene, kind, way, channel, [p[run] for p in paths], horizon, pushes[run, n])))
        for kind in kinds
        for way in WAYS
        for n, channel in enumerate(channels)
        for run in range(runs)
    ]
    found = run_edited(scene.organism, controls, rows, tick)
    mark = int(np.searchsorted(controls.steps, controls.steps[0] + horizon))
    which = np.tile(np.arange(runs), len(rows) // runs)
    e, before, dead = found["mse"][:, mark], controls.mse[which, mark], controls.mse_empty[which, mark]
    shape, dims = (len(kinds), len(WAYS), len(channels), runs), ("kind", "way", "channel", "run")
    lost = 1.0 - np.asarray(metrics.fitness(e, before, dead), np.float64)
    data = {"effect": (dims, lost.reshape(shape))}
    data |= {name: (dims, found[name].reshape(shape)) for name in ("overgrown", "exploded")}
    labels = [scene.organism.rule.channel_names[c] for c in channels] if names is None else list(names)
    coords = {"kind": kinds, "way": list(WAYS), "channel": labels, "run": np.arange(runs)}
    return xr.Dataset(data, coords, {"horizon": horizon, "at": scene.at})


def clean_paths(scene: Scene, steps: int, tick: Tick | None = None) -> tuple[jax.Array, jax.Array]:
    """States and updates of the undisturbed runs, each (run, step, y, x, channel)."""
    organism, controls, when = scene.organism, scene.controls, jnp.arange(scene.at, scene.at + steps)
    states, updates = [], []
    for run, key in enumerate(controls.keys):
        fire = None if controls.fire is None else jnp.asarray(controls.fire[run, :steps])
        noise: dict[str, Any] = {"key": key} if fire is None else {"fire": fire}
        states.append(trajectory(organism, steps, state=controls.states[run], start=scene.at, **noise)[:-1])
        updates.append(_updates(organism.rule, states[-1], when, key, fire))
        if tick is not None:
            tick(2 * steps)
    return jnp.stack(states), jnp.stack(updates)


@jax.jit
def _updates(rule: Rule, path: Any, when: Any, key: Any, fire: Any) -> Any:
    """The site `update` of every step of a path."""

    def one(step: Any) -> Any:
        state, t, mask = step
        mask = fire_mask(rule, key, t, state.shape[:2]) if mask is None else mask
        return step_sites(rule, state, mask)["update"]

    with jax.default_matmul_precision("highest"):
        return jax.lax.map(one, (path, when, fire))


def displacements(scene: Scene, channels: Sequence[int]) -> Float[np.ndarray, "run channel y x"] | None:
    """For each run and channel a change with the norm of the channel's own values at the first step, and
    their power at every scale of the body, but elsewhere; None where a body is too large for its waves."""
    made = np.zeros((len(scene.states), len(channels), *scene.states.shape[1:3]), np.float32)
    for run, state in enumerate(scene.states):
        waves: dict[bytes, np.ndarray] = {}  # of most channels, the same cells
        for n, channel in enumerate(channels):
            values = state[..., channel]
            if (values != 0).sum() > LARGEST_BODY:
                return None
            if (values != 0).any():
                mask = values != 0
                if mask.tobytes() not in waves:
                    waves[mask.tobytes()] = modes(mask)
                seed = int(np.random.SeedSequence([scene.seed, run, channel]).generate_state(1)[0])
                turned = rotated(values[mask][:, None], waves[mask.tobytes()], 1, seed, mean=False)
                made[run, n][mask] = turned[0, :, 0]
    return made


def _edits(
    scene: Scene, kind: str, way: str, channel: int, paths: Any, horizon: int, push: np.ndarray
) -> list[edits.Edit]:
    """The lesion or its null, and what is held to the undisturbed run's updates."""
    organism, whole, once = scene.organism, slice(scene.at, scene.at + horizon), scene.at
    states, updates = paths
    harm = kind.removeprefix(NULL)
    if harm == kind:
        made = [edits.scale(organism, 0.0, channels=channel).at(whole if kind == "zero" else once)]
    elif harm == "zero":
        made = [edits.follow(organism, states[..., channel, None] + push[..., None], channels=channel).at(whole)]
    else:
        made = [edits.add(organism, push[..., None], channels=channel).at(once)]
    others = [c for c in scene.hidden if c != channel] if way == "direct" else []
    held = [*others, channel] if harm == "erase, held" else others
    if held:
        made.append(edits.follow(organism, updates, site="update", channels=held).at(whole))
    return made


def effects(found: xr.Dataset, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Total and direct effects, and the share repaired.

    Returns:
        For each kind and channel: total, direct, repair = direct - total, medians over keys with 95 %
        bootstrap intervals (..._low, ..._high); share = 1 - total / direct, of the medians, with its
        interval, only where the direct effect's interval excludes 0, else NaN; of lesions, beyond: the
        repair less that of its null in the same key (NaN where there is none, or where a run of the lesion
        or of the null overgrew or exploded, which stops it at a step of its own); overgrown_runs,
        exploded_runs of either way; runs.
    """
    rows = []
    for kind in found.kind.values:
        for channel in found.channel.values:
            one = found.sel(kind=kind, channel=channel)
            total, direct = (one.effect.sel(way=way).values for way in WAYS)
            row: dict[str, Any] = {"kind": str(kind), "channel": str(channel), "runs": len(total)}
            for name, values in (("total", total), ("direct", direct), ("repair", direct - total)):
                middle, low, high = metrics.median_interval(values, resamples=resamples, seed=seed)
                row |= {name: middle, f"{name}_low": low, f"{name}_high": high}
            row |= _share(row, total, direct, resamples, seed)
            null = f"{NULL}{kind}"
            if null in found.kind.values:
                other = found.sel(kind=null, channel=channel)
                away = other.effect
                beyond = direct - total - (away.sel(way="direct") - away.sel(way="total")).values
                stopped = [(of[what].values >= 0).any() for of in (one, other) for what in STOPPED]
                beyond = np.full_like(beyond, np.nan) if any(stopped) else beyond
                middle, low, high = metrics.median_interval(beyond, resamples=resamples, seed=seed)
                row |= {"beyond": middle, "beyond_low": low, "beyond_high": high}
            for what in STOPPED:
                row[f"{what}_runs"] = int((one[what].values >= 0).any(0).sum())
            rows.append(row)
    return pd.DataFrame(rows)


def _share(row: dict[str, Any], total: np.ndarray, direct: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    """1 - TE / DE with its interval, where DE is clear of 0."""
    names, known = ("share", "share_low", "share_high"), np.isfinite(total) & np.isfinite(direct)
    if not row["direct_low"] > LEAST and not row["direct_high"] < -LEAST:
        return dict.fromkeys(names, float("nan"))
    total, direct = total[known], direct[known]
    drawn = np.random.default_rng(seed).integers(len(total), size=(resamples, len(total)))
    below = np.median(direct[drawn], 1)
    again = 1 - np.median(total[drawn], 1)[below != 0] / below[below != 0]
    low, high = np.quantile(again, [0.025, 0.975])
    return dict(zip(names, (1 - np.median(total) / np.median(direct), low, high), strict=True))
