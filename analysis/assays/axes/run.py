"""The axes assay of one organism: which parts are run, in which order; no sentences about results, no drawing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from analysis import metrics
from analysis.assays.axes.across_networks import decoder_direction
from analysis.assays.axes.config import AxesConfig
from analysis.assays.axes.decoding import decode_runs, position_tests, sensitivity
from analysis.assays.axes.interventions import control_runs, projection_tests, push_tests
from analysis.assays.axes.pca import PCA_MIN_CELLS, pca
from analysis.assays.axes.rotation_test import rotate_perception, rotate_states
from analysis.assays.axes.shape_and_colour import shape_and_colour_tests
from analysis.assays.axes.time_course import time_course
from analysis.assays.axes.weight_shuffle import weight_shuffle_tests
from analysis.recording import label_states, record
from analysis.report.notebook import ReportHtml
from analysis.rollouts import grow_runs, run_keys, with_adult_step
from nca.errors import UserError
from nca.organism import Organism
from nca.progress import Log, silent
from nca.spec import hidden_channels


@dataclass(frozen=True)
class AxesResult(ReportHtml):
    """Results of the axes assay; a part that was not run is an empty Dataset, hence False.

    Attributes:
        organism: the organism that was examined.
        config: the options.
        recording: every state of the first run up to the adult step.
        pca: `pca` of it (A0).
        pca_runs: `pca` of all runs at the adult step, without those that have no body.
        position: `position_tests` (A0, A1, A2).
        long_waves: the same, of surrogates whose long waves are as strong as shorter ones predict.
        sensitivity: `sensitivity` of these tests.
        runs: `decode_runs` (A1).
        shape_and_colour: `shape_and_colour_tests` (A3).
        direction: `decoder_direction` (A5, of this network).
        weight_shuffle: `weight_shuffle_tests` (A4).
        time_course: `time_course`.
        pushes: `push_tests` (A6).
        projections: `projection_tests` (A6).
        rotated_perception: `rotate_perception` (A7).
        rotated_states: `rotate_states` (A7).
        skipped: why a part was not run, by its name.
        portrait: the first run's grown body, premultiplied RGBA (y, x, 4).
        seconds: how long it took.
    """

    organism: Organism
    config: AxesConfig
    recording: xr.Dataset
    pca: xr.Dataset = field(default_factory=xr.Dataset)
    pca_runs: xr.Dataset = field(default_factory=xr.Dataset)
    position: xr.Dataset = field(default_factory=xr.Dataset)
    long_waves: xr.Dataset = field(default_factory=xr.Dataset)
    sensitivity: xr.Dataset = field(default_factory=xr.Dataset)
    runs: xr.Dataset = field(default_factory=xr.Dataset)
    shape_and_colour: xr.Dataset = field(default_factory=xr.Dataset)
    direction: xr.Dataset = field(default_factory=xr.Dataset)
    weight_shuffle: xr.Dataset = field(default_factory=xr.Dataset)
    time_course: xr.Dataset = field(default_factory=xr.Dataset)
    pushes: xr.Dataset = field(default_factory=xr.Dataset)
    projections: xr.Dataset = field(default_factory=xr.Dataset)
    rotated_perception: xr.Dataset = field(default_factory=xr.Dataset)
    rotated_states: xr.Dataset = field(default_factory=xr.Dataset)
    skipped: dict[str, str] = field(default_factory=dict)
    portrait: np.ndarray | None = None
    seconds: float = 0.0


def run(
    organism: Organism,
    config: AxesConfig | None = None,
    *,
    log: Log = silent,
    recording: xr.Dataset | None = None,
    states: Any = None,
) -> AxesResult:
    """Test the body axes of one organism.

    Args:
        config: the options; `AxesConfig()` by default.
        log: called with a line as each part begins.
        recording: every state of run 0 of the config's seed up to the adult step; recorded by default.
        states: all runs at that step, (run, y, x, channel); grown by default.
    """
    config, begin = with_adult_step((config or AxesConfig()).filled(), organism), time.monotonic()
    step, keys = config.adult_step, run_keys(config.seed, config.runs)
    log(f"{organism.name}: growing")
    recording = record(organism, step, seed=config.seed) if recording is None else recording
    states = np.asarray(grow_runs(organism, step, keys) if states is None else states)
    no_body = metrics.missing_body(organism.rule, states[:1], step)
    results: dict[str, Any] = {}
    skipped: dict[str, str] = {}

    def _attempt(name: str, description: str, compute: Callable[[], Any], needs: str = "") -> None:
        reason = no_body or skipped.get(needs, "")
        if not reason:
            log(f"{organism.name}: {description}")
            try:
                results[name] = compute()
                return
            except UserError as error:
                reason = str(error)
        skipped[name] = reason

    seed: dict[str, Any] = {"seed": config.seed}
    tests = seed | {"surrogates": config.surrogates, "cv_repeats": config.cv_repeats}
    options: Any = {"channels": config.channels if hidden_channels(organism.rule.spec) else "all"}
    options["scaling"] = config.scaling
    grown = _label_grown(organism, states, step)
    _attempt("pca", "principal components", lambda: pca(recording, step=step, **options))
    _attempt("pca_runs", "principal components of all runs", lambda: pca(grown, **options), "pca")
    first = (recording, results.get("pca", xr.Dataset()))
    repeats, all_runs = config.cv_repeats, (grown, results.get("pca_runs", xr.Dataset()))
    _attempt("position", "gradients and decoders", lambda: position_tests(*first, **tests), "pca")
    if config.long_wave_surrogates:
        long_waves = tests | {"surrogates": config.long_wave_surrogates, "spectrum": "extrapolated"}
        _attempt("long_waves", "long waves", lambda: position_tests(*first, **long_waves), "position")
    tested = partial(sensitivity, *first, cv_repeats=repeats, **seed)
    _attempt("sensitivity", "planted codes", lambda: tested(tests=results["position"]), "position")
    _attempt("runs", "decoders run by run", lambda: decode_runs(*all_runs, cv_repeats=repeats), "pca_runs")
    _attempt("shape_and_colour", "shape and colour", lambda: shape_and_colour_tests(*first, **tests), "pca")
    _attempt("direction", "direction of the code", lambda: decoder_direction(*first, **tests), "pca")
    if config.weight_shuffles:
        shuffles = seed | {"weight_shuffles": config.weight_shuffles}
        compute = partial(weight_shuffle_tests, organism, *first, keys[0], **shuffles)
        _attempt("weight_shuffle", "shuffled weights", compute, "pca")
    if config.time_course_surrogates:
        course = seed | {"surrogates": config.time_course_surrogates}
        _attempt("time_course", "time course", lambda: time_course(*first, **course), "pca")
    if config.random_directions:
        start = partial(control_runs, organism, states[:2], keys[:2], adult_step=step, eval_steps=config.eval_steps)
        begin_runs = partial(lambda start: start(quantities=_decoded(results["position"])), start)
        _attempt("controls", "controls of the interventions", begin_runs, "position")
        controls, directions = results.pop("controls", None), config.random_directions
        compute = partial(push_tests, controls, random_directions=directions, **seed)
        _attempt("pushes", "pushes along the code", compute, "controls")
        compute = partial(projection_tests, controls, null_planes=max(19, directions // 2), **seed)
        _attempt("projections", "states without the code", compute, "controls")
        skipped.pop("controls", None)
    if config.angles:
        compute = partial(rotate_perception, organism, step, keys[:2], angles=config.angles)
        _attempt("rotated_perception", "growth with a rotated perception", compute)
        compute = partial(rotate_states, organism, states[:2], keys[:2], adult_step=step)
        _attempt("rotated_states", "rotated bodies", compute)
    portrait = np.asarray(metrics.picture(organism.rule.spec, recording.state.values[0, -1]))
    seconds = time.monotonic() - begin
    return AxesResult(organism, config, recording, skipped=skipped, portrait=portrait, seconds=seconds, **results)


def _decoded(tests: xr.Dataset) -> list[str]:
    """The quantities with R² above 0."""
    r2 = tests.observed.sel(measure="r2")
    return [str(quantity) for quantity in r2.quantity.values[r2.values > 0]]


def _label_grown(organism: Organism, states: np.ndarray, step: int) -> xr.Dataset:
    """All runs at the adult step that have a body, and the first in any case."""
    cells = np.asarray(metrics.mature_count(organism.rule, states))
    complete = (cells >= PCA_MIN_CELLS) & ~np.asarray(metrics.exploded(states))
    complete[0] = True
    return label_states(organism, states[complete][:, None], steps=[step])


axes = run  # its name in `analysis`
