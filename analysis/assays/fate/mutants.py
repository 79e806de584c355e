"""Does the decoded place predict what a mutant looks like?

Petkova et al. 2019 read mutant embryos by the wild type's dictionary, and found the stripes of a mutant where its
cells mean the places of wild-type stripes: a mutation that moves identities is homeotic. Mutants here are grown bodies
without one hidden unit.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.spatial import KDTree

from analysis import metrics
from analysis.assays.fate.dictionary import SAME_PLACE, Dictionary, bodies, decode
from analysis.paired import EditedRun, run_controls, run_edited
from analysis.rollouts import Tick
from nca import edits
from nca.organism import Organism

LESION_STEPS = 60  # for which a unit is held at zero


def read_mutants(
    organism: Organism,
    dictionary: Dictionary,
    states: Float[np.ndarray, "run y x channel"],
    keys: Any,
    adult_step: int,
    number: int,
    tick: Tick | None = None,
) -> pd.DataFrame:
    """Hold hidden units at zero, one at a time, and predict the colours of the lesioned body from decoded places.

    Args:
        organism: what is lesioned.
        dictionary: made from other runs.
        states: of two or more runs at the adult step; the first is lesioned, the second says how much runs differ.
        keys: one per state.
        adult_step: their step.
        number: of units, evenly spaced over all; 0 for none.
        tick: receives the steps done.

    Returns:
        A row for each unit: predicted, the mean squared difference of the colours of its cells (premultiplied RGBA)
        from those of the unlesioned body's cells nearest to their decoded places; unmoved, from those of the same
        cells; between_runs, what unmoved is of the next unlesioned run; known, the share of known states; moved, the
        share of cells decoded elsewhere than within 2.5 cells; cells. Lesions after which no cell is left or any value
        explodes are left out.
    """
    units = np.linspace(0, organism.rule.weights[0].shape[1] - 1, number).round().astype(int)
    if not number or len(states) < 2:
        return pd.DataFrame()
    steps = [adult_step, adult_step + LESION_STEPS]
    controls = run_controls(organism, states[:2], keys[:2], steps, tick=tick)
    rows = [EditedRun(0, (edits.erase(organism, site="post", units=[int(unit)]),)) for unit in np.unique(units)]
    lesioned = run_edited(organism, controls, rows, tick)["final_states"]
    pictures = [np.asarray(metrics.picture(organism.rule.spec, s)) for s in controls.final_states]
    whole = bodies(organism, controls.final_states[0])
    between = np.square(pictures[1] - pictures[0])[whole].sum(-1).mean()
    measured = []
    for unit, state in zip(np.unique(units), lesioned, strict=True):
        body = bodies(organism, state)
        if not body.any() or bool(metrics.exploded(jnp.asarray(state))):
            continue
        places, distance = decode(dictionary, state[body])
        cells, colours = np.argwhere(body), np.asarray(metrics.picture(organism.rule.spec, state))[body]
        there = tuple(np.argwhere(whole)[KDTree(np.argwhere(whole)).query(np.nan_to_num(places))[1]].T)
        numbers = {
            "predicted": np.square(colours - pictures[0][there]).sum(-1).mean(),
            "unmoved": np.square(colours - pictures[0][body]).sum(-1).mean(),
            "between_runs": between,
            "known": (distance <= dictionary.radius).mean(),
            "moved": (np.linalg.norm(places - cells, axis=1) > SAME_PLACE).mean(),
        }
        measured.append({"unit": int(unit), "cells": len(cells)} | {k: float(v) for k, v in numbers.items()})
    return pd.DataFrame(measured)
