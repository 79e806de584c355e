"""Recordings: the states of runs as one labelled array, saved as one file.

The bridge between `nca`, which is unlabelled, and `analysis`, which is labelled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from analysis.rollouts import CHUNK, Batch, Tick, advance_chunk, map_runs, run_keys, seed_states
from nca.edits import Edit, to_json
from nca.errors import UserError
from nca.files import DamagedError, parse_json, reading, write_file
from nca.organism import Organism
from nca.rollout import replay, run_key, trajectory
from nca.spec import Spec, channel_names
from nca.versions import versions

_MAX_BYTES = 2 * 10**9
_LARGEST_RATIO = 1100  # deflate makes 1032 bytes of one
_SITES = ("perception", "pre", "post", "delta", "update", "next")
_DIMS = ("run", "step", "y", "x", "channel")


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
    """Grow from the seed and record the states.

    Args:
        organism: what grows.
        steps: number of steps; with the seed as step 0 there are steps + 1 states.
        runs: number of runs, each with its own key.
        seed: of the keys.
        every: record every n-th step, from step 0 on.
        edits: applied in every run.
        fire: fire masks instead of those that follow from the keys; such a recording cannot be repeated
            from its attributes.
        tick: called with the number of steps done.

    Returns:
        The Dataset of `label_states`; its attributes hold everything needed to repeat it.

    Raises:
        UserError: more than 2 GB, or steps, runs or every below 1.
    """
    for name, value in {"steps": steps, "runs": runs, "every": every}.items():
        if value < 1:
            raise UserError(f"A recording needs {name} of at least 1, got {value}.")
    shape = (runs, steps // every + 1, *organism.canvas, organism.rule.spec.channels)
    size = 4 * int(np.prod(shape, dtype=np.int64))
    if size > _MAX_BYTES:
        raise UserError(
            f"This recording of {shape[0]} runs x {shape[1]} steps would take {size / 1e9:.1f} GB, "
            f"more than {_MAX_BYTES / 1e9:.0f} GB; record fewer runs or steps, or not every step."
        )
    keys, initial = run_keys(seed, runs), seed_states(organism, runs)

    def _record_batch(i: np.ndarray) -> np.ndarray:
        per_run: Any = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(i), *jnp.shape(leaf))), tuple(edits))
        batch = Batch(organism, keys[i], None if fire is None else fire[i], per_run, 0, tick)
        return _recorded_states(batch, initial[i], steps, every)

    return label_states(
        organism,
        np.concatenate(map_runs(runs, _record_batch)),
        steps=np.arange(0, steps + 1, every),
        seed=seed,
        edits=json.dumps([to_json(edit) for edit in edits]),
        fire="given" if fire is not None else "from the keys",
    )


def _recorded_states(batch: Batch, states: Any, steps: int, every: int) -> Float[np.ndarray, "run step y x channel"]:
    """Every n-th state of each run, from the first to the last step."""
    recorded = []
    for t in range(0, steps, CHUNK):
        path = advance_chunk(batch, states, t, min(CHUNK, steps - t), trajectory)
        states = path[:, -1]
        recorded.append(np.asarray(path[:, -t % every : -1 : every]))
    if steps % every == 0:
        recorded.append(np.asarray(states[:, None]))
    return np.concatenate(recorded, axis=1)


def label_states(
    organism: Organism,
    states: Float[np.ndarray, "run step y x channel"],
    steps: Sequence[int] | np.ndarray | None = None,
    **attrs: Any,
) -> xr.Dataset:
    """States as a recording.

    Args:
        organism: of the states.
        states: (run, step, y, x, channel).
        steps: numbers of the steps; from 0 on by default.
        **attrs: further attributes, numbers or strings.

    Returns:
        Dataset over (run, step, y, x, channel): `state`; `mature`, whether a cell belongs to the body. `x`
        and `y` count cells from the seed, to the right and down; channels have names. Attributes: organism,
        hash, spec (JSON), canvas, versions (JSON).
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
    attrs = {
        "organism": organism.name,
        "hash": organism.hash,
        "spec": json.dumps(spec.to_json()),
        "canvas": list(organism.canvas),
        "versions": json.dumps(versions()),
    } | attrs
    data = {"state": (_DIMS, np.asarray(states, np.float32)), "mature": (_DIMS[:4], np.asarray(mature))}
    recording = xr.Dataset(data, coords, attrs)
    for axis in ("x", "y"):
        recording[axis].attrs["units"] = "cells from the seed"
    return recording


