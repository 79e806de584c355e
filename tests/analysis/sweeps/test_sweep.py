"""Sweeps of edits: paired rows, what the edits change, early stops, and continuing after an interruption."""

import jax
import numpy as np
import pandas as pd
import pytest
from helpers import bodies

import analysis
from analysis.sweeps import sweep as sweeping
from nca import edits
from nca.damage import disc
from nca.errors import UserError
from nca.rollout import _roll, grow, run_key

BODY = bodies.static_organism()
METRICS = ("fitness", "log_mse", "log_mse_increase", "mse", "mature_cells")
HERE = {"runs": 2, "adult_step": 0, "eval_steps": (20, 40)}


@pytest.fixture(scope="module")
def experiments():
    return {
        "slow": edits.scale(BODY, 0.5, channels="r"),
        "fast": edits.scale(BODY, 0.0, channels="r"),
        "wound": edits.erase(BODY).where(disc(BODY.canvas, (12, 12), 3)).at(0),
        "late": [edits.add(BODY, 0.2, channels="g").at(30)],
        "two": [edits.erase(BODY, channels="r"), edits.erase(BODY, channels="g")],
    }


@pytest.fixture(scope="module")
def table(experiments):
    return analysis.sweep(BODY, experiments, METRICS, **HERE)


def test_every_experiment_run_and_evaluation_step_has_a_row(table, experiments):
    assert len(table) == len(experiments) * 2 * 2
    assert table.groupby("experiment", sort=False).size().to_dict() == dict.fromkeys(experiments, 4)
    assert set(table.step) == {20, 40}


def test_a_row_equals_growing_its_run_alone(table, experiments):
    target = BODY.padded_target()
    for name in ("wound", "late", "two"):
        edits_of_row = experiments[name] if isinstance(experiments[name], list) else [experiments[name]]
        row = table[(table.experiment == name) & (table.run == 1) & (table.step == 40)].iloc[0]
        end = np.asarray(grow(BODY, 40, key=run_key(0, 1), edits=edits_of_row))
        mse = np.square(end[..., :4].clip(0, 1) - target).sum() / (72 * 72 * 4)
        assert row.mse == pytest.approx(mse, rel=1e-4)
        assert row.mature_cells == (end[..., 3] > 0.1).sum()
    late = table[(table.experiment == "late") & (table.step == 20)]
    np.testing.assert_allclose(late.fitness, 1, atol=1e-6)


def test_changed_cells_are_counted_at_the_first_step_at_which_an_edit_acts(table):
    first = table.drop_duplicates("experiment").set_index("experiment")
    assert first.cells_changed["wound"] == disc(BODY.canvas, (12, 12), 3).sum()
    assert first.largest_change["wound"] == pytest.approx(1.0)
    assert first.cells_changed["late"] == 24 * 24
    assert first.largest_change["late"] == pytest.approx(0.2)
    assert first.cells_changed["fast"] == bodies.disc().sum()


def test_an_experiment_that_changes_nothing_is_an_error_unless_allowed():
    idle = {"unread": edits.scale(BODY, 1.0, channels="h0"), "real": edits.erase(BODY, channels="r")}
    with pytest.raises(UserError, match=r"1 of 2 experiments change nothing .*unread"):
        analysis.sweep(BODY, idle, **HERE)
    result = analysis.sweep(BODY, idle, allow_no_op=True, **HERE)
    np.testing.assert_allclose(result[result.experiment == "unread"].log_mse_increase, 0)


def test_one_program_serves_every_channel_dose_and_window():
    def kinds(factors):
        return [edits.scale(BODY, f, channels=c).at(slice(0, 30)) for f in factors for c in ("r", "g", "h0")]

    analysis.sweep(BODY, kinds((0.9,)), **HERE)
    with jax.log_compiles(False):
        before = _roll._cache_size()
        analysis.sweep(BODY, kinds((0.8, 0.7)), **HERE)
        assert _roll._cache_size() == before


def test_a_run_that_explodes_stops_and_reports_the_step():
    organism = bodies.exploding_organism()
    result = analysis.sweep(organism, [edits.erase(organism, channels="r")], runs=1, adult_step=0, eval_steps=(20, 60))
    assert result.exploded.iloc[0] > 0
    assert np.isfinite(result.log_mse).all()


