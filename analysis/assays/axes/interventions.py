"""Is the code of place used, or only there? Push states along it; take it out; keep nothing else. (A6)

Every push and every projection is paired with the undisturbed run of the same key, and stands beside
random directions of the same norm, or subspaces that read what means nothing, in the same channels.
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
from analysis.assays.axes.decoding import weights
from analysis.assays.axes.reading import QUANTITIES
from analysis.geometry import geodesic, positions
from analysis.paired import Controls, EditedRun, run_controls, run_edited
from analysis.rollouts import CHUNK, Tick
from analysis.stats.nulls import null_tests
from analysis.stats.surrogates import haar, modes, rotated
from nca import edits
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import mature

CODES = {"x and y": ("x", "y"), "radius and edge": ("radius", "edge")}
LARGE = 10.0


@dataclass(frozen=True)
class Subject:
    """What is pushed: an organism's grown runs, and their hidden states.

    Attributes:
        organism: what grew.
        controls: the undisturbed runs, measured at the first step and at the horizon.
        channels: names of the channels that are pushed.
        bodies: the mature cells of every run at the first step.
        rows: the first run's states there, (cell, channel).
        tick: is told the steps done.
    """

    organism: Organism
    controls: Controls
    channels: tuple[str, ...]
    bodies: Bool[np.ndarray, "run y x"]
    rows: Float[np.ndarray, "cell channel"]
    tick: Tick | None = None

    @property
    def numbers(self) -> list[int]:
        """The channels by position."""
        return [self.organism.rule.channel_names.index(c) for c in self.channels]


def subject(
    organism: Organism,
    states: Float[np.ndarray, "run y x channel"],
    keys: Any,
    *,
    start: int,
    horizon: int = 60,
    fire: Bool[np.ndarray, "run step y x"] | None = None,
    tick: Tick | None = None,
) -> Subject:
    """Grown runs, followed undisturbed.

    Args:
        organism: what grew.
        states: its runs at step `start`.
        keys: their keys.
        start: the step of the states.
        horizon: steps until the outcome is measured.
        fire: masks from `start` on in place of the keys' own.
        tick: is told the steps done.

    Raises:
        UserError: fewer than two hidden channels, or a run without a body.
    """
    hidden = tuple(n for n in organism.rule.channel_names if n.startswith("h"))
    if len(hidden) < 2:
        raise UserError(f"To push states along a code takes two or more hidden channels; it has {len(hidden)}.")
    bodies = np.asarray(mature(organism.rule, jnp.asarray(states)))
    if not (bodies.sum((1, 2)) >= 10).all() or not np.isfinite(states).all():
        raise UserError(f"To push states takes runs with 10 or more mature cells and finite states at step {start}.")
    # Marks on the way stop a body that overgrows before it costs much.
    marks = sorted({*range(start, start + horizon, CHUNK), start + horizon})
    controls = run_controls(organism, states, keys, marks, fire=fire, tick=tick)
    names = list(organism.rule.channel_names)
    rows = np.asarray(states)[0][bodies[0]][:, [names.index(h) for h in hidden]].astype(np.float64)
    return Subject(organism, controls, hidden, bodies, rows, tick)


def directions(found: Subject) -> dict[str, Float[np.ndarray, " channel"]]:
    """The decoder of each quantity as a unit vector: the push that changes what is read most."""
    where = positions(found.bodies[0]) | {"s": geodesic(found.bodies[0])}
    units = {}
    for name in QUANTITIES:
        inside = np.isfinite(where[name])
        vector = weights(found.rows[inside], where[name][inside, None])[:, 0]
        if np.linalg.norm(vector) > 0:
            units[name] = vector / np.linalg.norm(vector)
    return units


def steering(found: Subject, *, dose: float = 0.5, randoms: int = 99, seed: int = 0) -> xr.Dataset:
    """Push all cells of the body once, along each decoder or along random directions of the same norm.

    Args:
        found: of `subject`. Every second run is pushed the other way.
        dose: length of the push, in root mean squared distances of the cells' states from their mean.
        randoms: random directions.
        seed: what they are drawn from.

    Returns:
        Dataset over statistic as of `position_tests`, its null the random directions: "change by x"
        and so on (q over the five), E between pushed and undisturbed pictures at the horizon, and
        "left of x", the share
        of the push that is then left in the states; both are means over runs, an E above 10 counts as
        10. Attributes: amount, the length of the push; horizon.
    """
    named = directions(found)
    random = haar(np.random.default_rng(seed), len(found.channels), 1, randoms)[..., 0]
    every = [*named.values(), *random]
    amount = dose * float(np.sqrt(np.square(found.rows - found.rows.mean(0)).sum(1).mean()))
    start, runs = int(found.controls.steps[0]), len(found.bodies)
    rows = [
        EditedRun(run, (_push(found, vector, amount * (-1) ** run, run).at(start),))
        for vector in every
        for run in range(runs)
    ]
    out = run_edited(found.organism, found.controls, rows, found.tick)
    pushed = out["final_states"].reshape(len(every), runs, *out["final_states"].shape[1:])
    change = np.minimum(_change(found, pushed), LARGE).mean(1)
    left = np.asarray(
        [[_left(found, s, v, amount, run) for run, s in enumerate(r)] for r, v in zip(pushed, every, strict=True)]
    )
    kinds = []
    for what, values in (("change by", change), ("left of", left.mean(1))):
        random_ones = values[len(named) :]
        kinds.append({f"{what} {n}": np.append(values[k], random_ones) for k, n in enumerate(named)})
    attrs = {"amount": amount, "dose": dose, "randoms": randoms, "runs": runs, "seed": seed}
    tests = xr.concat([null_tests(kind) for kind in kinds], "statistic")
    return tests.assign_attrs(attrs, start=start, horizon=int(found.controls.steps[-1]) - start)


def _push(found: Subject, vector: np.ndarray, amount: float, run: int) -> edits.Edit:
    push = edits.steer(found.organism, vector, amount, channels=list(found.channels))
    return push.where(found.bodies[run])


def _change(found: Subject, ends: Float[np.ndarray, "row run y x channel"]) -> Float[np.ndarray, "row run"]:
    """E between the pictures of these ends and of the undisturbed runs'."""
    spec = found.organism.rule.spec
    reference = np.asarray(metrics.picture(spec, found.controls.final_states))
    return np.stack([np.asarray(metrics.mse(spec, row, reference)) for row in ends])


