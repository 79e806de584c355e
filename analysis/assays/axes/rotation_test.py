"""Compass or map: does the body follow the frame of its perception, or one that it carries? (A7)

Angles of rotations run from y (down) towards x (right), as in `Rule.rotate`: anticlockwise on the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.ndimage
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.axes.pca import PCA_MIN_CELLS, SHOWN, pca
from analysis.geometry import positions
from analysis.recording import label_states
from analysis.rollouts import fire_masks, grow_runs
from nca.errors import UserError
from nca.organism import Organism
from nca.spec import PERCEPTIONS, hidden_channels

_COARSE = 5  # degrees


def rotate_perception(
    organism: Organism, steps: int, keys: Any, *, angles: Sequence[float] = (45, 90, 180)
) -> xr.Dataset:
    """Grow from the seed with the perception rotated by each angle (degrees), by the same keys.

    Args:
        keys: of two or more runs: at angle 0 every run is compared with the body of the next run, which shows
            how well a rotation can be measured.

    Returns:
        Dataset over (angle, run), angle 0 first: body_rotation and match (`_fit_rotation` against the upright
        body of the same key); gradient_rotation, of the gradients of PC1 to PC3 in the upright body's
        components (NaN without 10 mature cells in both); mature_cells; max_change, the largest difference of
        any state from the upright run; picture (angle, y, x, rgba) of the first run. Attributes: steps;
        isotropic, whether the perception has no direction.

    Raises:
        UserError: a learned perception, fewer than two keys, or no body in any run.
    """
    rule, spec = organism.rule, organism.rule.spec
    if spec.perception == "learned":
        raise UserError("Its perception is learned: it has no compass that could be rotated.")
    _check_runs(len(keys))
    upright = np.asarray(grow_runs(organism, steps, keys))
    if not np.asarray(metrics.mature_count(rule, upright)).any():
        raise UserError(f"The rotation test needs a body; no run has a mature cell at step {steps}.")
    all_angles, sets = [0.0], [np.roll(upright, -1, 0)]
    for angle in angles:
        if angle:
            all_angles.append(float(angle))
            grown = grow_runs(replace(organism, rule=rule.rotate(np.radians(angle))), steps, keys)
            sets.append(np.asarray(grown))
    body, match, gradient = (np.full((len(sets), len(upright)), np.nan) for _ in range(3))
    for i, states in enumerate(sets):
        for run, state in enumerate(states):
            pictures = (np.asarray(metrics.picture(spec, s)) for s in (state, upright[run]))
            body[i, run], match[i, run] = _fit_rotation(*pictures)
            gradient[i, run] = _gradient_rotation(organism, upright[run], state)
    dims = ("angle", "run")
    first = [upright[0], *[states[0] for states in sets[1:]]]
    data = {
        "body_rotation": (dims, body),
        "match": (dims, match),
        "gradient_rotation": (dims, gradient),
        "mature_cells": (dims, [np.asarray(metrics.mature_count(rule, states)) for states in sets]),
        "max_change": (dims, [np.abs(states - upright).max((1, 2, 3)) for states in sets]),
        "picture": (("angle", "y", "x", "rgba"), np.stack([np.asarray(metrics.picture(spec, s)) for s in first])),
    }
    return xr.Dataset(
        data, {"angle": all_angles}, {"steps": steps, "isotropic": int(not PERCEPTIONS[spec.perception].has_compass)}
    )


def rotate_states(
    organism: Organism,
    states: Float[np.ndarray, "run y x channel"],
    keys: Any,
    *,
    adult_step: int,
    eval_steps: int = 100,
    quarter_turns: Sequence[int] = (1, 2),
) -> xr.Dataset:
    """Rotate bodies at the adult step under an unrotated perception, and continue with fire masks rotated alike.

    Under an isotropic perception nothing then distinguishes the rotated run from its control, rotated. Otherwise a
    body that carries its own frame stays rotated, and one that follows its compass does not.

    Args:
        quarter_turns: rotations in units of 90 degrees; 0 is added, and run with the next run's masks: how
            much two runs of one body differ.

    Returns:
        Dataset over (angle, run): fitness_rotated, W relative to the control rotated alike; fitness_upright, W
        relative to the control as it is (1 the same, 0 an empty canvas; NaN without a body); body_rotation
        and match (`_fit_rotation` against the control); mature_cells; max_change, the largest difference of any state
        from the control, rotated; picture of the first run.

    Raises:
        UserError: fewer than two keys.
    """
    _check_runs(len(keys))
    spec = organism.rule.spec
    fire = np.stack([np.asarray(fire_masks(organism, k, eval_steps, adult_step, states.shape[1:3])) for k in keys])

    def _continue(begin: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return np.asarray(grow_runs(organism, eval_steps, keys, states=begin, start=adult_step, fire=masks))

    control = _continue(states, fire)
    turns = [0, *[q for q in quarter_turns if q % 4]]
    names = ("fitness_rotated", "fitness_upright", "body_rotation", "match", "mature_cells", "max_change")
    data = {name: np.full((len(turns), len(states)), np.nan) for name in names}
    pictures = []
    for i, q in enumerate(turns):
        final = _continue(np.rot90(states, q, (1, 2)), np.rot90(fire, q, (2, 3)) if q else np.roll(fire, -1, 0))
        pictures.append(np.asarray(metrics.picture(spec, final[0])))
        data["mature_cells"][i] = metrics.mature_count(organism.rule, final)
        for run in range(len(states)):
            picture, reference = (np.asarray(metrics.picture(spec, s)) for s in (final[run], control[run]))
            total = float(np.square(reference).sum())
            data["max_change"][i, run] = np.abs(final[run] - np.rot90(control[run], q)).max()
            if total:
                data["fitness_rotated"][i, run] = 1 - np.square(picture - np.rot90(reference, q)).sum() / total
            if total and picture.shape == reference.shape:
                data["fitness_upright"][i, run] = 1 - np.square(picture - reference).sum() / total
                data["body_rotation"][i, run], data["match"][i, run] = _fit_rotation(picture, reference)
    labelled: dict[str, Any] = {k: (("angle", "run"), v) for k, v in data.items()}
    size = max(max(p.shape[:2]) for p in pictures)
    labelled["picture"] = (("angle", "y", "x", "rgba"), np.stack([_pad_to_square(p, size) for p in pictures]))
    attrs = {"adult_step": adult_step, "eval_steps": eval_steps}
    return xr.Dataset(labelled, {"angle": [90.0 * q for q in turns]}, attrs)


def _check_runs(runs: int) -> None:
    if runs < 2:
        raise UserError(f"The rotation test needs two or more runs, got {runs}.")


def _fit_rotation(picture: Float[np.ndarray, "y x 4"], reference: Float[np.ndarray, "y x 4"]) -> tuple[float, float]:
    """By how much a picture (premultiplied RGBA) is rotated about the seed against a reference.

    Returns:
        Degrees from -180 to 180, to one degree; and the match there, 1 minus the squared difference over that of an
        empty canvas: 1 is the same body, 0 none. NaN for an empty reference.
    """
    total = float(np.square(reference).sum())
    if total == 0:
        return float("nan"), float("nan")
    centre = np.asarray(reference.shape[:2]) // 2

    def _error(degrees: float) -> float:
        a = np.radians(degrees)
        matrix = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        offset = centre - matrix @ centre
        planes = [scipy.ndimage.affine_transform(reference[..., c], matrix, offset, order=1) for c in range(4)]
        return float(np.square(np.stack(planes, -1) - picture).sum())

    coarse = min(range(-180, 180, _COARSE), key=_error)
    best = min(range(coarse - _COARSE + 1, coarse + _COARSE), key=_error)
    return float((best + 180) % 360 - 180), 1 - _error(best) / total


def _gradient_rotation(organism: Organism, upright: np.ndarray, rotated: np.ndarray) -> float:
    """The rotation of the gradients of the components; NaN where there are none."""
    both = label_states(organism, np.stack([upright, rotated])[:, None])
    masks = both.mature.values[:, 0]
    try:
        components = pca(both.isel(run=[0]), channels="hidden" if hidden_channels(organism.rule.spec) else "all")
    except UserError:
        return float("nan")
    if masks[1].sum() < PCA_MIN_CELLS or not np.isfinite(rotated).all():
        return float("nan")
    states = both.state.sel(channel=components.channel).values[:, 0].astype(np.float64)
    slopes = []
    for state, mask in zip(states, masks, strict=True):
        position = positions(mask)
        design = np.stack([np.ones_like(position["x"]), position["x"], position["y"]], 1)
        scores = (state[mask] - components["mean"].values) @ components.loadings.values[:SHOWN].T
        slopes.append((np.linalg.pinv(design) @ scores)[1:].T)
    return _rotation_between(*slopes)


def _rotation_between(first: Float[np.ndarray, "pc 2"], second: Float[np.ndarray, "pc 2"]) -> float:
    """The rotation that takes one body's gradients (x, y) to another's, in degrees (least squares)."""
    parallel = float((first * second).sum())
    across = float((first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum())
    return float(-np.degrees(np.arctan2(across, parallel)))


def _pad_to_square(picture: np.ndarray, size: int) -> np.ndarray:
    top, left = ((size - n) // 2 for n in picture.shape[:2])
    out = np.zeros((size, size, 4), picture.dtype)
    out[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return out
