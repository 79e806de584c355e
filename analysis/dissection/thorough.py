"""The assays of a whole dissection, and of several organisms side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from analysis import metrics
from analysis.assays.axes import comparison as axes_comparison
from analysis.assays.axes.examination import examine_axes
from analysis.assays.grafts import section as graft_section
from analysis.assays.grafts.config import GraftConfig
from analysis.assays.grafts.transplants import graft
from analysis.assays.lesions import section as lesion_section
from analysis.assays.lesions.battery import lesion
from analysis.assays.lesions.config import LesionConfig
from analysis.assays.regeneration import section as healing_section
from analysis.assays.regeneration.config import RegenerationConfig
from analysis.assays.regeneration.wounds import heal
from analysis.assays.robustness import section as robust_section
from analysis.assays.robustness.battery import robust
from analysis.assays.robustness.config import RobustnessConfig
from analysis.dissection.config import DissectConfig
from analysis.dissection.examination import Examination, axes_config
from analysis.geometry import body_ends
from analysis.progress import Log
from analysis.report.folder import Report
from analysis.report.model import Section
from nca.organism import Organism

NAME = "nca dissect"


def thorough(found: Examination, say: Log) -> list[Section]:
    """Lesions, regeneration, robustness and a graft of one organism, by the commands' usual settings."""
    organism, seed = found.organism, found.config.seed
    made = [
        lesion_section.section(lesion(organism, LesionConfig(seed=seed), say)),
        healing_section.section([heal(organism, RegenerationConfig(seed=seed), say)]),
        robust_section.section([robust(organism, RobustnessConfig(seed=seed), say)]),
    ]
    places = moved(found)
    if places is None:
        reason = "A graft needs a body of several cells; this one has none."
        return [*made, Section("grafts", "Grafts", skipped=[reason])]
    config = GraftConfig(*places, seed=seed)
    return [*made, graft_section.section(graft(organism, organism, config, say))]


def moved(found: Examination) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """From the middle of the body to its far end, in cells (y, x); None without a body."""
    mask = found.recording.mature.isel(run=0, step=-1).values
    if mask.sum() < 2:
        return None
    cells = np.argwhere(mask)
    middle = cells[np.square(cells - cells.mean(0)).sum(1).argmin()]
    far = max(body_ends(mask), key=lambda end: float(np.square(end - middle).sum()))
    return (float(middle[0]), float(middle[1])), (float(far[0]), float(far[1]))


def side_by_side(organisms: Sequence[Organism], config: DissectConfig, say: Log) -> Report:
    """Several organisms compared: their axes with networks as units, how they heal, what they bear."""
    begun = time.monotonic()
    tested = [examine_axes(organism, axes_config(config), say=say) for organism in organisms]
    healed = [heal(organism, RegenerationConfig(seed=config.seed), say) for organism in organisms]
    sections = [axes_comparison.comparison_section(tested), healing_section.section(healed)]
    if config.full:
        borne = [robust(organism, RobustnessConfig(seed=config.seed), say) for organism in organisms]
        sections.append(robust_section.section(borne))
    first = tested[0].recording.state.values[0, -1]
    return Report(
        NAME,
        organisms,
        sections,
        config.to_json(),
        np.asarray(metrics.picture(organisms[0].rule.spec, first)),
        time.monotonic() - begun,
        "Networks are the units here; organisms that share ancestors are not independent.",
    )
