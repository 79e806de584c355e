"""The whole assay: which parts are run, and why others are not."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import bodies, codes

import analysis
from analysis.assays.axes.report import sections
from analysis.assays.axes.run import run
from nca.organism import Organism

PARTS = (
    "pca", "pca_runs", "position", "runs", "shape_and_colour", "direction", "weight_shuffle",
    "long_waves", "time_course", "pushes", "projections", "rotated_perception", "rotated_states",
)  # fmt: skip


def test_every_part_is_run(complete):
    assert complete.skipped == {}
    assert all(getattr(complete, part) for part in PARTS)
    assert complete.portrait.shape == (32, 32, 4)
    assert complete.seconds > 0


def test_the_quick_configuration_runs_the_first_parts_alone(brief):
    lines = []
    results = analysis.axes(codes.read_code(), brief, log=lines.append)
    assert [bool(getattr(results, part)) for part in PARTS] == [True] * 6 + [False] * 7
    assert lines[0] == "read code: growing"
    assert len(lines) == 8


def test_a_recording_and_states_that_exist_are_used(complete, brief):
    recording = complete.recording
    config = replace(brief, adult_step=40)
    states = recording.state.values[[0, 0], -1]
    results = run(complete.organism, config, recording=recording, states=states)
    np.testing.assert_allclose(results.position.observed, complete.position.observed)
    np.testing.assert_allclose(results.runs.r2.isel(run=0), results.runs.r2.isel(run=1))


@pytest.mark.parametrize(
    ("organism", "reason"),
    [
        (bodies.exploding_organism(), "exploded"),
        (bodies.static_organism(radius=1.0), "10 or more mature cells"),
        (Organism(bodies.static_organism().rule, canvas=(24, 24)), "10 or more mature cells"),
        (bodies.static_organism(channels=2), None),
        (bodies.static_organism(channels=4), "has none"),
    ],
    ids=["explodes", "five cells", "one cell", "two channels", "no hidden"],
)
def test_bodies_without_axes_are_reported_in_sentences(organism, reason, brief):
    check_report(organism, reason, replace(brief, adult_step=30))


@pytest.mark.parametrize(
    ("organism", "reason"),
    [(bodies.fading_organism(), "no mature cell"), (bodies.static_organism(channels=5), "two or more hidden")],
    ids=["dies", "five channels"],
)
def test_so_are_they_where_every_part_is_asked_for(organism, reason, small):
    check_report(organism, reason, replace(small, adult_step=30))


def check_report(organism, reason, config):
    report = sections([run(organism, config)])
    reasons = " ".join(r for section in report for r in section.skipped)
    assert reason is None or reason in reasons
    for section in report:
        assert section.claims or section.skipped
        assert not any("nan" in claim.text.replace("nance", "") for claim in section.claims)


def test_states_that_do_not_vary_have_no_axes(brief):
    flat = bodies.static_organism()
    patch = np.array(flat.seed)
    patch[patch[..., 3] > 0, 4:] = 0.5
    results = run(replace(flat, seed=patch), brief)
    assert "vary between cells" in results.skipped["pca"]
    assert sections([results])[0].skipped


def test_an_organism_of_a_learned_perception_has_no_compass(small):
    config = replace(small, weight_shuffles=0, time_course_surrogates=0, random_directions=0)
    results = run(codes.counter(), config)
    assert "no compass" in results.skipped["rotated_perception"]
    assert results.rotated_states
