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


def wound_table(wounds: xr.Dataset) -> pd.DataFrame:
    """A row for each wound.

    Returns:
        wound; recovered, the median over runs with recovered_low and recovered_high of its 95 % bootstrap interval;
        runs; defined_runs; "run 0", "run 1", ...: recovered by run; bistable: some runs recover 0.9 and more, others
        less than 0.5; steps_to_90, the median time to 90 % (NaN: not reached by half of the runs); regenerated_runs,
        that ever reached 90 %; overshoot and max_overshoot, over runs, of the most by which a wounded body ever exceeds
        the mature cells of its control, as a share of them, at least 0; overgrown_runs, exploded_runs; cells_changed;
        and the numbers of half planes (angle, offset) or holes (radius, centre_y, centre_x) with the share removed.
    """
    times, censored = recovery_times(wounds)
    control = wounds.mature_cells_control.where(wounds.mature_cells_control > 0)
    overshoot = np.maximum((wounds.mature_cells / control - 1).max("step"), 0.0)
    rows = []
    for w, name in enumerate(wounds.wound.values.tolist()):
        recovered = wounds.recovered.values[w]
        defined = ~np.isnan(recovered)
        steps, share, _, _ = kaplan_meier(times[w], censored[w])
        half = steps[share <= 0.5]
        median, low, high = metrics.median_interval(recovered)
        rows.append(
            {"wound": name, "recovered": median, "recovered_low": low, "recovered_high": high}
            | {"runs": len(recovered), "defined_runs": int(defined.sum())}
            | {f"run {r}": value for r, value in zip(wounds.run.values, recovered, strict=True)}
            | {"bistable": bool((recovered >= REGENERATED).any() and (recovered < POOR).any())}
            | {"steps_to_90": half[0] if half.size else np.nan}
            | {"regenerated_runs": int((~censored[w] & defined).sum())}
        )
    frame = pd.DataFrame(rows).assign(
        overshoot=overshoot.median("run").values,
        max_overshoot=overshoot.max("run").values,
        overgrown_runs=(wounds.overgrown >= 0).sum("run").values,
        exploded_runs=(wounds.exploded >= 0).sum("run").values,
        cells_changed=wounds.cells_changed.median("run").values,
    )
    numbers = ("angle", "offset", "radius", "centre_y", "centre_x", "removed")
    return frame.assign(**{name: wounds[name].values for name in numbers if name in wounds})
