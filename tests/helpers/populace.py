"""Populations whose truth is known because it was put there: tiny bodies, and numbers without any."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.assays.axes.config import AxesConfig
from analysis.assays.population import Measure, PopulationAssay
from analysis.populations.comparisons import Study
from analysis.populations.population import GrownMember, Member, Population
from helpers import bodies
from nca.io import save

REGIMES = ("growing", "persistent", "regenerating")
CANVAS, RADIUS = (24, 24), 8.0


def body(regime, seed, start=None):
    """A standing disc with the provenance of a trained network; growing ones lose their bodies."""
    make = bodies.fading_organism if regime == "growing" else bodies.static_organism
    organism = make(number=100 * REGIMES.index(regime) + seed, canvas=CANVAS, radius=RADIUS)
    provenance = {"config": {"target": "disc", "regime": regime, "seed": seed}, "steps": 10}
    if start is not None:
        earlier = {"name": start.name, "hash": start.hash}
        if start.provenance.get("started_from"):
            earlier["started_from"] = start.provenance["started_from"]
        provenance["started_from"] = earlier
    return replace(organism, name=f"{regime}-{seed}", provenance=provenance)


def lines(seeds=3):
    """Every regime of every seed, each trained on from the one before."""
    organisms = []
    for seed in range(seeds):
        start = None
        for regime in REGIMES:
            start = body(regime, seed, start)
            organisms.append(start)
    return organisms


def folder(path, organisms, more=(), **fields):
    """A folder as `nca train --population` leaves it."""
    path.mkdir()
    entries = []
    for organism in organisms:
        save(organism, path / f"{organism.name}.safetensors")
        config = organism.provenance["config"]
        entries.append({"name": organism.name, "file": f"{organism.name}.safetensors", "status": "trained", **config})
    index = {"format": 1, "configs": [], "members": [*entries, *more], "versions": {"jax": "0"}} | fields
    (path / "population.json").write_text(json.dumps(index))
    return path


def assay(measures, **fields):
    """An assay of these measures, which measures nothing; its networks have chance as their null."""
    return PopulationAssay(
        "made-up",
        measures=lambda config: tuple(measures),
        measure=lambda organism, states, config, log: {},
        null=lambda config: "chance",
        method=lambda config: "Made up.",
        axis="value",
        **fields,
    )


def study(values, *, z=None, included=None, null=0.0, lineage=None, p=None):
    """A study of given numbers, at step 200.

    Args:
        values: {measure: (lineage, regime)}; x and y are the main measures.
        z: the same in units of the null's SD.
        included: (lineage, regime), which networks are included; all if none.
        null: of every measure.
        lineage: names of the lineages, one a row; "line 0" and so on if none.
        p: of every network by its own null, if they have one.
    """
    first = np.asarray(next(iter(values.values())))
    rows, count = first.shape[0], first.shape[1]
    inside = np.ones(first.shape, bool) if included is None else np.asarray(included)
    organism = bodies.static_organism(canvas=(12, 12), radius=3.0)
    states, grown, table = np.asarray(organism.initial_state())[None], [], []
    for r in range(count):
        for k in range(rows):
            name = f"{REGIMES[r]}-{k}"
            line = f"line {k}" if lineage is None else lineage[k]
            member = Member(organism.rename(name), "disc", REGIMES[r], k, line)
            log_mse = -3.0 if inside[k, r] else -1.0
            why = "" if inside[k, r] else "its log10 MSE is above the limit"
            grown.append(GrownMember(member, 200, log_mse, np.array([log_mse]), 9, states, why))
            for measure, numbers in values.items():
                row = {"member": name, "measure": measure, "value": numbers[k][r]}
                row |= {} if z is None else {"z": z[measure][k][r]}
                table.append(row if p is None else row | {"p": p})
    population = Population("made up", [g.member for g in grown])
    measures = [Measure(m, f"the code of {m}", null, m in ("x", "y")) for m in values]
    made_up = assay(measures)
    return Study(made_up, AxesConfig(), 200, population, grown, measures, pd.DataFrame(table))