def _left(found: Subject, state: np.ndarray, vector: np.ndarray, amount: float, run: int) -> float:
    """The share of a push that is left, over cells mature in both; 0 where none is."""
    twin, rule = np.asarray(found.controls.final_states[run]), found.organism.rule
    both = np.asarray(mature(rule, jnp.asarray(state)) & mature(rule, jnp.asarray(twin)))
    if not both.any() or not np.isfinite(state).all():
        return 0.0
    moved = (state[both] - twin[both])[:, found.numbers].astype(np.float64) @ vector
    return float(np.clip(moved.mean() / (amount * (-1) ** run), -LARGE, LARGE))


def subspaces(found: Subject, *, randoms: int = 39, seed: int = 0) -> xr.Dataset:
    """Take the code's subspace out of the states at every step, or keep nothing else.

    Args:
        found: of `subject`; the first run's mean state stays what the states are projected about.
        randoms: planes of the null for each code: they read x and y (or radius and edge) of a body on
            which these are scrambled, as smooth as before. Planes drawn at random in the channels are no
            match: decoders favour channels of little variance, whatever they read.
        seed: what they are drawn from.

    Returns:
        Dataset over statistic as of `position_tests`: "harm without x and y" and so on, the excluded
        loss, E to the undisturbed run over that of an empty canvas; and "harm with x and y alone", the
        restricted loss, whose p counts planes of the null that do at most as much harm. Means over runs,
        each at most 10.

    Raises:
        UserError: fewer than three hidden channels, so that two dimensions are all there are.
    """
    size = len(found.channels)
    if size < 3:
        raise UserError(f"To take a plane out of the states takes three or more hidden channels; it has {size}.")
    single = directions(found)
    planes = {
        name: _planes(found, pair, randoms, seed + 1) for name, pair in CODES.items() if all(q in single for q in pair)
    }
    every = np.concatenate(list(planes.values()))
    kinds = []
    for what, complement in (("harm without {}", False), ("harm with {} alone", True)):
        harm = _harm(found, [_rest(p) if complement else p for p in every])
        each = (-harm if complement else harm).reshape(len(planes), randoms + 1)
        kinds.append(null_tests({what.format(n): h for n, h in zip(planes, each, strict=True)}))
    tests = _signed(xr.concat(kinds, "statistic"))
    start = int(found.controls.steps[0])
    attrs = {"randoms": randoms, "runs": len(found.bodies), "seed": seed, "start": start}
    return tests.assign_attrs(attrs, horizon=int(found.controls.steps[-1]) - start)


def _planes(found: Subject, pair: tuple[str, str], number: int, seed: int) -> Float[np.ndarray, "plane channel 2"]:
    """Orthonormal columns of the plane that reads two quantities, then of planes that read both scrambled."""
    mask = found.bodies[0]
    true = np.stack([positions(mask)[q] for q in pair], 1)
    fields = np.concatenate([true[None], rotated(true, modes(mask), number, seed)])
    read = np.stack([weights(found.rows, field) for field in fields])
    return np.linalg.qr(read / np.linalg.norm(read, axis=1, keepdims=True))[0]


def _signed(tests: xr.Dataset) -> xr.Dataset:
    """Restricted losses as they are, after a test that asked for small ones."""
    flip = xr.where(tests.statistic.str.endswith("alone"), -1.0, 1.0)
    values = {n: tests[n] * flip for n in ("observed", "null", "null_median", "null_low", "null_high")}
    ends = values.pop("null_low"), values.pop("null_high")
    low, high = (pick(*ends) for pick in (np.minimum, np.maximum))
    return tests.assign(values | {"null_low": low, "null_high": high})


def _rest(plane: Float[np.ndarray, "channel k"]) -> Float[np.ndarray, "channel rest"]:
    """Orthonormal columns that span what is orthogonal to a plane."""
    whole = np.linalg.svd(plane, full_matrices=True)[0]
    return whole[:, plane.shape[1] :]


def _harm(found: Subject, planes: Sequence[np.ndarray]) -> Float[np.ndarray, " plane"]:
    """What is lost when each plane is taken out at every step: E over that of an empty canvas."""
    start, runs, centre = int(found.controls.steps[0]), len(found.bodies), found.rows.mean(0)
    rows = [
        EditedRun(
            run,
            (edits.project(found.organism, p.T, centre, channels=list(found.channels)).at(slice(start, None)),),
        )
        for p in planes
        for run in range(runs)
    ]
    out = run_edited(found.organism, found.controls, rows, found.tick)
    change = _change(found, out["final_states"].reshape(len(planes), runs, *out["final_states"].shape[1:]))
    dead = np.asarray(metrics.empty_mse(metrics.picture(found.organism.rule.spec, found.controls.final_states)))
    return np.minimum(change / np.maximum(dead, 1e-12), LARGE).mean(1)
