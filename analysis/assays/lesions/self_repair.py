"""Self-repair: what the other hidden channels do about a lost one.

The total effect of a lesion lets everything respond. For its direct effect the updates of the other hidden channels
are held to those of the control of the same key, while colour and alpha run free. What they make up for is the direct
less the total effect (after Rushing & Nanda 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.lesions.interventions import Specimen
from analysis.paired import EditedRun
from analysis.rollouts import Tick
from analysis.stats.surrogates import MAX_CELLS, laplacian_modes, rotate_bands
from nca import edits
from nca.errors import UserError
from nca.rollout import trajectory
from nca.rule import Rule
from nca.step import fire_mask, step_sites

REPAIR_INTERVENTIONS = {
    "zero": "held at zero from the first step on",
    "erase": "set to zero once, its own updates free",
    "erase-held": "set to zero once, its own updates held as well, so that it cannot come back by itself",
}
_MIN_DIRECT_EFFECT = 0.05  # of fitness: of a smaller effect no share is given
_ARMS = ("lesion", "null")
_OTHERS = ("free", "held")
_NEARLY_ZERO = 1e-4  # of fitness


def self_repair(
    specimen: Specimen,
    channels: Sequence[int],
    eval_step: int,
    *,
    names: Sequence[str] | None = None,
    tick: Tick | None = None,
) -> xr.Dataset:
    """Effect of losing each channel, with the other hidden channels free and with them held.

    Args:
        specimen: the control runs; their steps hold the first plus the evaluation step.
        channels: indices of hidden channels; those that are held are the others of the specimen.
        eval_step: steps after the first at which the outcome is measured.
        names: of the channels, if not the rule's.

    Returns:
        Dataset over (intervention, arm, others, channel, run): effect (1 - fitness; NaN: not defined), overgrown,
        exploded. The arm "null" changes the same channel by as much and as smoothly, elsewhere; a body of more than
        4,000 cells, whose modes would take minutes, has only the arm "lesion". Under "erase-held" the channel's own
        updates are held whether the others are free or held.

    Raises:
        UserError: fewer than two hidden channels.
    """
    if len(specimen.hidden) < 2:
        raise UserError("Self-repair needs two hidden channels or more: one is lost, others respond.")
    states, updates = _control_paths(specimen, eval_step, tick)
    moved = _displacements(specimen, channels)
    labels = [specimen.organism.rule.channel_names[c] for c in channels] if names is None else list(names)
    arms = _ARMS if moved is not None else _ARMS[:1]
    coords: dict[str, list[Any]] = {"intervention": list(REPAIR_INTERVENTIONS), "arm": list(arms)}
    coords |= {"others": list(_OTHERS), "channel": labels, "run": list(range(len(specimen.states)))}
    rows = []
    numbered = enumerate(channels)
    for intervention, arm, others, (n, channel), run in product(*list(coords.values())[:3], numbered, coords["run"]):
        displacement = moved[run, n] if moved is not None and arm == "null" else None
        edited = _edits(specimen, intervention, others, channel, states[run], updates[run], displacement)
        rows.append(EditedRun(run, tuple(edited)))
    outcomes = specimen.run_edited(rows, [eval_step], tick)
    outcomes["effect"] = 1.0 - outcomes["fitness"]
    shape = tuple(len(labels) for labels in coords.values())
    data = {name: (tuple(coords), outcomes[name].reshape(shape)) for name in ("effect", "overgrown", "exploded")}
    return xr.Dataset(data, coords, {"eval_step": eval_step, "first_step": specimen.first_step})


def _control_paths(specimen: Specimen, steps: int, tick: Tick | None = None) -> tuple[jax.Array, jax.Array]:
    """States and updates of the control runs, each (run, step, y, x, channel)."""
    organism, controls = specimen.organism, specimen.controls
    numbers = jnp.arange(specimen.first_step, specimen.first_step + steps)
    states, updates = [], []
    for run, key in enumerate(controls.keys):
        fire = None if controls.fire is None else jnp.asarray(controls.fire[run, :steps])
        noise: dict[str, Any] = {"key": key} if fire is None else {"fire": fire}
        path = trajectory(organism, steps, state=controls.states[run], start=specimen.first_step, **noise)[:-1]
        states.append(path)
        updates.append(_updates(organism.rule, path, numbers, key, fire))
        if tick is not None:
            tick(2 * steps)
    return jnp.stack(states), jnp.stack(updates)


@jax.jit
def _updates(rule: Rule, path: Any, steps: Any, key: Any, fire: Any) -> Any:
    """The site `update` of every step of a path."""

    def _update(step: Any) -> Any:
        state, t, mask = step
        mask = fire_mask(rule, key, t, state.shape[:2]) if mask is None else mask
        return step_sites(rule, state, mask)["update"]

    with jax.default_matmul_precision("highest"):
        return jax.lax.map(_update, (path, steps, fire))


def _displacements(specimen: Specimen, channels: Sequence[int]) -> Float[np.ndarray, "run channel y x"] | None:
    """For each run and channel a change with the norm of the channel's own values at the first step and their power
    at every spatial scale of the body, but elsewhere; None where a body is too large for its modes."""
    moved = np.zeros((len(specimen.states), len(channels), *specimen.states.shape[1:3]), np.float32)
    for run, state in enumerate(specimen.states):
        modes_of: dict[bytes, np.ndarray] = {}  # most channels occupy the same cells
        for n, channel in enumerate(channels):
            values = state[..., channel]
            mask = values != 0
            if mask.sum() > MAX_CELLS:
                return None
            if mask.any():
                if mask.tobytes() not in modes_of:
                    modes_of[mask.tobytes()] = laplacian_modes(mask)
                seed = int(np.random.SeedSequence([specimen.seed, run, channel]).generate_state(1)[0])
                fields = rotate_bands(values[mask][:, None], modes_of[mask.tobytes()], 1, seed, mean=False)
                moved[run, n][mask] = fields[0, :, 0]
    return moved


def _edits(
    specimen: Specimen,
    intervention: str,
    others: str,
    channel: int,
    states: Float[jax.Array, "step y x channel"],
    updates: Float[jax.Array, "step y x channel"],
    displacement: Float[np.ndarray, "y x"] | None,
) -> list[edits.Edit]:
    """The lesion, or with a displacement its null, and what is held to the updates of the control."""
    organism, first = specimen.organism, specimen.first_step
    lasting, window = intervention == "zero", slice(first, first + len(states))
    if displacement is None:
        change = edits.scale(organism, 0.0, channels=channel)
    elif lasting:
        change = edits.follow(organism, states[..., channel, None] + displacement[..., None], channels=channel)
    else:
        change = edits.add(organism, displacement[..., None], channels=channel)
    made = [change.at(window if lasting else first)]
    held = [c for c in specimen.hidden if c != channel] if others == "held" else []
    held += [channel] if intervention == "erase-held" else []
    if held:
        made.append(edits.follow(organism, updates, site="update", channels=held).at(window))
    return made


def repair_effects(repairs: xr.Dataset, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Total and direct effects, and the share repaired.

    Returns:
        For each intervention, arm and channel: total, direct, repair = direct - total, medians over runs with 95 %
        bootstrap intervals (..._low, ..._high); share = 1 - total / direct, of the medians, with its interval, only
        where the direct effect is clear (at least 0.05 of fitness, its interval excluding 0), else NaN; of lesions
        with a null, beyond_null: the repair less that of the null in the same run (NaN where a run of the lesion or
        of the null overgrew or exploded, which stops it at a step of its own); overgrown_runs, exploded_runs, with
        the others free or held; runs.
    """
    rows = []
    for intervention, arm, channel in product(*(repairs[name].values for name in ("intervention", "arm", "channel"))):
        of_arms = repairs.sel(intervention=intervention, channel=channel)
        one = of_arms.sel(arm=arm)
        total, direct = (one.effect.sel(others=others).values for others in _OTHERS)
        row: dict[str, Any] = {"intervention": str(intervention), "arm": str(arm), "channel": str(channel)}
        row["runs"] = len(total)
        values = {"total": total, "direct": direct, "repair": direct - total}
        if arm == "lesion" and "null" in repairs.arm.values:
            null = of_arms.effect.sel(arm="null")
            beyond = values["repair"] - (null.sel(others="held") - null.sel(others="free")).values
            stopped = bool(((of_arms.overgrown >= 0) | (of_arms.exploded >= 0)).any())
            values["beyond_null"] = np.full_like(beyond, np.nan) if stopped else beyond
        for name, by_run in values.items():
            median, low, high = metrics.median_interval(by_run, resamples=resamples, seed=seed)
            row |= {name: median, f"{name}_low": low, f"{name}_high": high}
        row |= _repaired_share(row, total, direct, resamples, seed)
        row |= {f"{event}_runs": int((one[event].values >= 0).any(0).sum()) for event in ("overgrown", "exploded")}
        rows.append(row)
    return pd.DataFrame(rows)


def _repaired_share(
    row: dict[str, Any], total: np.ndarray, direct: np.ndarray, resamples: int, seed: int
) -> dict[str, float]:
    """1 - total / direct with its interval, where the direct effect is clear."""
    names = ("share", "share_low", "share_high")
    excludes_zero = row["direct_low"] > _NEARLY_ZERO or row["direct_high"] < -_NEARLY_ZERO
    if not excludes_zero or abs(row["direct"]) < _MIN_DIRECT_EFFECT:
        return dict.fromkeys(names, float("nan"))
    defined = np.isfinite(total) & np.isfinite(direct)
    total, direct = total[defined], direct[defined]
    resampled = np.random.default_rng(seed).integers(len(total), size=(resamples, len(total)))
    below = np.median(direct[resampled], 1)
    shares = 1 - np.median(total[resampled], 1)[below != 0] / below[below != 0]
    low, high = np.quantile(shares, [0.025, 0.975])
    return dict(zip(names, (1 - np.median(total) / np.median(direct), low, high), strict=True))
