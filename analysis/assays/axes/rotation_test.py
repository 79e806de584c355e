"""Compass or map: does the body follow the frame that its cells perceive by, or one that it carries? (A7)

Angles of turns run from y (down) towards x (right), as in `Rule.turned`: anticlockwise on the page.
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
from analysis.assays.axes.pca import SHOWN, pca
from analysis.firing import fire_masks
from analysis.geometry import positions
from analysis.recording import label_states
from analysis.rollouts import Tick, grow_runs
from nca.errors import UserError
from nca.organism import Organism

BLIND = ("laplacian", "isotropic")
NO_COMPASS = "Its perception is learned: it has no compass that could be turned."
COARSE = 5


def fitted_turn(picture: Float[np.ndarray, "y x 4"], reference: Float[np.ndarray, "y x 4"]) -> tuple[float, float]:
    """By how much a picture is turned against a reference, about the seed.

    Args:
        picture: premultiplied RGBA.
        reference: the same canvas.

    Returns:
        Degrees from -180 to 180, to one degree; and the match there, 1 less the squared difference
        over that of an empty canvas: 1 is the same body, 0 none. NaN for an empty reference.
    """
    whole = float(np.square(reference).sum())
    if whole == 0:
        return float("nan"), float("nan")
    middle = np.asarray(reference.shape[:2]) // 2

    def lost(degrees: float) -> float:
        a = np.radians(degrees)
        matrix = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        turned = np.stack(
            [
                scipy.ndimage.affine_transform(reference[..., c], matrix, middle - matrix @ middle, order=1)
                for c in range(4)
            ],
            -1,
        )
        return float(np.square(turned - picture).sum())

    coarse = min(range(-180, 180, COARSE), key=lost)
    best = min(range(coarse - COARSE + 1, coarse + COARSE), key=lost)
    return float((best + 180) % 360 - 180), 1 - lost(best) / whole


def gradients(values: Float[np.ndarray, "cell pc"], mask: np.ndarray) -> Float[np.ndarray, "pc 2"]:
    """Slopes along x and y of the plane fitted to each map."""
    where = positions(mask)
    design = np.stack([np.ones_like(where["x"]), where["x"], where["y"]], 1)
    return (np.linalg.pinv(design) @ values)[1:].T


def turn_between(one: Float[np.ndarray, "pc 2"], other: Float[np.ndarray, "pc 2"]) -> float:
    """The turn that takes the gradients of one body to those of another, in degrees (least squares)."""
    along = float((one * other).sum())
    across = float((one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]).sum())
    return float(-np.degrees(np.arctan2(across, along)))


def turned_growth(
    organism: Organism,
    steps: int,
    keys: Any,
    *,
    angles: Sequence[float] = (45, 90, 180),
    tick: Tick | None = None,
) -> xr.Dataset:
    """Grow the seed with the compass turned, by the same keys.

    Args:
        organism: what grows.
        steps: steps to grow.
        keys: one per run, two or more: at angle 0 every run is compared with the next run's body,
            which shows how well turns can be told at all.
        angles: turns of the perception, in degrees.
        tick: is told the steps done.

    Returns:
        Dataset over (angle, run), angle 0 first: body_turn and match, of `fitted_turn` against the
        upright body of the same key; gradient_turn, of the first three PCs' gradients in the upright
        body's components (NaN without 10 mature cells in both); mature; changed, the largest
        difference of any state from the upright run's; picture (angle, y, x, rgba) of the first run.

    Raises:
        UserError: a learned perception, fewer than two keys, or no body in any run.
    """
    if organism.rule.spec.perception == "learned":
        raise UserError(NO_COMPASS)
    if len(keys) < 2:
        raise UserError(f"Turns are told from chance by two or more runs, got {len(keys)}.")
    upright = np.asarray(grow_runs(organism, steps, keys, tick=tick))
    if not np.asarray(metrics.mature_count(organism.rule, upright)).any():
        raise UserError(f"There is no body to turn: no run has a mature cell at step {steps}.")
    every = [0.0, *[float(a) for a in angles if a]]
    sets = [np.roll(upright, -1, 0)]
    for angle in every[1:]:
        other = replace(organism, rule=organism.rule.turned(np.radians(angle)))
        sets.append(np.asarray(grow_runs(other, steps, keys, tick=tick)))
    spec = organism.rule.spec
    data: dict[str, Any] = {
        name: np.full((len(sets), len(upright)), np.nan) for name in ("body_turn", "match", "gradient_turn")
    }
    for i, states in enumerate(sets):
        for run, state in enumerate(states):
            seen, reference = (np.asarray(metrics.picture(spec, s)) for s in (state, upright[run]))
            data["body_turn"][i, run], data["match"][i, run] = fitted_turn(seen, reference)
            data["gradient_turn"][i, run] = _gradient_turn(organism, upright[run], state)
    found: dict[str, Any] = {k: (("angle", "run"), v) for k, v in data.items()}
    found["mature"] = (("angle", "run"), [np.asarray(metrics.mature_count(organism.rule, s)) for s in sets])
    found["changed"] = (("angle", "run"), [np.abs(s - upright).max((1, 2, 3)) for s in sets])
    first = [upright[0], *[s[0] for s in sets[1:]]]
    found["picture"] = (
        ("angle", "y", "x", "rgba"),
        np.stack([np.asarray(metrics.picture(spec, s)) for s in first]),
    )
    blind = int(spec.perception in BLIND)
    return xr.Dataset(found, {"angle": every}, {"steps": steps, "blind": blind})


def _gradient_turn(organism: Organism, upright: np.ndarray, turned: np.ndarray) -> float:
    """The turn of the components' gradients; NaN where there are none."""
    both = label_states(organism, np.stack([upright, turned])[:, None])
    masks = both.mature.values[:, 0]
    hidden = any(str(c).startswith("h") for c in both.channel.values)
    try:
        found = pca(both.isel(run=[0]), channels="hidden" if hidden else "all")
    except UserError:
        return float("nan")
    if masks[1].sum() < 10 or not np.isfinite(turned).all():
        return float("nan")
    basis = found.loadings.values[:SHOWN].T
    states = both.state.sel(channel=found.channel).values[:, 0].astype(np.float64)
    maps = [(s[m] - found["mean"].values) / found.scale.values @ basis for s, m in zip(states, masks, strict=True)]
    return turn_between(*[gradients(v, m) for v, m in zip(maps, masks, strict=True)])


