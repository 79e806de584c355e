"""The assays of a whole dissection, and of several organisms side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from analysis import axes_comparison, graft_section, healing_section, lesion_section, metrics, robust_section
from analysis.axes_examination import examine_axes
from analysis.config import DissectConfig
from analysis.examination import Examination, axes_config
from analysis.geometry import ends
from analysis.graft_config import GraftConfig
from analysis.grafts import graft
from analysis.healing import heal
from analysis.healing_config import HealingConfig
from analysis.lesion_battery import lesion
from analysis.lesion_config import LesionConfig
from analysis.pages import Report
from analysis.progress import Say
from analysis.robust_config import RobustConfig
from analysis.robustness import robust
from analysis.sections import Section
from nca.organism import Organism

NAME = "nca dissect"


def thorough(found: Examination, say: Say) -> list[Section]:
    """Lesions, regeneration, robustness and a graft of one organism, by the commands' usual settings."""
    organism, seed = found.organism, found.config.seed
    made = [
        lesion_section.section(lesion(organism, LesionConfig(seed=seed), say)),
        healing_section.section([heal(organism, HealingConfig(seed=seed), say)]),
        robust_section.section([robust(organism, RobustConfig(seed=seed), say)]),
    ]
    places = moved(found)
    if places is None:
        reason = "A graft needs a body of several cells; this one has none."
        return [*made, Section("grafts", "Grafts", outcomes=[reason])]
    config = GraftConfig(*places, seed=seed)
    return [*made, graft_section.section(graft(organism, organism, config, say))]


def moved(found: Examination) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """From the middle of the body to its far end, in cells (y, x); None without a body."""
    mask = found.recording.mature.isel(run=0, step=-1).values
    if mask.sum() < 2:
        return None
    cells = np.argwhere(mask)
    middle = cells[np.square(cells - cells.mean(0)).sum(1).argmin()]
    far = max(ends(mask), key=lambda end: float(np.square(end - middle).sum()))
    return (float(middle[0]), float(middle[1])), (float(far[0]), float(far[1]))


def side_by_side(organisms: Sequence[Organism], config: DissectConfig, say: Say) -> Report:
    """Several organisms compared: their axes with networks as units, how they heal, what they bear."""
    begun = time.monotonic()
    tested = [examine_axes(organism, axes_config(config), say=say) for organism in organisms]
    healed = [heal(organism, HealingConfig(seed=config.seed), say) for organism in organisms]
    sections = [axes_comparison.comparison_section(tested), healing_section.section(healed)]
    if config.full:
        borne = [robust(organism, RobustConfig(seed=config.seed), say) for organism in organisms]
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
