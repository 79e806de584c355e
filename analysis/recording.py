"""Recordings: the states of runs as one labelled array, saved as one file.

The bridge between `nca`, which is unlabelled, and `analysis`, which is labelled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from analysis.rollouts import CHUNK, Batch, Tick, advance_chunk, map_runs, run_keys, seed_states, select_runs
from nca.edits import Edit, to_json
from nca.errors import UserError
from nca.io import write_with
from nca.organism import Organism
from nca.rollout import trajectory
from nca.spec import Spec, channel_names
from nca.versions import versions

LARGEST = 2 * 10**9
DIMS = ("run", "step", "y", "x", "channel")


def record(
    organism: Organism,
    steps: int,
    runs: int = 1,
    seed: int = 0,
    every: int = 1,
    edits: Sequence[Edit] = (),
    *,
    fire: Bool[np.ndarray, "run step y x"] | None = None,
    tick: Tick | None = None,
) -> xr.Dataset:
    """Grow from the seed and keep the states.

    Args:
        organism: what grows.
        steps: steps to grow; the seed is step 0, so steps + 1 states come about.
        runs: runs of the seed, each with its own key.
        seed: what the keys follow from.
        every: keep every so many steps, from step 0 on.
        edits: changes made in every run.
        fire: masks in place of the keys' own; such a recording cannot be repeated from its
            attributes.
        tick: is told the steps done.

    Returns:
        What `label_states` returns, with all that is needed to repeat it among the attributes.

    Raises:
        UserError: more than 2 GB, or numbers below 1.
    """
    for name, value in {"steps": steps, "runs": runs, "every": every}.items():
        if value < 1:
            raise UserError(f"A recording needs {name} of at least 1, got {value}.")
    shape = (runs, steps // every + 1, *organism.canvas, organism.rule.spec.channels)
    size = 4 * int(np.prod(shape, dtype=np.int64))
    if size > LARGEST:
        raise UserError(
            f"This recording of {shape[0]} runs x {shape[1]} steps would take {size / 1e9:.1f} GB, "
            f"more than {LARGEST / 1e9:.0f} GB; record fewer runs or steps, or not every step."
        )
    keys, begun = run_keys(seed, runs), seed_states(organism, runs)

    def part(i: np.ndarray) -> np.ndarray:
        stacked = _for_each(edits, len(i))
        return _path(Batch(organism, keys[i], select_runs(fire, i), stacked, 0, tick), begun[i], steps, every)

    return label_states(
        organism,
        np.concatenate(map_runs(runs, part)),
        steps=np.arange(0, steps + 1, every),
        seed=seed,
        edits=json.dumps([to_json(edit) for edit in edits]),
        fire="given" if fire is not None else "from the keys",
    )


def _for_each(edits: Sequence[Edit], runs: int) -> Any:
    """The edits once for every run, along a new first axis."""
    import jax

    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (runs, *jnp.shape(leaf))), tuple(edits))


def _path(course: Batch, states: Any, steps: int, every: int) -> Float[np.ndarray, "run step y x channel"]:
    """The kept states, from the first to the last step."""
    kept = []
    for t in range(0, steps, CHUNK):
        path = advance_chunk(course, states, t, min(CHUNK, steps - t), trajectory)
        states = path[:, -1]
        kept.append(np.asarray(path[:, -t % every : -1 : every]))
    if steps % every == 0:
        kept.append(np.asarray(states[:, None]))
    return np.concatenate(kept, axis=1)


def label_states(
    organism: Organism,
    states: Float[np.ndarray, "run step y x channel"],
    steps: Sequence[int] | np.ndarray | None = None,
    **attrs: Any,
) -> xr.Dataset:
    """States as a recording.

    Args:
        organism: whose states they are.
        states: (run, step, y, x, channel).
        steps: the steps' numbers; counted from 0 if none.
        **attrs: further attributes, numbers or strings.

    Returns:
        Dataset over (run, step, y, x, channel): `state`; `mature`, the cells of the body. `x` and
        `y` count cells from the seed, to the right and down; channels are named. Attributes:
        organism, hash, spec (JSON), canvas, versions (JSON).
    """
    spec = organism.rule.spec
    height, width = states.shape[2:4]
    coords = {
        "run": np.arange(states.shape[0]),
        "step": np.arange(states.shape[1]) if steps is None else np.asarray(steps),
        "y": np.arange(height) - height // 2,
        "x": np.arange(width) - width // 2,
        "channel": list(channel_names(spec)),
    }
    alpha = states[..., spec.alpha]
    mature = alpha >= spec.threshold if spec.inclusive else alpha > spec.threshold
    described = {
        "organism": organism.name,
        "hash": organism.hash,
        "spec": json.dumps(spec.to_json()),
        "canvas": list(organism.canvas),
        "versions": json.dumps(versions()),
    }
    data = {"state": (DIMS, np.asarray(states, np.float32)), "mature": (DIMS[:4], np.asarray(mature))}
    recording = xr.Dataset(data, coords, described | attrs)
    for axis in ("x", "y"):
        recording[axis].attrs["units"] = "cells from the seed"
    return recording


def spec_of(recording: xr.Dataset) -> Spec:
    """The conventions of the rule that was recorded."""
    return Spec.from_json(json.loads(recording.attrs["spec"]))


def save_recording(recording: xr.Dataset, path: str | Path) -> Path:
    """Write a recording as one NetCDF file, whole or not at all.

    Raises:
        UserError: the name does not end in .nc, or the file cannot be written.
    """
    if Path(path).suffix != ".nc":
        raise UserError(f"A recording is saved as a .nc file, got {str(path)!r}.")
    packed = {name: {"zlib": True, "complevel": 1, "shuffle": True} for name in recording.data_vars}
    return write_with(path, lambda beside: recording.to_netcdf(beside, engine="h5netcdf", encoding=packed))


def load_recording(path: str | Path) -> xr.Dataset:
    """A recording from its file, identical to what was saved.

    Raises:
        UserError: no such file, or no recording in it.
    """
    if not Path(path).is_file():
        raise UserError(f"No recording {str(path)!r}: give a .nc file written by save_recording.")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as file:
            recording = file.load()
        spec_of(recording)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} does not hold a recording: {error}.") from error
    return _as_saved(recording)


def _as_saved(recording: xr.Dataset) -> xr.Dataset:
    """Attributes as they were: NetCDF returns arrays for lists and its own integers."""
    plain: Mapping[str, Any] = {
        k: v.tolist() if isinstance(v, (np.ndarray, np.generic)) else v for k, v in recording.attrs.items()
    }
    recording = recording.assign_coords(channel=recording.channel.values.astype(str))
    return recording.assign_attrs(plain).drop_encoding()
