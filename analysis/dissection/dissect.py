"""Every assay of one organism, or of several that are compared, as one report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from analysis import metrics, viewer
from analysis.assays import ASSAYS, Assay
from analysis.dissection.config import DissectConfig
from analysis.dissection.growth import growth_section, measure_growth
from analysis.report.format import join_words
from analysis.report.model import Report, Section
from analysis.rollouts import body_warnings, with_adult_step
from nca.errors import UserError
from nca.organism import Organism
from nca.progress import Log, silent

COMMAND = "nca dissect"
ONE_NETWORK = (
    "All of this concerns one trained network, grown from several keys: agreement between runs shows that a "
    "result repeats, not that other trained networks would give it."
)
SEVERAL_NETWORKS = "Networks are the units here; organisms that share ancestors are not independent."
VIEWER_HEIGHT = 860  # pixels


def dissect(
    organism: Organism | Sequence[Organism],
    config: DissectConfig | None = None,
    *,
    assay_configs: Mapping[str, Any] | None = None,
    log: Log = silent,
) -> Report:
    """Take an organism apart; several are compared.

    Args:
        organism: one organism, or several.
        config: which assays, and how large.
        assay_configs: options of each assay, by its name, instead of those of `config`.
        log: receives the progress, a line at a time.

    Returns:
        The report: growth (of one organism), a section or more for each assay, what a short one leaves out, and the
        living organism.
        `report.save(folder)` writes it; a notebook shows it.
    """
    organisms = [organism] if isinstance(organism, Organism) else list(organism)
    config = with_adult_step(config or DissectConfig(), *organisms)
    configs = config.assay_configs() if assay_configs is None else dict(assay_configs)
    started, alone = time.monotonic(), len(organisms) == 1
    warnings = body_warnings(organisms, config.adult_step, log)
    sections, portrait = [], None
    if alone:
        growth = measure_growth(organisms[0], config, log=log)
        portrait = np.asarray(metrics.picture(organisms[0].rule.spec, growth.recording.state.values[0, -1]))
        sections.append(growth_section(growth))
    assays = [assay for assay in ASSAYS if assay.name in configs and (alone or assay.several)]
    for assay in assays:
        log(f"{assay.name}: {assay.question}")
        sections += _assay_sections(assay, organisms, configs[assay.name], log)
    if assay_configs is None and not config.full:
        absent = [assay for assay in ASSAYS if assay.name in config.assays and assay.name not in configs]
        sections.append(_not_examined({assay: configs[assay.name] for assay in assays}, absent))
    if alone:
        sections.append(_viewer_section(organisms[0]))
    return Report(
        COMMAND,
        organisms,
        sections,
        config.to_json(configs),
        portrait=portrait,
        seconds=time.monotonic() - started,
        caveat=ONE_NETWORK if alone else SEVERAL_NETWORKS,
        warnings=warnings,
    )


def _assay_sections(assay: Assay, organisms: Sequence[Organism], config: Any, log: Log) -> list[Section]:
    """An assay's sections; one that says why, where the assay cannot be made of an organism."""
    run = assay.module("run").run
    results, reasons = [], []
    for organism in organisms:
        try:
            results.append(run(*[organism] * (1 + assay.with_donor), config, log=log))
        except UserError as error:
            reasons.append(f"{organism.name}: {error}" if len(organisms) > 1 else str(error))
    sections = list(assay.module("report").sections(results)) if results else []
    if reasons:
        name = f"{assay.name}-skipped" if sections else assay.name
        sections.insert(0, Section(name, assay.name.capitalize(), skipped=reasons))
    return [replace(sections[0], question=assay.question), *sections[1:]]


def _not_examined(configs: Mapping[Assay, Any], absent: Sequence[Assay]) -> Section:
    """What the configurations of a short dissection leave out, and assays that it does not make."""
    reasons = []
    for assay, config in configs.items():
        left_out = []
        for option, values in vars(assay.config()).items():
            here, label = getattr(config, option), option.replace("_", " ")
            if values and not here:
                left_out.append(label)
            elif isinstance(values, tuple) and (missing := [str(v) for v in values if v not in here]):
                left_out.append(f"{label} {join_words(missing)}")
        if left_out:
            reasons.append(f"{assay.name.capitalize()}: {'; '.join(left_out)}.")
    reasons += [f"{assay.name.capitalize()}: the whole assay." for assay in absent]
    lead = "This is the short dissection. With --full it also examines these options of the assays:"
    return Section("not-examined", "Not examined here", skipped=[lead, *reasons])


def _viewer_section(organism: Organism) -> Section:
    """The organism itself, to be edited by hand; a canvas too large for that says so."""
    title = "The living organism"
    try:
        return Section("viewer", title, live=viewer.iframe(organism, VIEWER_HEIGHT))
    except UserError as error:
        return Section("viewer", title, skipped=[str(error)])
