"""Populations whose truth is known because it was put there: tiny bodies, and numbers without any."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.populations.members import Member, Population, Verdict
from analysis.populations.studies import Measure, Study
from helpers import bodies
from nca.io import save

REGIMES = ("growing", "persistent", "regenerating")
CANVAS, RADIUS = (24, 24), 8.0


def body(regime, seed, start=None):
    """A standing disc with the provenance of a trained network; growing ones lose their bodies."""
    make = bodies.fading if regime == "growing" else bodies.standing
    own = make(number=100 * REGIMES.index(regime) + seed, canvas=CANVAS, radius=RADIUS)
    told = {"config": {"target": "disc", "regime": regime, "seed": seed}, "steps": 10}
    if start is not None:
        told["started_from"] = {"name": start.name, "hash": start.hash, **_above(start)}
    return replace(own, name=f"{regime}-{seed}", provenance=told)


def _above(organism):
    above = organism.provenance.get("started_from")
    return {"started_from": above} if above else {}


def lines(seeds=3):
    """Every regime of every seed, each trained on from the one before."""
    found = []
    for seed in range(seeds):
        start = None
        for regime in REGIMES:
            start = body(regime, seed, start)
            found.append(start)
    return found


def folder(place, organisms, more=(), **says):
    """A folder as `nca train --population` leaves it."""
    place.mkdir()
    entries = []
    for one in organisms:
        save(one, place / f"{one.name}.safetensors")
        recipe = one.provenance["config"]
        entries.append({"name": one.name, "file": f"{one.name}.safetensors", "status": "trained", **recipe})
    index = {"format": 1, "recipes": [], "members": [*entries, *more], "versions": {"jax": "0"}} | says
    (place / "population.json").write_text(json.dumps(index))
    return place


def study(values, *, z=None, admitted=None, null=0.0, lineage=None):
    """A study of given numbers.

    Args:
        values: {measure: (lineage, regime)}.
        z: the same in units of the null's sd.
        admitted: (lineage, regime), who enters; all if none.
        lineage: names of the lines, one a row; "line 0" and so on if none.
    """
    first = np.asarray(next(iter(values.values())))
    rows, count = first.shape[0], first.shape[1]
    inside = np.ones(first.shape, bool) if admitted is None else np.asarray(admitted)
    organism = bodies.standing(canvas=(12, 12), radius=3.0)
    verdicts, table = [], []
    for r in range(count):
        for k in range(rows):
            name = f"{REGIMES[r]}-{k}"
            line = f"line {k}" if lineage is None else lineage[k]
            member = Member(organism.renamed(name), "disc", REGIMES[r], k, line)
            why = "" if inside[k, r] else "its L is above the limit"
            verdicts.append(Verdict(member, 200, -3.0 if inside[k, r] else -1.0, np.array([-3.0]), 9, None, why))
            for measure, numbers in values.items():
                row = {"member": name, "measure": measure, "value": numbers[k][r]}
                table.append(row if z is None else row | {"z": z[measure][k][r]})
    population = Population("made up", [v.member for v in verdicts])
    measures = [Measure(m, m, f"the code of {m}", null, m in ("x", "y")) for m in values]
    told = ("made-up", 200, "at step 200", "value", "chance", population)
    return Study(*told, verdicts, measures, pd.DataFrame(table))
