"""Sweeps of edits: paired rows, what fired, stops, and going on after an interruption."""

import jax
import numpy as np
import pandas as pd
import pytest
from helpers import bodies

import analysis
from analysis import rollouts
from analysis.sweeps import sweep as sweeping
from nca import edits
from nca.damage import disc
from nca.errors import UserError
from nca.rollout import grow, run_key

BODY = bodies.standing()
HERE = {"runs": 2, "horizons": (20, 40)}


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
    return analysis.sweep(BODY, experiments, ("fitness", "log_error", "worse", "e", "mature"), **HERE)


def test_every_experiment_run_and_horizon_has_a_row(table, experiments):
    assert len(table) == len(experiments) * 2 * 2
    assert table.groupby("experiment", sort=False).size().to_dict() == dict.fromkeys(experiments, 4)
    assert set(table.step) == {20, 40}


def test_a_row_is_its_own_run_measured_beside_the_control(table, experiments):
    target = BODY.picture()
    for name in ("wound", "late", "two"):
        acting = experiments[name] if isinstance(experiments[name], list) else [experiments[name]]
        row = table[(table.experiment == name) & (table.run == 1) & (table.step == 40)].iloc[0]
        end = np.asarray(grow(BODY, 40, key=run_key(0, 1), edits=acting))
        e = np.square(end[..., :4].clip(0, 1) - target).sum() / (72 * 72 * 4)
        assert row.e == pytest.approx(e, rel=1e-4)
        assert row.mature == (end[..., 3] > 0.1).sum()
    late = table[(table.experiment == "late") & (table.step == 20)]
    np.testing.assert_allclose(late.fitness, 1, atol=1e-6)


def test_what_fired_is_counted_at_the_first_step_at_which_it_acts(table):
    seen = table.drop_duplicates("experiment").set_index("experiment")
    assert seen.fired_cells["wound"] == disc(BODY.canvas, (12, 12), 3).sum()
    assert seen.fired_most["wound"] == pytest.approx(1.0)
    assert seen.fired_cells["late"] == 24 * 24
    assert seen.fired_most["late"] == pytest.approx(0.2)
    assert seen.fired_cells["fast"] == bodies.disc().sum()


def test_an_experiment_that_touches_nothing_is_an_error_unless_asked_for():
    idle = {"unread": edits.scale(BODY, 1.0, channels="h0"), "real": edits.erase(BODY, channels="r")}
    with pytest.raises(UserError, match=r"1 of 2 experiments touch nothing .*unread"):
        analysis.sweep(BODY, idle, **HERE)
    found = analysis.sweep(BODY, idle, untouched=True, **HERE)
    np.testing.assert_allclose(found[found.experiment == "unread"].worse, 0)


def test_one_program_serves_every_channel_dose_and_window():
    def kinds(factors):
        return [edits.scale(BODY, f, channels=c).at(slice(0, 30)) for f in factors for c in ("r", "g", "h0")]

    analysis.sweep(BODY, kinds((0.9,)), **HERE)
    with jax.log_compiles(False):
        before = rollouts.grow.__globals__["roll"]._cache_size()
        analysis.sweep(BODY, kinds((0.8, 0.7)), **HERE)
        assert rollouts.grow.__globals__["roll"]._cache_size() == before


def test_a_run_that_bursts_stops_there_and_says_when():
    organism = bodies.bursting()
    found = analysis.sweep(organism, [edits.erase(organism, channels="r")], runs=1, horizons=(20, 60))
    assert found.exploded.iloc[0] > 0
    assert np.isfinite(found.log_error).all()


def test_an_interrupted_sweep_goes_on_where_it_was(table, experiments, tmp_path, monkeypatch):
    store, made = tmp_path / "rows.jsonl", []
    analysis.sweep(BODY, {k: experiments[k] for k in ("slow", "wound")}, store=store, **HERE)
    store.write_text(store.read_text() + '{"key": "half a li')
    follow = sweeping.follow

    def counted(organism, controls, rows, *given, **more):
        made.extend(rows)
        return follow(organism, controls, rows, *given, **more)

    monkeypatch.setattr(sweeping, "follow", counted)
    again = analysis.sweep(BODY, experiments, ("fitness", "log_error", "worse", "e", "mature"), store=store, **HERE)
    assert len(made) == 6
    pd.testing.assert_frame_equal(again, table)
    made.clear()
    analysis.sweep(BODY, experiments, store=store, **HERE)
    assert made == []
    store.write_text("a letter to a friend\n")
    with pytest.raises(UserError, match="holds no rows"):
        analysis.sweep(BODY, experiments, store=store, **HERE)
    assert store.read_text() == "a letter to a friend\n"


def test_progress_is_told_with_the_time_left(monkeypatch):
    lines = []
    monkeypatch.setattr("analysis.progress.Progress.__init__.__defaults__", (0.0,))
    analysis.sweep(BODY, [edits.erase(BODY, channels="r")], say=lines.append, **HERE)
    assert any("left" in line for line in lines)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"edits": []}, "at least one experiment"),
        ({"metrics": ("fitnes",)}, "got fitnes"),
        ({"metrics": ()}, "got none"),
        ({"horizons": (40, 20)}, "ascending"),
        ({"horizons": ()}, "ascending"),
        ({"runs": 0}, "At least one run"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(wrong, says):
    with pytest.raises(UserError, match=says):
        analysis.sweep(BODY, **({"edits": [edits.erase(BODY)]} | wrong))