def test_an_interrupted_sweep_continues_where_it_stopped(table, experiments, tmp_path, monkeypatch):
    store, computed = tmp_path / "rows.jsonl", []
    analysis.sweep(BODY, {k: experiments[k] for k in ("slow", "wound")}, store=store, **HERE)
    store.write_text(store.read_text() + '{"key": "half a li')
    run_edited = sweeping.run_edited

    def count_rows(organism, controls, rows, *args, **kwargs):
        computed.extend(rows)
        return run_edited(organism, controls, rows, *args, **kwargs)

    monkeypatch.setattr(sweeping, "run_edited", count_rows)
    again = analysis.sweep(BODY, experiments, METRICS, store=store, **HERE)
    assert len(computed) == 6
    pd.testing.assert_frame_equal(again, table)
    computed.clear()
    analysis.sweep(BODY, experiments, store=store, **HERE)
    assert computed == []
    store.write_text("a letter to a friend\n")
    with pytest.raises(UserError, match="holds no rows"):
        analysis.sweep(BODY, experiments, store=store, **HERE)
    assert store.read_text() == "a letter to a friend\n"


def test_progress_reports_the_time_left(monkeypatch):
    lines = []
    monkeypatch.setattr("nca.progress.Progress.__init__.__defaults__", (0.0,))
    analysis.sweep(BODY, [edits.erase(BODY, channels="r")], log=lines.append, **HERE)
    assert any("left" in line for line in lines)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"edits": []}, "at least one experiment"),
        ({"metrics": ("fitnes",)}, "got fitnes"),
        ({"metrics": ()}, "got none"),
        ({"eval_steps": (40, 20)}, "ascending"),
        ({"eval_steps": ()}, "ascending"),
        ({"runs": 0}, "runs must be at least 1"),
    ],
)
def test_invalid_arguments_raise_one_sentence(wrong, says):
    with pytest.raises(UserError, match=says):
        analysis.sweep(BODY, **({"edits": [edits.erase(BODY)]} | wrong))


def red(state, control, target):
    """The sum of red, against that of the control."""
    assert target.shape == (*state.shape[:2], 4)
    return state[..., 0].sum() / control[..., 0].sum()


def test_a_metric_of_the_users_own_sees_state_control_and_target(experiments, tmp_path):
    own = {name: experiments[name] for name in ("slow", "late")}
    here = {**HERE, "store": tmp_path / "rows.jsonl"}
    table = analysis.sweep(BODY, own, ["mse", red], **here).set_index(["experiment", "run", "step"])
    assert list(table.columns[:2]) == ["mse", "red"]
    assert table.red["slow", 0, 20] == pytest.approx(0.5**20, rel=1e-4)
    assert (table.red["late"] == 1).all()
    before = here["store"].read_text()
    again = analysis.sweep(BODY, own, ["mse", red], **here).set_index(["experiment", "run", "step"])
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert here["store"].read_text() == before


def test_rows_without_a_metric_of_the_users_own_are_computed_again_with_it(experiments, tmp_path):
    own, store = {"slow": experiments["slow"]}, tmp_path / "rows.jsonl"
    without = analysis.sweep(BODY, own, ["mse"], **HERE, store=store)
    table = analysis.sweep(BODY, own, ["mse", red], **HERE, store=store)
    assert table.red.notna().all()
    assert table.mse.tolist() == without.mse.tolist()


def test_shards_keep_a_metric_of_the_users_own(experiments, tmp_path):
    own = {name: experiments[name] for name in ("slow", "fast")}
    paths = [tmp_path / f"{n}.jsonl" for n in (1, 2)]
    for n, path in enumerate(paths, 1):
        analysis.sweep(BODY, own, ["mse", red], **HERE, shard=f"{n}/2", store=path)
    whole = analysis.sweep(BODY, own, ["mse", red], **HERE)
    pd.testing.assert_frame_equal(analysis.merge(paths), whole, check_dtype=False)


@pytest.mark.parametrize("metric", [lambda s, c, t: 0.0, np.asarray, len, 3])
def test_a_metric_that_is_no_function_of_three_or_has_no_name_is_refused(experiments, metric):
    with pytest.raises(UserError, match=r"[Aa] ?[mM]etric|The metric"):
        analysis.sweep(BODY, {"slow": experiments["slow"]}, [metric], **HERE)
