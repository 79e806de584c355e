"""How long regeneration takes, how far it overshoots, and a table of wounds."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from analysis import metrics
from analysis.assays.regeneration.cuts import POOR, REGENERATED


def recovery_times(wounds: xr.Dataset) -> tuple[Float[np.ndarray, "wound run"], Bool[np.ndarray, "wound run"]]:
    """Steps from the wound to the first measured step at which 90 % is recovered, and which runs are censored.

    The share recovered at a step is (MSE after the wound - MSE) / (MSE after the wound - MSE of the control at that
    step). A run that never reaches 90 % is censored at the last step: also one that overgrew or exploded. NaN where
    recovered is not defined.
    """
    span = wounds.mse_cut - wounds.mse_control
    share = ((wounds.mse_cut - wounds.mse) / span.where(span >= metrics.LEAST_WOUND)).transpose("wound", "run", "step")
    reached = share.values >= REGENERATED
    after = wounds.step.values - wounds.step.values[0]
    times = np.where(reached.any(-1), after[reached.argmax(-1)], after[-1]).astype(float)
    times[np.isnan(wounds.recovered.values)] = np.nan
    return times, ~reached.any(-1)


def kaplan_meier(
    times: Float[np.ndarray, " run"], censored: Bool[np.ndarray, " run"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Kaplan-Meier estimate of the share of runs that are not yet regenerated, with a 95 % log-log interval.

    Returns:
        times (from 0 on), share, lower, upper; the interval is NaN where the share is 0.
    """
    from scipy.stats import CensoredData, ecdf

    defined = np.isfinite(times)
    if not defined.any():
        return (np.zeros(0),) * 4
    survival = ecdf(CensoredData.right_censored(times[defined], censored[defined])).sf
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # says that some bounds do not exist: they are NaN
        interval = survival.confidence_interval(0.95, method="log-log")
    columns = (survival.probabilities, interval.low.probabilities, interval.high.probabilities)
    return (np.r_[0, survival.quantiles], *(np.r_[1, np.asarray(column, float)] for column in columns))


def overshoot(wounds: xr.Dataset) -> Float[np.ndarray, "wound run"]:
    """The most by which a wounded body ever exceeds the mature cells of its control, as a share of them; at least 0."""
    control = wounds.mature_cells_control.where(wounds.mature_cells_control > 0)
    excess = (wounds.mature_cells / control - 1).transpose("wound", "run", "step")
    return np.maximum(excess.max("step").values, 0.0)


def is_bistable(recovered: Float[np.ndarray, " run"]) -> bool:
    """Whether some runs regenerate (0.9 and more) while others stay below 0.5."""
    defined = recovered[~np.isnan(recovered)]
    return bool((defined >= REGENERATED).any() and (defined < POOR).any())


def wound_table(wounds: xr.Dataset) -> pd.DataFrame:
    """A row for each wound.

    Returns:
        wound; recovered, the median over runs with recovered_low and recovered_high of its 95 % bootstrap interval;
        runs; defined_runs; "run 0", "run 1", ...: recovered by run; bistable (see `is_bistable`); steps_to_90, the
        median time to 90 % (NaN: not reached by half of the runs); regenerated_runs, that ever reached 90 %;
        overshoot and max_overshoot; overgrown_runs, exploded_runs; cells_changed; and the numbers of half planes
        (angle, offset) or holes (radius, y, x) with the share removed.
    """
    times, censored = recovery_times(wounds)
    excess = overshoot(wounds)
    rows = []
    for w, name in enumerate(wounds.wound.values.tolist()):
        recovered = wounds.recovered.values[w]
        steps, share, _, _ = kaplan_meier(times[w], censored[w])
        half = steps[share <= 0.5]
        median, low, high = metrics.median_interval(recovered)
        rows.append(
            {"wound": name, "recovered": median, "recovered_low": low, "recovered_high": high}
            | {"runs": len(recovered), "defined_runs": int((~np.isnan(recovered)).sum())}
            | {f"run {r}": value for r, value in zip(wounds.run.values, recovered, strict=True)}
            | {"bistable": is_bistable(recovered), "steps_to_90": half[0] if half.size else np.nan}
            | {"regenerated_runs": int((~censored[w] & ~np.isnan(recovered)).sum())}
            | {"overshoot": float(np.median(excess[w])), "max_overshoot": float(excess[w].max())}
            | {f"{event}_runs": int((wounds[event].values[w] >= 0).sum()) for event in ("overgrown", "exploded")}
            | {"cells_changed": float(np.median(wounds.cells_changed.values[w]))}
        )
    frame = pd.DataFrame(rows)
    for name in ("angle", "offset", "radius", "centre_y", "centre_x", "removed"):
        if name in wounds:
            frame[name] = wounds[name].values
    return frame
