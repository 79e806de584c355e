"""Place in the states of every network beside its own surrogates, and its components (A0 to A2)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from analysis import metrics
from analysis.assays.axes.config import AxesConfig
from analysis.assays.axes.pca import LEAST_CELLS, pca
from analysis.assays.axes.position import position_tests
from analysis.populations.members import Population, Verdict
from analysis.populations.studies import Measure, Study
from analysis.progress import Log
from analysis.recording import label_states
from nca.errors import UserError

PLACES = (
    Measure("x", "x", "x beyond smoothness", 0.0),
    Measure("y", "y", "y beyond smoothness", 0.0),
    Measure("radius", "radius", "the radius beyond smoothness", 0.0, main=False),
    Measure("edge", "distance to edge", "the distance to the edge beyond smoothness", 0.0, main=False),
)
COMPONENTS = (
    Measure("needed", "components for 95 %", "the number of components for 95 % of the variance"),
    Measure("first", "share of PC1", "the share of PC1"),
    Measure("radius", "PC1 and radius, |ρ|", "how far PC1 follows the radius"),
    Measure("plane", "PC1 a plane, R²", "how far PC1 is a straight gradient"),
)


def places(population: Population, verdicts: list[Verdict], config: AxesConfig, say: Log | None = None) -> Study:
    """How far place can be decoded beyond what fields as smooth give, in every network.

    Args:
        population: the networks.
        verdicts: of `admitted`: who counts, with what they grew; those excluded are measured as well,
            in their first run alone.
        config: its surrogates, deals, seed, channels and scaling are used.
        say: is told who is examined.

    Returns:
        The study: value is R2 (A1) less the median of its surrogates (A2), mean over runs; z that
        excess over their mean in their sd, mean over runs; p and rank those of the first run; r2 the
        mean R2.
    """
    rows: list[dict[str, object]] = []
    skipped: dict[str, str] = {}
    for verdict in verdicts:
        if say is not None:
            say(f"{verdict.member.name}: decoders beside surrogates at step {verdict.at}")
        try:
            rows += _places(verdict, config)
        except UserError as error:
            skipped[verdict.member.name] = str(error)
    at = verdicts[0].at
    return Study(
        f"axes-{at}",
        at,
        f"at step {at}",
        "R² above the surrogates’ median",
        f"{config.surrogates} band-rotated surrogates of each network’s own states",
        population,
        verdicts,
        PLACES,
        pd.DataFrame(rows, columns=["member", "measure", "value", "low", "high", "z", "p", "r2", "runs"]),
        skipped,
    )


def _places(verdict: Verdict, config: AxesConfig) -> list[dict[str, object]]:
    recording, components = fitted(verdict, config)
    names = [f"R2 of {m.name}" for m in PLACES]
    drawn = {"surrogates": config.surrogates, "deals": config.deals, "seed": config.seed}
    found = [
        position_tests(recording, components, run=run, **drawn).sel(statistic=names)
        for run in range(recording.sizes["run"] if verdict.admitted else 1)
    ]
    above = np.mean([f.observed.values - f.null_median.values for f in found], axis=0)
    ends = [np.mean([f[n].values - f.null_median.values for f in found], 0) for n in ("null_low", "null_high")]
    z = np.mean([(f.observed - f.null.mean("surrogate")) / f.null.std("surrogate") for f in found], axis=0)
    r2 = np.mean([f.observed.values for f in found], axis=0)
    return [
        {
            "member": verdict.member.name,
            "measure": measure.name,
            "value": above[k],
            "low": ends[0][k],
            "high": ends[1][k],
            "z": z[k],
            "p": float(found[0].p[k]),
            "r2": r2[k],
            "runs": len(found),
        }
        for k, measure in enumerate(PLACES)
    ]


def fitted(verdict: Verdict, config: AxesConfig) -> tuple[xr.Dataset, xr.Dataset]:
    """The runs whose body is in order, as a recording, and their components.

    Raises:
        UserError: none is.
    """
    organism, states = verdict.member.organism, verdict.states
    cells = np.asarray(metrics.mature_count(organism.rule, states))
    whole = (cells >= LEAST_CELLS) & ~np.asarray(metrics.exploded(states))
    if not whole.any():
        raise UserError(f"No run has a body of {LEAST_CELLS} or more cells at step {verdict.at}.")
    recording = label_states(organism, states[whole][:, None], steps=[verdict.at])
    hidden = any(str(n).startswith("h") for n in recording.channel.values)
    channels = config.channels if hidden else "all"
    return recording, pca(recording, at=verdict.at, channels=channels, scaling=config.scaling)


def components(population: Population, verdicts: list[Verdict], config: AxesConfig) -> Study:
    """The principal components of every network: how many, and how PC1 lies. They are no claim."""
    rows: list[dict[str, object]] = []
    skipped: dict[str, str] = {}
    for verdict in verdicts:
        try:
            found = fitted(verdict, config)[1]
        except UserError as error:
            skipped[verdict.member.name] = str(error)
            continue
        numbers = {
            "needed": float(found.needed.sel(share=95)),
            "first": float(found.explained[0]),
            "radius": float(found.radius[:, 0].mean()),
            "plane": float(found.plane_r2[:, 0].mean()),
        }
        rows += [{"member": verdict.member.name, "measure": k, "value": v} for k, v in numbers.items()]
    at = verdicts[0].at
    return Study(
        f"components-{at}",
        at,
        f"at step {at}",
        "",
        "that the order of the regimes is any order; the components themselves have no null here",
        population,
        verdicts,
        COMPONENTS,
        pd.DataFrame(rows, columns=["member", "measure", "value"]),
        skipped,
    )
