"""From which wounds does it heal? Cuts, half planes at every angle, holes at every place, late fates.

Each wound is made at one step on runs already grown, beside the uncut twin of the same key; the
measures are those of `analysis.regeneration`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from analysis import metrics
from analysis.assays.regeneration import regeneration
from analysis.assays.regeneration.config import RegenerationConfig
from analysis.assays.regeneration.regeneration import MARGIN
from analysis.paired import Controls, run_controls
from analysis.progress import Log, Progress, silent
from analysis.report import format
from analysis.rollouts import Tick, grow_runs, run_keys
from nca.damage import CUTS, disc, half_plane
from nca.organism import Organism
from nca.perception import mature

HEALED, AS_CUT = 0.9, 0.5
SHARES = (-0.5, -0.25, 0.0, 0.25, 0.5)
TOGETHER = 16


@dataclass(frozen=True)
class Healing:
    """What one organism heals.

    Attributes:
        organism: what was cut.
        config: how.
        cuts: what `regeneration.five_cuts` says.
        planes: the same of half planes, with angle (degrees), offset (cells) and removed (share of
            the first run's mature cells) by wound; empty where none were made, and where the uncut
            twins lose their bodies, so that nothing would be defined.
        holes: the same of discs, with radius, at_y and at_x.
        fates: what `late_fates` says; empty where none were followed.
        trouble: why nothing was cut; then all of the above are empty.
    """

    organism: Organism
    config: RegenerationConfig
    cuts: xr.Dataset = field(default_factory=xr.Dataset)
    planes: xr.Dataset = field(default_factory=xr.Dataset)
    holes: xr.Dataset = field(default_factory=xr.Dataset)
    fates: xr.Dataset = field(default_factory=xr.Dataset)
    trouble: str = ""


def heal(organism: Organism, config: RegenerationConfig, say: Log = silent) -> Healing:
    """Grow, wound, follow; an organism without a body to cut is said to have none."""
    config = config.filled()
    progress = Progress(say, planned(config))
    keys = run_keys(config.seed, config.runs)
    progress.stage = f"growing {organism.name}"
    states = grow_runs(organism, config.cut_at, keys, tick=progress.tick)
    if trouble := no_body(organism, states, config.cut_at):
        return Healing(organism, config, trouble=trouble)
    when = regeneration.marks(config.cut_at, config.until)
    controls = run_controls(organism, states, keys, when, tick=progress.tick)
    progress.stage = f"cutting {organism.name}"
    cuts = regeneration.cuts_of(organism, controls, progress.tick)
    few = part(controls, config.sweep_runs)
    if not np.asarray(metrics.has_body(few.mse[:, -1], few.mse_empty[:, -1])).any():
        return Healing(organism, config, cuts)  # nothing would be defined
    body = np.asarray(mature(organism.rule, jnp.asarray(states[0])))
    progress.stage = f"half planes through {organism.name}"
    planes = swept(organism, few, planes_through(body, config.angles), body, progress.tick)
    progress.stage = f"holes in {organism.name}"
    holes = swept(organism, few, holes_in(body, config.radii, config.places), body, progress.tick)
    progress.stage = f"late fates of {organism.name}"
    fates = xr.Dataset()
    if config.late:
        fates = late_fates(organism, part(controls, config.late_runs), config.late, progress.tick)
    return Healing(organism, config, cuts, planes, holes, fates)


def planned(config: RegenerationConfig) -> int:
    """Steps that `heal` takes at most, all runs together."""
    span, wounds = config.until - config.cut_at, len(CUTS) + 1
    sweeps = len(SHARES) * config.angles + len(config.radii) * config.places
    later = (wounds + 1) * config.late_runs * (config.late - config.cut_at) if config.late else 0
    return config.runs * (config.cut_at + (wounds + 1) * span) + config.sweep_runs * sweeps * span + later


def no_body(organism: Organism, states: Any, step: int) -> str:
    """Why grown runs cannot be cut; empty where they can."""
    counts, burst = metrics.mature_count(organism.rule, states), metrics.exploded(states)
    if bool(burst.any()):
        return f"It has exploded (a value beyond 1,000) by step {step}: there is no body to cut."
    if int(counts.min()) == 0:
        none = int((np.asarray(counts) == 0).sum())
        return f"It has no mature cell at step {step} in {none} of {len(counts)} runs: there is no body to cut."
    return ""


def part(controls: Controls, runs: int) -> Controls:
    """The first so many of some controls."""
    names = ("states", "keys", "reference", "mse", "mse_empty", "mature_cells", "final_states")
    fire = None if controls.fire is None else controls.fire[:runs]
    return replace(controls, fire=fire, **{name: getattr(controls, name)[:runs] for name in names})


Wounds = Mapping[str, tuple[Bool[np.ndarray, "y x"], dict[str, float]]]


def planes_through(body: Bool[np.ndarray, "y x"], angles: int) -> Wounds:
    """Half planes at so many angles, at offsets of -1/2 to 1/2 of the body's reach from the middle.

    Those that take no cell of the body, or all of it, are left out.
    """
    high, wide = body.shape
    y, x = np.nonzero(body)
    reach = np.quantile(np.hypot(y - (high - 1) / 2, x - (wide - 1) / 2), 0.95)
    offsets = sorted({float(round(share * reach)) for share in SHARES})
    found: dict[str, Any] = {}
    for angle, offset in product(np.arange(angles) * 360 / max(angles, 1), offsets):
        region = half_plane(body.shape, np.radians(angle), offset)
        if 0 < (region & body).sum() < body.sum():
            found[f"{angle:g} degrees, {offset:+g} cells"] = region, {"angle": angle, "offset": offset}
    return found


def holes_in(body: Bool[np.ndarray, "y x"], radii: tuple[float, ...], places: int) -> Wounds:
    """Discs of each radius about some `places` cells of the body, on a square grid through its middle."""
    spacing = max(1, round(float(np.sqrt(body.sum() / places))))
    y, x = np.nonzero(body)
    rows, columns = (np.arange(round(v.mean()) % spacing, n, spacing) for v, n in zip((y, x), body.shape, strict=True))
    found: dict[str, Any] = {}
    for radius, at in product(radii, product(rows.tolist(), columns.tolist())):
        if body[at]:
            name = f"radius {radius:g} at {at[0]},{at[1]}"
            numbers = {"radius": float(radius), "at_y": float(at[0]), "at_x": float(at[1])}
            found[name] = disc(body.shape, at, radius), numbers
    return found


def swept(
    organism: Organism, controls: Controls, wounds: Wounds, body: Bool[np.ndarray, "y x"], tick: Tick | None
) -> xr.Dataset:
    """Recovered, E and size after each of many wounds, with its numbers; empty where there are none."""
    kept = ["recovered", "e", "mature", "e_twin", "mature_twin", "e_cut", "e_end", "overgrown", "exploded"]
    parts = []
    listed = list(wounds)
    for first in range(0, len(listed), TOGETHER):
        regions = {name: wounds[name][0] for name in listed[first : first + TOGETHER]}
        parts.append(regeneration.wounds_of(organism, controls, regions, tick)[[*kept, "touched", "region"]])
    if not parts:
        return xr.Dataset()
    alone = ("e_twin", "mature_twin")
    whole = xr.concat([p.drop_vars(alone) for p in parts], "wound").assign(parts[0][[*alone]])
    for name in next(iter(wounds.values()))[1]:
        whole[name] = "wound", [numbers[name] for _, numbers in wounds.values()]
    share = [(region & body).sum() / body.sum() for region, _ in wounds.values()]
    return whole.assign(removed=("wound", share), body=(("y", "x"), body)).assign_attrs(parts[0].attrs)


def late_fates(organism: Organism, controls: Controls, late: int, tick: Tick | None = None) -> xr.Dataset:
    """What became of cut bodies long after, beside their uncut twins.

    Returns:
        What `regeneration.cuts_of` says, followed to step `late` in one go, with fate (wound, run) and
        fate_twin (run,): words.
    """
    first = int(controls.steps[0])
    marks = [first, *range(first + 100, late, 100), late]
    long = run_controls(organism, controls.states, controls.keys, marks, fire=None, tick=tick)
    found = regeneration.cuts_of(organism, long, tick)
    fates = np.empty(found.recovered.shape, object)
    for w, r in np.ndindex(*fates.shape):
        one = found.isel(wound=w, run=r)
        burst, tumour = int(one.exploded) >= 0, int(one.overgrown) >= 0
        counts = int(one.mature[-1]), int(one.mature_twin[-1])
        fates[w, r] = fate(*counts, float(one.recovered), burst, tumour)
    whole = [
        "keeps its body" if ok else "loses its body"
        for ok in np.asarray(metrics.has_body(long.mse[:, -1], long.mse_empty[:, -1]))
    ]
    return found.assign(fate=(("wound", "run"), fates.astype(str)), fate_twin=("run", whole))


def fate(cells: int, twin: int, recovered: float, exploded: bool, overgrown: bool) -> str:
    """What became of a cut body, beside its twin."""
    if exploded:
        return "exploded"
    if cells == 0:
        return "died"
    if overgrown or cells > metrics.OVERGROWN * twin:
        return "overgrew"
    if np.isfinite(recovered):
        return "healed" if recovered >= HEALED else "scarred"
    return format.NOT_DEFINED


def healed_course(found: xr.Dataset) -> Float[np.ndarray, "wound run time"]:
    """Recovered at every mark: (E_cut - E) / (E_cut - E_twin) of the same step; NaN as for the end."""
    span = found.e_cut - found.e_twin
    course = (found.e_cut - found.e) / span.where(span >= metrics.LEAST_WOUND)
    return course.transpose("wound", "run", "time").where(found.recovered.notnull()).values


def time_to_heal(found: xr.Dataset) -> tuple[Float[np.ndarray, "wound run"], Bool[np.ndarray, "wound run"]]:
    """Steps from the cut to the first mark at which 90 % is recovered, and who is censored.

    A run that does not get there is censored at the last mark: also one that overgrew or exploded,
    which never will. NaN where recovered is not defined.
    """
    course, after = healed_course(found), found.time.values - found.time.values[0]
    there = course >= HEALED
    steps = np.where(there.any(-1), after[there.argmax(-1)], after[-1]).astype(float)
    steps[np.isnan(found.recovered.values)] = np.nan
    return steps, np.asarray(~there.any(-1))


def overshoot(found: xr.Dataset) -> Float[np.ndarray, "wound run"]:
    """The most that a cut body ever exceeds its twin's mature cells, as a share of them; 0 for never."""
    twin = found.mature_twin.where(found.mature_twin > 0)
    more = (found.mature / twin - 1).transpose("wound", "run", "time")
    return np.maximum(more.max("time").values, 0.0)


def survival(
    steps: Float[np.ndarray, " run"], censored: Bool[np.ndarray, " run"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Kaplan-Meier: share not yet healed, with a 95 % log-log interval.

    Returns:
        times (from 0 on), share, lower, upper; the interval is NaN where none can be had.
    """
    from scipy.stats import CensoredData, ecdf

    known = np.isfinite(steps)
    if not known.any():
        return (np.zeros(0),) * 4
    found = ecdf(CensoredData.right_censored(steps[known], censored[known])).sf
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # says that some bounds do not exist: they are NaN
        bounds = found.confidence_interval(0.95, method="log-log")
    columns = (found.quantiles, found.probabilities, bounds.low.probabilities, bounds.high.probabilities)
    times, share, low, high = (np.asarray(v, float) for v in columns)
    return (np.r_[0, times], *(np.r_[1, v] for v in (share, low, high)))


def bistable(recovered: Float[np.ndarray, " run"]) -> bool:
    """Whether some keys heal (0.9 and more) while others stay below a half."""
    known = recovered[~np.isnan(recovered)]
    return bool((known >= HEALED).any() and (known < AS_CUT).any())


def table(found: xr.Dataset) -> pd.DataFrame:
    """One row per wound: recovered with its interval and keys, time to 90 %, overshoot, outcomes."""
    steps, censored = time_to_heal(found)
    over = overshoot(found)
    rows = []
    for w, name in enumerate(found.wound.values.tolist()):
        keys = found.recovered.values[w]
        low = keys < AS_CUT
        times, share, _, _ = survival(steps[w], censored[w])
        half = times[share <= 0.5]
        rows.append(
            {"wound": name}
            | dict(zip(("recovered", "low", "high"), metrics.median_interval(keys), strict=True))
            | {"defined": int((~np.isnan(keys)).sum()), "keys": len(keys)}
            | {f"key {r}": v for r, v in zip(found.run.values, keys, strict=True)}
            | {"bistable": bistable(keys)}
            | {"unhealed_keys": " ".join(map(str, np.flatnonzero(low))) if bistable(keys) else ""}
            | {"steps_to_90": half[0] if half.size else np.nan}
            | {"healed_runs": int((~censored[w] & ~np.isnan(keys)).sum())}
            | {"overshoot": float(np.median(over[w])), "most_overshoot": float(over[w].max())}
            | {"overgrown_runs": int((found.overgrown.values[w] >= 0).sum())}
            | {"exploded_runs": int((found.exploded.values[w] >= 0).sum())}
            | {"cells_touched": float(np.median(found.touched.values[w]))}
        )
    frame = pd.DataFrame(rows)
    for name in ("angle", "offset", "radius", "at_y", "at_x", "removed"):
        if name in found:
            frame[name] = found[name].values
    return frame


def margin_changed(found: xr.Dataset) -> float | None:
    """The largest change that the control cut made, which must be 0; None where there was no margin."""
    return float(found.changed.sel(wound=MARGIN).max()) if MARGIN in found.wound.values else None
