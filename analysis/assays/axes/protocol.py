"""Body axes, the protocol in grades; each part is a function of recordings or organisms.

A0          `pca`: components, and where on the body they lie
A1, A2      `position_tests`, `across_runs`: gradients and decoders, beside surrogates as smooth
A3          `controls`: decoders that see shape or colour alone
A4          `against_shuffled`: the same weights in another order, on the same living sites
A5          `code_direction` of each network, `networks` of several
A6          `steering`, `subspaces` of a `subject`: is the code used
A7          `turned_growth`, `turned_state`: compass or map
over time   `course`: when it arises, and how much of it is a clock of cell age
"""

from __future__ import annotations

from analysis.assays.axes.across_networks import code_direction, networks, rayleigh
from analysis.assays.axes.controls import controls
from analysis.assays.axes.interventions import Subject, steering, subject, subspaces
from analysis.assays.axes.pca import (
    LEAST_CELLS,
    SHARES,
    SHOWN,
    Channels,
    Scaling,
    horseshoe,
    pca,
    pcs_needed,
    plane,
    rank_correlation,
)
from analysis.assays.axes.position import across_runs, position_tests
from analysis.assays.axes.reading import QUANTITIES
from analysis.assays.axes.rotation_test import turned_growth, turned_state
from analysis.assays.axes.time_course import course
from analysis.assays.axes.weight_shuffle import against_shuffled, shuffled_states

__all__ = [
    "LEAST_CELLS",
    "QUANTITIES",
    "SHARES",
    "SHOWN",
    "Channels",
    "Scaling",
    "Subject",
    "across_runs",
    "against_shuffled",
    "code_direction",
    "controls",
    "course",
    "horseshoe",
    "networks",
    "pca",
    "pcs_needed",
    "plane",
    "position_tests",
    "rank_correlation",
    "rayleigh",
    "shuffled_states",
    "steering",
    "subject",
    "subspaces",
    "turned_growth",
    "turned_state",
]
