"""Comparison with states that another program made, under the same fire masks.

A reference is an npz of `state_N` (y, x, channel) for some steps N, 0 among them; fire masks, either
`masks` (step, y, x) or `masks_packed` (`numpy.packbits` of each) with `mask_shape`, mask t taking state
t to t+1; and, if known, `dx_N`, the unmasked update of every cell at state N.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from nca.errors import UserError
from nca.interop.archive import Archive
from nca.interop.limits import DamagedError, array, bytes_of, count
from nca.interop.plain_files import header
from nca.organism import Organism
from nca.rollout import replay, trajectory

ONE_STEP = (1e-5, 1e-5)
FREE_RUN = (1e-4, 1e-4)
LONGEST = 100_000
PIECE = 50


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
    """How far an organism is from a reference at one place.

    Attributes:
        what: "free run", "one step" or "update".
        step: of the state that is compared; for an update, of the state that it was read from.
        largest: largest absolute difference.
        agrees: whether it is within the tolerance: 1e-5 + 1e-5 relative for one step, 1e-4 + 1e-4 for a
            free run.
    """

    what: str
    step: int
    largest: float
    agrees: bool


def read(path: Path) -> Reference:
    """A reference file.

    Raises:
        UserError: it is none, or it lacks states or masks.
    """
    try:
        raw = bytes_of(path)
        if not raw.startswith(b"PK\3\4"):
            raise DamagedError("a reference is an .npz file.")
        archive = Archive(raw)
        found = {name.removesuffix(".npy"): name for name in archive.names}
        states = _numbered(archive, found, "state")
        if 0 not in states:
            raise DamagedError("a reference needs state_0, state_1, ... of (y, x, channel).")
        fires = _fires(archive, found, states[0].shape[:2])
        return Reference(states, fires, _numbered(archive, found, "dx"))
    except DamagedError as error:
        raise UserError(f"{path} cannot be read as a reference: {error}") from error


def _numbered(archive: Archive, found: Mapping[str, str], word: str) -> dict[int, np.ndarray]:
    steps = {int(m[1]): found[k] for k in found if (m := re.fullmatch(word + r"_(\d{1,6})", k))}
    out = {step: _array(archive.read(steps[step])) for step in sorted(steps)}
    shapes = {values.shape for values in out.values()}
    if len(shapes) > 1 or any(len(shape) != 3 for shape in shapes):
        raise DamagedError("its states must be (y, x, channel), all of one size.")
    return out


def _array(raw: bytes) -> np.ndarray:
    shape, fortran, dtype, begin = header(raw)
    if fortran or dtype.hasobject:
        raise DamagedError("its arrays must be numbers, rows first.")
    return array(memoryview(raw)[begin:], dtype.name, shape, ">" if dtype.str[0] == ">" else "<")


def _fires(archive: Archive, found: Mapping[str, str], canvas: tuple[int, ...]) -> np.ndarray:
    if "masks" in found:
        fires = _array(archive.read(found["masks"])) > 0
    elif "masks_packed" in found and "mask_shape" in found:
        steps, height, width = (int(n) for n in _array(archive.read(found["mask_shape"])).ravel()[:3])
        count((steps, height, width))
        packed = _array(archive.read(found["masks_packed"])).astype(np.uint8)
        if packed.ndim != 2 or packed.shape[0] != steps or packed.shape[1] * 8 < height * width:
            raise DamagedError("its packed masks do not have the size that mask_shape says.")
        fires = np.unpackbits(packed, axis=1)[:, : height * width].reshape(steps, height, width) > 0
    else:
        raise DamagedError("a reference needs fire masks: masks, or masks_packed with mask_shape.")
    if fires.ndim != 3 or fires.shape[1:] != canvas or fires.shape[0] > LONGEST:
        raise DamagedError(f"its masks must be (step, {canvas[0]}, {canvas[1]}).")
    return fires


def differences(organism: Organism, reference: Reference) -> list[Difference]:
    """The organism beside the reference: a free run from the organism's own seed, and single steps.

    Raises:
        UserError: the reference is of another number of channels.
    """
    channels = organism.rule.spec.channels
    first = reference.states[0]
    if first.shape[2] != channels:
        raise UserError(f"The reference has {first.shape[2]} channels, the organism {channels}.")
    canvas, fires = (first.shape[0], first.shape[1]), reference.fires
    out = []
    for step, state in _free_run(organism, fires[: max(reference.states)], canvas):
        if step in reference.states:
            out.append(_difference("free run", step, state, reference.states[step], FREE_RUN))
    for step, before in reference.states.items():
        if step + 1 in reference.states and step < len(fires):
            after = _sites(organism, before, step, fires[step])["next"]
            out.append(_difference("one step", step + 1, after, reference.states[step + 1], ONE_STEP))
        if step in reference.deltas and reference.deltas[step].shape == first.shape:
            ours = _sites(organism, before, step, np.ones(canvas, bool))["delta"]
            out.append(_difference("update", step, ours, reference.deltas[step], ONE_STEP))
    return out


def _free_run(organism: Organism, fires: np.ndarray, canvas: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Steps and states from the seed on."""
    state = organism.start(canvas)
    yield 0, np.asarray(state)
    # Pieces of one length are compiled once, and keep the memory small.
    for begun in range(0, len(fires), PIECE):
        part = jnp.asarray(fires[begun : begun + PIECE])
        states = trajectory(organism, len(part), state=state, start=begun, fire=part)
        state = states[-1]
        yield from enumerate(np.asarray(states)[1:], begun + 1)


def _sites(organism: Organism, state: np.ndarray, step: int, fire: np.ndarray) -> dict[str, np.ndarray]:
    sites = replay(organism, jnp.asarray(state), step, fire=jnp.asarray(fire))
    return {name: np.asarray(sites[name]) for name in ("next", "delta")}


def _difference(what: str, step: int, ours: np.ndarray, theirs: np.ndarray, limit: tuple[float, float]) -> Difference:
    apart = np.abs(ours - theirs)
    largest = float(apart.max()) if np.isfinite(apart).all() else np.inf
    return Difference(what, step, largest, bool((apart <= limit[0] + limit[1] * np.abs(theirs)).all()))
