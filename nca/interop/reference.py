"""Comparison with states that another program made, under the same fire masks.

A reference is an npz of `state_N` (y, x, channel) for some steps N, 0 among them; the fire masks, either
`masks` (step, y, x) or `masks_packed` (`numpy.packbits` of each) with `mask_shape`, where mask t takes
state t to t+1; and, if known, `dx_N`, the unmasked update of every cell at state N.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from nca.errors import UserError
from nca.files import DamagedError, read_bytes, reading
from nca.organism import Organism
from nca.rollout import replay, trajectory
from nca.untrusted import Archive, BoundedArrays, read_npy, value_count

_ONE_STEP = (1e-5, 1e-5)  # absolute and relative tolerance
_FREE_RUN = (1e-4, 1e-4)
_MAX_STEPS = 100_000
_CHUNK = 50  # steps compiled at once


@dataclass(frozen=True, eq=False)
class Reference:
    """States of another program.

    Attributes:
        states: (y, x, channel) by step.
        fires: (step, y, x), True where a cell updates.
        deltas: (y, x, channel) by step.
    """

    states: Mapping[int, np.ndarray]
    fires: np.ndarray
    deltas: Mapping[int, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """How far an organism is from a reference at one step.

    Attributes:
        comparison: "free run", "one step" or "update".
        step: of the state that is compared; for an update, of the state that it was computed from.
        largest: largest absolute difference.
        agrees: whether it is within the tolerance: 1e-5 + 1e-5 relative for one step and for an update,
            1e-4 + 1e-4 relative for a free run.
    """

    comparison: str
    step: int
    largest: float
    agrees: bool


def read_reference(path: Path) -> Reference:
    """A reference file, or `UserError` where it is none, or lacks states or masks."""
    with reading(path, "cannot be read as a reference"):
        raw = read_bytes(path)
        if not raw.startswith(b"PK\3\4"):
            raise DamagedError("a reference is an .npz file.")
        archive = Archive(raw)
        entries = {name.removesuffix(".npy"): name for name in archive.names}
        states = _arrays_by_step(archive, entries, "state")
        if 0 not in states:
            raise DamagedError("a reference needs state_0, state_1, ... of (y, x, channel).")
        fires = _read_fires(archive, entries, states[0].shape)
        if len(fires) < max(states):
            raise DamagedError(f"it has a state of step {max(states)}, but masks for {len(fires)} steps only.")
        return Reference(states, fires, _arrays_by_step(archive, entries, "dx"))


def _arrays_by_step(archive: Archive, entries: Mapping[str, str], prefix: str) -> dict[int, np.ndarray]:
    steps = {int(m[1]): entries[k] for k in entries if (m := re.fullmatch(prefix + r"_(\d{1,6})", k))}
    bounded = BoundedArrays()
    for step in sorted(steps):
        bounded[str(step)] = _read_numbers(archive, steps[step])
    arrays = {int(step): values for step, values in bounded.items()}
    shapes = {values.shape for values in arrays.values()}
    if len(shapes) > 1 or any(len(shape) != 3 for shape in shapes):
        raise DamagedError("its states must be (y, x, channel), all of one size.")
    return arrays


def _read_numbers(archive: Archive, entry: str) -> np.ndarray:
    values = read_npy(archive.read(entry))
    if values is None:
        raise DamagedError(f"its array {entry[:40]} must hold numbers.")
    return values


def _read_fires(archive: Archive, entries: Mapping[str, str], shape_of_state: tuple[int, ...]) -> np.ndarray:
    canvas = shape_of_state[:2]
    if "masks" in entries:
        values = _read_numbers(archive, entries["masks"])
        if not np.isin(values, (0, 1)).all():
            raise DamagedError(
                "its masks hold other values than 0 and 1; in a rule a cell updates fully or not at all."
            )
        fires = values > 0
        if fires.ndim == 4 and fires.shape[1:] == shape_of_state:
            if (fires != fires[..., :1]).any():
                raise DamagedError(
                    "its masks differ between channels; in a rule all channels of a cell update together."
                )
            fires = fires[..., 0]
    elif "masks_packed" in entries and "mask_shape" in entries:
        shape = [int(n) for n in _read_numbers(archive, entries["mask_shape"]).ravel()]
        if len(shape) != 3:
            raise DamagedError("its mask_shape must be three numbers: steps, height, width.")
        steps, height, width = shape
        value_count((steps, height, width))
        packed = _read_numbers(archive, entries["masks_packed"]).astype(np.uint8)
        if packed.ndim != 2 or packed.shape[0] != steps or packed.shape[1] * 8 < height * width:
            raise DamagedError("its packed masks do not have the size that mask_shape says.")
        fires = np.unpackbits(packed, axis=1)[:, : height * width].reshape(steps, height, width) > 0
    else:
        raise DamagedError("a reference needs fire masks: masks, or masks_packed with mask_shape.")
    if fires.ndim != 3 or fires.shape[1:] != canvas or fires.shape[0] > _MAX_STEPS:
        raise DamagedError(f"its masks must be (step, {canvas[0]}, {canvas[1]}).")
    return fires


def compare(organism: Organism, reference: Reference) -> list[Difference]:
    """Differences of a free run from the organism's own seed, of single steps, and of updates.

    Raises:
        UserError: the reference has another number of channels.
    """
    channels = organism.rule.spec.channels
    states, fires = reference.states, reference.fires
    height, width, reference_channels = states[0].shape
    if reference_channels != channels:
        raise UserError(f"The reference has {reference_channels} channels, the organism {channels}.")
    differences = []
    for step, state in _free_run(organism, fires[: max(states)], (height, width)):
        if step in states:
            differences.append(_difference("free run", step, state, states[step], _FREE_RUN))
    for step, before in states.items():
        if step + 1 in states and step < len(fires):
            after = replay(organism, jnp.asarray(before), step, fire=jnp.asarray(fires[step]))["next"]
            differences.append(_difference("one step", step + 1, after, states[step + 1], _ONE_STEP))
        if step in reference.deltas and reference.deltas[step].shape == before.shape:
            every_cell = jnp.ones((height, width), bool)
            delta = replay(organism, jnp.asarray(before), step, fire=every_cell)["delta"]
            differences.append(_difference("update", step, delta, reference.deltas[step], _ONE_STEP))
    return differences


def _free_run(organism: Organism, fires: np.ndarray, canvas: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Steps and states from the seed on, in chunks of one length, which compile once and keep memory small."""
    state = organism.initial_state(canvas)
    yield 0, np.asarray(state)
    for start in range(0, len(fires), _CHUNK):
        chunk = jnp.asarray(fires[start : start + _CHUNK])
        states = trajectory(organism, len(chunk), state=state, start=start, fire=chunk)
        state = states[-1]
        yield from enumerate(np.asarray(states)[1:], start + 1)


def _difference(
    comparison: str, step: int, ours: np.typing.ArrayLike, theirs: np.ndarray, tolerance: tuple[float, float]
) -> Difference:
    error = np.abs(np.asarray(ours) - theirs)
    largest = float(error.max()) if np.isfinite(error).all() else np.inf
    agrees = bool((error <= tolerance[0] + tolerance[1] * np.abs(theirs)).all())
    return Difference(comparison, step, largest, agrees)
