"""How an assay measures one network where networks are compared: what its `population.py` provides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Measure:
    """A number that every network has.

    Attributes:
        name: its name in tables.
        label: a noun phrase for sentences, such as "the share of PC1".
        null: the value expected under the null hypothesis, where there is one.
        main: whether it answers the question; the others are shown for contrast and tested as a family of their own.
        title: a short title for a panel; the name if empty.
    """

    name: str
    label: str
    null: float | None = None
    main: bool = True
    title: str = ""


@dataclass(frozen=True)
class PopulationAssay:
    """How an assay compares networks.

    Attributes:
        name: a word for section and file names.
        measures: from the configuration to what is measured of every network.
        measure: `measure(organism, states, config, log)` gives each measure by name: a number, or a mapping with
            `value` and, where a network has a null of its own, `low` and `high` (5 and 95 % of the null, on the
            scale of the value), `z`, `p` and `r2`. `states` (run, y, x, channel) are what the keys
            `run_keys(config.seed, config.runs)` have grown by `config.adult_step`. It raises `UserError` where the
            network cannot be measured.
        null: from the configuration to a noun phrase: what the values are compared with.
        method: from the configuration to how the values were measured, in plain text.
        axis: label of the axis that all measures share; empty where their units differ.
        preset: fields of the configuration that take these values unless they were set: networks are the units, so
            that few runs of each suffice.
        end_step: from the configuration to the step of the outcome, where that is after the adult step.
        published_step: whether networks are also compared at step 96, to which every regime was trained.
        excluded_runs: how many runs of an excluded network are measured, to be drawn; 0 for none, None for all.
    """

    name: str
    measures: Callable[[Any], tuple[Measure, ...]]
    measure: Callable[..., Mapping[str, float | Mapping[str, float]]]
    null: Callable[[Any], str]
    method: Callable[[Any], str]
    axis: str = ""
    preset: Mapping[str, Any] = field(default_factory=dict)
    end_step: Callable[[Any], int] | None = None
    published_step: bool = False
    excluded_runs: int | None = 0
