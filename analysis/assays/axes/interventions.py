"""Is the code of position used? Push states along it, remove it, keep nothing else. (A6)

Every intervention is paired with the control of the same key, and compared with random directions of the same norm,
or with planes that decode scrambled positions, in the same channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from analysis import metrics
from analysis.assays.axes.decoding import QUANTITIES, ridge_weights
from analysis.assays.axes.pca import PCA_MIN_CELLS
from analysis.geometry import geodesic, positions
from analysis.paired import Controls, EditedRun, run_controls, run_edited
from analysis.rollouts import CHUNK
from analysis.stats.nulls import null_tests
from analysis.stats.surrogates import haar_frames, laplacian_modes, rotate_bands
from nca import edits
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import mature
from nca.spec import channel_role

_CEILING = 10.0  # of an outcome: a run that floods the canvas counts as this much
_CODES = {"x and y": ("x", "y"), "radius and edge": ("radius", "edge")}


@dataclass(frozen=True)
class _CodeRuns:
    """Grown runs on which interventions are made.

    Attributes:
        organism: what grows.
        controls: the runs without an intervention, from the adult step to the evaluation.
        channels: names of the hidden channels.
        masks: the mature cells of every run at the adult step.
        states: hidden states of the first run there.
        quantities: what their decoders decode.
    """

    organism: Organism
    controls: Controls
    channels: tuple[str, ...]
    masks: Bool[np.ndarray, "run y x"]
    states: Float[np.ndarray, "cell channel"]
    quantities: tuple[str, ...]


def control_runs(
    organism: Organism,
    states: Float[np.ndarray, "run y x channel"],
    keys: Any,
    *,
    adult_step: int,
    eval_steps: int = 60,
    quantities: Sequence[str] = QUANTITIES,
) -> _CodeRuns:
    """Continue grown runs, from their states at the adult step, without an intervention.

    Args:
        quantities: those that are decoded; where a decoder does not decode, no direction is that of a code.

    Raises:
        UserError: fewer than two hidden channels, a run without a body, or nothing that is decoded.
    """
    if not quantities:
        raise UserError("No position quantity is decoded linearly (all R² ≤ 0), so there is no code to intervene on.")
    names = list(organism.rule.channel_names)
    hidden = tuple(name for name in names if channel_role(name) == "hidden")
    if len(hidden) < 2:
        raise UserError(f"Interventions along the code need two or more hidden channels; the rule has {len(hidden)}.")
    masks = np.asarray(mature(organism.rule, jnp.asarray(states)))
    if not (masks.sum((1, 2)) >= PCA_MIN_CELLS).all() or not np.isfinite(states).all():
        raise UserError(
            f"Interventions need runs with {PCA_MIN_CELLS} or more mature cells and finite states at step {adult_step}."
        )
    end = adult_step + eval_steps
    # Measured on the way, a body that overgrows is stopped before it costs much.
    controls = run_controls(organism, states, keys, sorted({*range(adult_step, end, CHUNK), end}))
    first = np.asarray(states)[0][masks[0]][:, [names.index(h) for h in hidden]].astype(np.float64)
    return _CodeRuns(organism, controls, hidden, masks, first, tuple(quantities))


def push_tests(runs: _CodeRuns, *, dose: float = 0.5, random_directions: int = 99, seed: int = 0) -> xr.Dataset:
    """Push all cells of the body once, along each decoder or along random directions of the same norm.

    Args:
        runs: of `control_runs`. Every second run is pushed the other way.
        dose: length of the push, in root mean squared distances of the cells' states from their mean.

    Returns:
        Dataset of `null_tests` over statistic, indexed by (quantity, measure); the null is the random directions,
        and each measure is FDR-corrected by itself. mse: between the pictures of the pushed run and its control
        at the evaluation. share_left: the share of the push that is then left in the states. Both are means
        over runs, and at most 10. Attribute length: of the push.
    """
    directions = _decoder_directions(runs)
    random = haar_frames(np.random.default_rng(seed), len(runs.channels), 1, random_directions)[..., 0]
    vectors, n = [*directions.values(), *random], len(runs.masks)
    length = dose * float(np.sqrt(np.square(runs.states - runs.states.mean(0)).sum(1).mean()))
    start = int(runs.controls.steps[0])
    rows = []
    for vector in vectors:
        for run in range(n):
            push = edits.steer(runs.organism, vector, length * (-1) ** run, channels=list(runs.channels))
            rows.append(EditedRun(run, (push.where(runs.masks[run]).at(start),)))
    final = _final_states(runs, rows)
    share_left = [
        np.mean([_share_left(runs, state, vector, length, run) for run, state in enumerate(states)])
        for vector, states in zip(vectors, final, strict=True)
    ]
    families = []
    outcomes = {"mse": np.minimum(_mse_to_control(runs, final), _CEILING).mean(1), "share_left": np.asarray(share_left)}
    for measure, values in outcomes.items():
        null = values[len(directions) :]
        families.append(null_tests({(q, measure): np.append(values[k], null) for k, q in enumerate(directions)}))
    attrs = {"length": length, "dose": dose, "random_directions": random_directions, **_attrs(runs, seed)}
    return xr.concat(families, "statistic").assign_attrs(attrs)


def projection_tests(runs: _CodeRuns, *, null_planes: int = 39, seed: int = 0) -> xr.Dataset:
    """Remove the plane of a code from the states at every step, or keep nothing but that plane.

    Args:
        runs: of `control_runs`; states are projected about the mean state of the first run.
        null_planes: planes of the null for each code: they decode the same quantities after these were
            scrambled on the body, as smooth as before. Random planes would be no match: decoders favour
            channels of little variance, whatever they decode.

    Returns:
        Dataset of `null_tests` over statistic, indexed by (quantity, measure), the quantity being a code ("x and y",
        "radius and edge"). excluded_loss: MSE to the control without the plane, over that of an empty canvas; its
        p asks whether it is large. restricted_loss: the same with the plane alone; its p asks whether it is
        small. Means over runs, each at most 10.

    Raises:
        UserError: fewer than three hidden channels, so that a plane is all there is; or no two quantities of one plane
            are decoded.
    """
    if len(runs.channels) < 3:
        raise UserError(f"Removing a plane needs three or more hidden channels; the rule has {len(runs.channels)}.")
    directions, mask = _decoder_directions(runs), runs.masks[0]
    planes = {}
    for code, pair in _CODES.items():
        if all(q in directions for q in pair):
            true = np.stack([positions(mask)[q] for q in pair], 1)
            fields = np.concatenate([true[None], rotate_bands(true, laplacian_modes(mask), null_planes, seed + 1)])
            weights = np.stack([ridge_weights(runs.states, field) for field in fields])
            planes[code] = np.linalg.qr(weights / np.linalg.norm(weights, axis=1, keepdims=True))[0]
    if not planes:
        raise UserError(f"No plane is removed: neither {' nor '.join(_CODES)} are both decoded linearly (R² above 0).")
    stacked = np.concatenate(list(planes.values()))
    complements = [np.linalg.svd(plane, full_matrices=True)[0][:, plane.shape[1] :] for plane in stacked]
    shape = (len(planes), null_planes + 1)
    excluded = dict(zip(planes, _projection_loss(runs, list(stacked)).reshape(shape), strict=True))
    restricted = dict(zip(planes, _projection_loss(runs, complements).reshape(shape), strict=True))
    families = [
        null_tests({(code, "excluded_loss"): loss for code, loss in excluded.items()}),
        null_tests({(code, "restricted_loss"): loss for code, loss in restricted.items()}, "less"),
    ]
    return xr.concat(families, "statistic").assign_attrs(null_planes=null_planes, **_attrs(runs, seed))


def _attrs(runs: _CodeRuns, seed: int) -> dict[str, int]:
    start, end = int(runs.controls.steps[0]), int(runs.controls.steps[-1])
    return {"runs": len(runs.masks), "seed": seed, "adult_step": start, "eval_steps": end - start}


def _decoder_directions(runs: _CodeRuns) -> dict[str, Float[np.ndarray, " channel"]]:
    """The decoder of each quantity as a unit vector: the push that changes the decoded quantity most."""
    position = positions(runs.masks[0]) | {"s": geodesic(runs.masks[0])}
    directions = {}
    for name in runs.quantities:
        inside = np.isfinite(position[name])
        vector = ridge_weights(runs.states[inside], position[name][inside, None])[:, 0]
        if np.linalg.norm(vector) > 0:
            directions[name] = vector / np.linalg.norm(vector)
    return directions


def _final_states(runs: _CodeRuns, rows: Sequence[EditedRun]) -> Float[np.ndarray, "row run y x channel"]:
    final = run_edited(runs.organism, runs.controls, rows)["final_states"]
    return final.reshape(-1, len(runs.masks), *final.shape[1:])


def _mse_to_control(runs: _CodeRuns, final: Float[np.ndarray, "row run y x channel"]) -> Float[np.ndarray, "row run"]:
    """MSE between the pictures of these states and those of the controls."""
    spec = runs.organism.rule.spec
    reference = np.asarray(metrics.picture(spec, runs.controls.final_states))
    return np.stack([np.asarray(metrics.mse(spec, row, reference)) for row in final])


def _share_left(runs: _CodeRuns, state: np.ndarray, vector: np.ndarray, length: float, run: int) -> float:
    """The share of a push that is left, over cells that are mature in both runs; 0 where none is."""
    control, rule = np.asarray(runs.controls.final_states[run]), runs.organism.rule
    both = np.asarray(mature(rule, jnp.asarray(state)) & mature(rule, jnp.asarray(control)))
    if not both.any() or not np.isfinite(state).all():
        return 0.0
    channels = [rule.channel_names.index(c) for c in runs.channels]
    moved = (state[both] - control[both])[:, channels].astype(np.float64) @ vector
    return float(np.clip(moved.mean() / (length * (-1) ** run), -_CEILING, _CEILING))


def _projection_loss(runs: _CodeRuns, removed: Sequence[np.ndarray]) -> Float[np.ndarray, " plane"]:
    """MSE to the control over that of an empty canvas, when each subspace is removed at every step."""
    start, centre = int(runs.controls.steps[0]), runs.states.mean(0)
    rows = []
    for plane in removed:
        project = edits.project(runs.organism, plane.T, centre, channels=list(runs.channels)).at(slice(start, None))
        rows += [EditedRun(run, (project,)) for run in range(len(runs.masks))]
    mse = _mse_to_control(runs, _final_states(runs, rows))
    empty = metrics.empty_mse(metrics.picture(runs.organism.rule.spec, runs.controls.final_states))
    return np.minimum(mse / np.maximum(np.asarray(empty), 1e-12), _CEILING).mean(1)