def turned_state(
    organism: Organism,
    states: Float[np.ndarray, "run y x channel"],
    keys: Any,
    *,
    start: int,
    steps: int = 100,
    quarters: Sequence[int] = (1, 2),
    tick: Tick | None = None,
) -> xr.Dataset:
    """Turn a grown body under a compass that stays, and let it go on under fire masks turned alike.

    Under an isotropic perception nothing then tells the turned run from its twin, turned. Under a
    compass, a body that is a map keeps its turn and one that is led by the compass does not.

    Args:
        organism: what grew.
        states: its runs at step `start`.
        keys: of the runs, two or more.
        start: the step of the states.
        steps: steps to go on.
        quarters: turns by so many times 90 degrees; 0 is added, and compared with the next run's
            masks: how much two runs of one body differ.
        tick: is told the steps done.

    Returns:
        Dataset over (angle, run): kept, W of the end against the twin's end turned alike; upright, W
        against the twin's end as it stands (1 the same, 0 an empty canvas, below 0 worse; NaN
        without a body); body_turn and match (of `fitted_turn` against the twin); mature; changed,
        the largest difference of any state from the twin's, turned; picture of the first run.
    """
    if len(keys) < 2:
        raise UserError(f"Turns are told from chance by two or more runs, got {len(keys)}.")
    spec = organism.rule.spec
    fire = np.stack([np.asarray(fire_masks(organism, k, steps, start, states.shape[1:3])) for k in keys])
    twin = np.asarray(grow_runs(organism, steps, keys, states=states, start=start, fire=fire, tick=tick))
    every = [0, *[q for q in quarters if q % 4]]
    names = ("kept", "upright", "body_turn", "match", "mature", "changed")
    data = {name: np.full((len(every), len(states)), np.nan) for name in names}
    pictures = []
    for i, q in enumerate(every):
        masks = np.rot90(fire, q, (2, 3)) if q else np.roll(fire, -1, 0)
        begun = np.rot90(states, q, (1, 2))
        end = np.asarray(grow_runs(organism, steps, keys, states=begun, start=start, fire=masks, tick=tick))
        pictures.append(np.asarray(metrics.picture(spec, end[0])))
        for run in range(len(states)):
            seen, before = (np.asarray(metrics.picture(spec, s)) for s in (end[run], twin[run]))
            whole = float(np.square(before).sum())
            row = {"mature": float(metrics.mature_count(organism.rule, end[run]))}
            row["changed"] = float(np.abs(end[run] - np.rot90(twin[run], q)).max())
            if whole:
                row["kept"] = 1 - float(np.square(seen - np.rot90(before, q)).sum()) / whole
            if whole and seen.shape == before.shape:
                row["upright"] = 1 - float(np.square(seen - before).sum()) / whole
                row["body_turn"], row["match"] = fitted_turn(seen, before)
            for name, value in row.items():
                data[name][i, run] = value
    found: dict[str, Any] = {k: (("angle", "run"), v) for k, v in data.items()}
    size = max(max(p.shape[:2]) for p in pictures)
    found["picture"] = (("angle", "y", "x", "rgba"), np.stack([_framed(p, size) for p in pictures]))
    return xr.Dataset(found, {"angle": [90.0 * q for q in every]}, {"start": start, "steps": steps})


def _framed(picture: np.ndarray, size: int) -> np.ndarray:
    """A picture in the middle of a square."""
    out = np.zeros((size, size, 4), picture.dtype)
    top, left = ((size - n) // 2 for n in picture.shape[:2])
    out[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return out
