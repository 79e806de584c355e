"""An organism as the JSON that its page reads: arrays as float32 in base64."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import xarray as xr

from analysis.assays.axes.pca import PCA_MIN_CELLS, pca
from analysis.recording import record
from nca.errors import UserError
from nca.organism import Organism, check_canvas
from nca.spec import PERCEPTIONS, Spec, channel_names, channel_role

LARGEST_SIDE = 512
LARGEST_STATE = 2**23  # numbers
FITTED = 200  # the step whose cells give the components and the colours' limits
EXPLODED = 1000.0


def page_data(
    organism: Organism,
    *,
    canvas: tuple[int, int] | None = None,
    source: str | None = None,
    seed: int = 0,
    run: int = 0,
    steps: int = FITTED,
) -> dict[str, Any]:
    """The organism as JSON values, which the page reads.

    Args:
        organism: the organism of the page.
        canvas: (y, x) in cells, if not the organism's own.
        source: its name on a command line; its own name if none.
        seed: number that the randomness follows from at first.
        run: which run of that seed.
        steps: length of the run whose last mature cells give the principal components and the limits of
            the colours; 0 leaves both out.

    Raises:
        UserError: a canvas that a page could not hold.
    """
    size = check_canvas(organism.canvas if canvas is None else canvas)
    spec = organism.rule.spec
    if max(size) > LARGEST_SIDE or size[0] * size[1] * spec.channels > LARGEST_STATE:
        raise UserError(
            f"A page holds up to {LARGEST_SIDE} cells a side and {LARGEST_STATE} numbers, but this canvas is "
            f"{size[0]}x{size[1]} with {spec.channels} channels; take a smaller --canvas."
        )
    picture = organism.padded_target(size)
    names = list(channel_names(spec))
    components, reason, limits = None, "No run was recorded to find principal components in.", [1.0] * len(names)
    if steps:
        recording = record(organism, steps, every=steps, seed=seed)
        (components, reason), limits = _components(recording), _limits(recording, names)
    hidden = [c for c, name in enumerate(names) if channel_role(name) == "hidden"]
    return {
        "name": organism.name,
        "source": source or organism.name,
        "hash": organism.hash,
        "facts": _facts(organism, size),
        "canvas": list(size),
        "place": {"seed": seed, "run": run},
        "spec": spec.to_json(),
        "has_compass": PERCEPTIONS[spec.perception].has_compass,
        "channels": names,
        "hidden": hidden,
        "rgb": (hidden + list(range(spec.channels)) * 3)[:3],
        "limits": limits,
        "layers": [_layer(w, b) for w, b in zip(organism.rule.weights, organism.rule.biases, strict=True)],
        "angle": float(organism.rule.angle[...]),
        "kernels": _kernels(organism),
        "seed": {"shape": list(organism.seed.shape), "values": _encode_floats(organism.seed)},
        "target": None if picture is None else _encode_floats(picture),
        "dead": None if picture is None else max(float((picture**2).sum()) / (72 * 72 * 4), 1e-12),
        "axes": components,
        "why": reason,
    }


def _encode_floats(values: Any) -> str:
    """Little-endian float32 in base64."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _layer(weights: Any, bias: Any) -> dict[str, Any]:
    shape = dict(zip(("inputs", "outputs"), weights.shape, strict=True))
    return shape | {"weights": _encode_floats(weights[...]), "bias": _encode_floats(bias[...])}


def _kernels(organism: Organism) -> dict[str, Any] | None:
    if (kernels := organism.rule.kernels) is None:
        return None
    filters, depth = kernels.shape[:2]
    return {"filters": filters, "depth": depth, "values": _encode_floats(kernels[...])}


def _components(recording: xr.Dataset) -> tuple[dict[str, Any] | None, str]:
    """Principal components of the hidden channels over all channels, or why there are none."""
    names = list(recording.channel.values)
    has_hidden = any(channel_role(name) == "hidden" for name in names)
    try:
        components = pca(recording, channels="hidden" if has_hidden else "all")
    except UserError as error:
        return None, str(error)
    on_all = components.reindex(channel=names, fill_value=0.0)
    scores = components.scores.isel(step=-1).values.reshape(-1, components.sizes["pc"])
    spread = np.nanpercentile(np.abs(scores), 98, axis=0)
    loadings = on_all.loadings.transpose("pc", "channel").values
    return {
        "count": len(loadings),
        "directions": _encode_floats(loadings),
        "mean": _encode_floats(on_all["mean"].values),
        "explained": [round(float(share), 6) for share in components.explained.values],
        "spans": [max(float(s), 1e-6) for s in spread],
        "step": int(components.attrs["step"]),
    }, ""


def _limits(recording: xr.Dataset, names: list[str]) -> list[float]:
    """The size of each channel that gets full colour: the 98th percentile over the body."""
    states = recording.state.isel(step=-1).values[recording.mature.isel(step=-1).values]
    states = np.abs(states[np.isfinite(states).all(-1) & (np.abs(states) < EXPLODED).all(-1)])
    if len(states) < PCA_MIN_CELLS:
        return [1.0] * len(names)
    return [round(max(float(v), 0.05), 4) for v in np.percentile(states, 98, axis=0)]


def _facts(organism: Organism, size: tuple[int, int]) -> str:
    spec: Spec = organism.rule.spec
    fire = "synchronous" if spec.fire_rate >= 1 else f"fire rate {spec.fire_rate:g}"
    parts = [f"{organism.rule.parameters:,} parameters", f"{spec.channels} channels", f"{size[0]}×{size[1]} cells"]
    return " · ".join([*parts, f"{spec.perception} perception", fire])