def record_site(organism: Organism, recording: xr.Dataset, site: str) -> xr.Dataset:
    """What another site of the step holds in recorded runs, for PCA and decoders: computed again from their states.

    Args:
        organism: that was recorded.
        recording: from the seed on, without edits, of `record`; take few runs and steps, such as
            `recording.sel(step=[150, 200])`.
        site: perception, pre, post, delta, update or next (`nca.replay`), of the step that starts from each state.

    Returns:
        The recording with the values of the site in place of the states. Channels are channels, hidden units (u0, u1,
        ...) or filters of channels ("sobel_x h0").

    Raises:
        UserError: no such site, a recording of another organism or with edits, or more than 2 GB.
    """
    rule, attrs = organism.rule, recording.attrs
    if site not in _SITES:
        raise UserError(f"site is one of {', '.join(_SITES)}; got {site!r}.")
    if attrs.get("hash") != organism.hash or attrs.get("edits") != "[]" or attrs.get("fire") != "from the keys":
        raise UserError(f"Sites are replayed in a recording of {organism.name} without edits and given fire masks.")
    names = list(rule.channel_names)
    if site == "perception":
        names = [f"{name} {channel}" for name in rule.filters for channel in names]
    elif site in ("pre", "post"):
        names = [f"u{n}" for n in range(rule.weights[0].shape[1])]
    states = recording.state.values
    if 4 * states[..., 0].size * len(names) > _MAX_BYTES:
        raise UserError(f"The site {site} of this recording takes more than 2 GB; select fewer runs or steps.")
    values = np.empty((*states.shape[:-1], len(names)), np.float32)
    for (i, run), (j, step) in product(enumerate(recording.run.values), enumerate(recording.step.values)):
        sites = replay(organism, states[i, j], int(step), key=run_key(int(attrs["seed"]), int(run)))
        values[i, j] = np.asarray(sites[site], np.float32).reshape(*states.shape[2:4], -1)
    replaced = recording.drop_dims("channel").assign_coords(channel=names)
    return replaced.assign(state=(_DIMS, values)).assign_attrs(site=site)


def spec_of(recording: xr.Dataset) -> Spec:
    """The conventions of the rule that was recorded."""
    return Spec.from_json(parse_json(recording.attrs["spec"], dict))


def save_recording(recording: xr.Dataset, path: str | Path) -> Path:
    """Write a recording as one NetCDF file; an interrupted write leaves no file.

    Raises:
        UserError: the name does not end in .nc, or the file cannot be written.
    """
    if Path(path).suffix != ".nc":
        raise UserError(f"A recording is saved as a .nc file, got {str(path)!r}.")
    encoding = {name: {"zlib": True, "complevel": 1, "shuffle": True} for name in recording.data_vars}
    return write_file(path, lambda temporary: recording.to_netcdf(temporary, engine="h5netcdf", encoding=encoding))


def _check_declared_bytes(path: Path) -> None:
    """Raise `DamagedError` where a file declares more numbers than it can hold, before they are unpacked."""
    total = 0
    with h5py.File(path, "r") as file:
        for dataset in (entry for entry in file.values() if isinstance(entry, h5py.Dataset)):
            total += dataset.size * dataset.dtype.itemsize
    if total > min(_MAX_BYTES, _LARGEST_RATIO * path.stat().st_size):
        raise DamagedError(f"it declares {total} bytes of numbers, more than it can hold.")


def load_recording(path: str | Path) -> xr.Dataset:
    """A recording from its file, identical to what was saved.

    Raises:
        UserError: there is no such file, or it holds no recording.
    """
    if not Path(path).is_file():
        raise UserError(f"No recording {str(path)!r}: give a .nc file written by save_recording.")
    with reading(path, "does not hold a recording"):
        _check_declared_bytes(Path(path))
        with xr.open_dataset(path, engine="h5netcdf") as file:
            recording = file.load()
        if recording.state.dims != _DIMS or recording.mature.dims != _DIMS[:4]:
            raise DamagedError(f"its states are not (run, step, y, x, channel) but {recording.state.dims}.")
        if spec_of(recording).channels != recording.sizes["channel"]:
            raise DamagedError("its states have not the channels of its rule.")
    # NetCDF returns arrays for lists, and its own integers.
    attrs: Mapping[str, Any] = {
        k: v.tolist() if isinstance(v, (np.ndarray, np.generic)) else v for k, v in recording.attrs.items()
    }
    recording = recording.assign_coords(channel=recording.channel.values.astype(str))
    return recording.assign_attrs(attrs).drop_encoding()
