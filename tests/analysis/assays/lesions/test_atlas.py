"""The lesion atlas on bodies that keep what they have: what is lost stays lost, and nothing follows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import bodies, planted
from helpers.specimens import EVAL_STEP, STEP, specimen_of

import nca
from analysis import metrics
from analysis.assays.lesions.atlas import (
    half_doses,
    list_lesions,
    run_lesions,
    split_half_correlation,
    summarise_lesions,
)
from analysis.assays.lesions.config import LesionConfig
from analysis.assays.lesions.interventions import INTERVENTIONS, Lesion
from analysis.assays.lesions.run import run

QUICK = replace(LesionConfig.quick(), runs=2, adult_step=20, eval_steps=(10, 40), targets=("channel",), doses=(0.05,))
QUICK = replace(QUICK, interventions=("partial", "erase", "resample", "random-direction"), basis_controls=0)


@pytest.fixture(scope="module")
def quick():
    return run(bodies.static_organism(), QUICK)


def of(table, **where):
    """Rows of a table with these values."""
    for name, value in where.items():
        table = table[table[name].isin(value if isinstance(value, list) else [value])]
    return table


def test_partial_ablation_of_a_colour_costs_what_is_worked_out_by_hand(quick):
    target = np.asarray(bodies.static_organism().padded_target())
    empty = np.square(target).sum() / metrics.PUBLISHED_PIXELS
    for step in (10, 40):
        lost = np.square(target[..., 0] * (1 - 0.95**step)).sum() / metrics.PUBLISHED_PIXELS
        rows = of(quick.atlas_runs, intervention="partial", target="r", eval_step=step)
        np.testing.assert_allclose(rows.mse, lost, rtol=1e-4)
        np.testing.assert_allclose(rows.fitness, 1 - lost / empty, rtol=1e-5)


def test_hidden_channels_that_no_cell_reads_can_be_lost(quick):
    rows = of(quick.atlas_runs, target=["h0", "h1", "control"])
    assert set(rows.intervention) == set(QUICK.interventions)
    np.testing.assert_allclose(rows.fitness, 1.0, atol=1e-6)
    np.testing.assert_allclose(rows.log_mse_increase, 0.0, atol=1e-6)


def test_without_alpha_there_is_no_body(quick):
    rows = of(quick.atlas_runs, intervention="erase", target="alpha")
    np.testing.assert_allclose(rows.fitness, 0.0, atol=1e-6)
    assert (rows.mature_cells == 0).all()


def test_resampling_from_an_equal_run_changes_nothing(quick):
    rows = of(quick.atlas_runs, intervention="resample", role=["hidden", "colour", "alpha"])
    assert (rows.cells_changed == 0).all()
    np.testing.assert_allclose(rows.fitness, 1.0, atol=1e-6)


def test_cells_changed_are_those_that_hold_something(quick):
    rows = of(quick.atlas_runs, intervention=["partial", "erase", "random-direction"], role=["hidden", "colour"])
    assert (rows.cells_changed == 149).all()


def test_without_a_target_the_control_is_the_reference():
    result = run(bodies.static_organism(target=False), replace(QUICK, eval_steps=(10,)))
    assert (result.atlas_runs.mse_control == 0).all()
    rows = of(result.atlas_runs, intervention="erase", target="alpha")
    np.testing.assert_allclose(rows.fitness, 0.0, atol=1e-6)


def test_fitness_is_not_defined_where_the_control_has_no_body_left():
    slow = np.zeros(6)
    slow[3] = -0.045
    result = run(bodies.static_organism(bias=slow), replace(QUICK, runs=1, adult_step=4, eval_steps=(60,)))
    assert "resample" not in set(result.atlas.intervention)  # there is no other run
    assert result.atlas.fitness.isna().all()
    assert (of(result.atlas, role="hidden").outcome == "not defined").all()
    assert np.isfinite(result.atlas_runs.log_mse).all()


def test_the_atlas_has_a_row_for_every_intervention_channel_and_evaluation_step(quick):
    assert len(quick.atlas) == (4 * 7 - 1) * 2  # the control channel has no random direction
    assert set(quick.atlas.role) == {"colour", "alpha", "hidden", "control"}
    row = of(quick.atlas, intervention="erase", target="g", eval_step=40).iloc[0]
    values = of(quick.atlas_runs, intervention="erase", target="g", eval_step=40).fitness
    assert row.fitness == pytest.approx(float(values.median()))
    assert row.fitness_low <= row.fitness <= row.fitness_high
    assert (row.runs, row.overgrown_runs, row.overgrown_step, row.outcome) == (2, 0, -1, "")


def test_a_lesion_that_changes_nothing_is_an_error_unless_such_rows_are_kept():
    organism = bodies.static_organism()
    empty = specimen_of(replace(organism, seed=organism.seed.at[..., 5].set(0.0)))
    lesions = [Lesion("channel", "h1", (5,), "zero")]
    with pytest.raises(nca.UserError, match="changed no cell"):
        run_lesions(empty, lesions, [EVAL_STEP])
    row = summarise_lesions(run_lesions(empty, lesions, [EVAL_STEP], unchanged="keep")).iloc[0]
    assert row.outcome == "no cell changed"
    assert row.fitness == 1


def test_an_explosion_is_an_outcome_with_its_step():
    # h1 doubles at every update; its noise is amplified beyond every bound.
    specimen = specimen_of(bodies.static_organism(slope=np.eye(6)[5] * 0.25))
    lesions = [Lesion("channel", "h1", (5,), "noise", 1000.0)]
    row = summarise_lesions(run_lesions(specimen, lesions, [EVAL_STEP])).iloc[0]
    assert row.outcome == "exploded"
    assert row.exploded_runs == 2
    assert STEP <= row.exploded_step <= STEP + EVAL_STEP
    assert np.isfinite(row.fitness)


def test_a_channel_that_no_cell_reads_costs_exactly_nothing_whatever_is_done_to_it():
    organism = planted.relations()
    lesions = [x for x in list_lesions(organism, "channel", tuple(INTERVENTIONS), (0.1,), (1.0,)) if x.target == "h8"]
    assert len(lesions) == len(INTERVENTIONS)
    table = run_lesions(specimen_of(organism), lesions, [EVAL_STEP], unchanged="keep")
    unread = table[table.intervention != "random-direction"]
    assert (unread.fitness == 1).all()
    assert (unread.log_mse_increase == 0).all()
    assert (unread.cells_changed[unread.intervention == "zero"] == 149).all()


def test_half_doses_lie_between_the_doses_on_either_side():
    rows = pd.DataFrame({"dose": [0.1, 0.4, 0.1, 0.4, 0.1, 0.4], "fitness": [1, 0, 0.9, 0.8, 0.4, 0.2]})
    rows = rows.assign(phase="adult", target_type="channel", role="hidden", intervention="partial", eval_step=60)
    rows["target"] = ["a", "a", "b", "b", "c", "c"]
    table = half_doses(rows).set_index("target")
    assert table.half_dose["a"] == pytest.approx(0.2)
    assert table.position.tolist() == ["between doses", "above all doses", "below all doses"]
    assert table.half_dose[["b", "c"]].isna().all()


def test_a_ranking_that_runs_share_repeats_and_one_that_each_has_for_itself_does_not():
    rng = np.random.default_rng(0)
    targets, order = [f"h{n}" for n in range(12)], np.linspace(0, 1, 12)
    where = {"phase": "adult", "target_type": "channel", "intervention": "zero", "dose": np.nan, "eval_step": 20}
    correlation = {}
    for name, fitness in {"shared": [order] * 4, "own": [rng.permutation(order) for _ in range(4)]}.items():
        rows = [
            where | {"target": t, "run": run, "fitness": value}
            for run, values in enumerate(fitness)
            for t, value in zip(targets, values, strict=True)
        ]
        correlation[name] = split_half_correlation(pd.DataFrame(rows), "zero", 0.05, 20, targets)
    assert correlation["shared"] == pytest.approx(1)
    assert correlation["own"] < 0.5
