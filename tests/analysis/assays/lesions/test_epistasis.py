"""Double lesions of hand-made rules: every relation that was put there is found, and no other."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import planted
from helpers.specimens import EVAL_STEP, colour_share, hidden_of, specimen_of
from sklearn.metrics import roc_auc_score

from analysis.assays.lesions.epistasis import (
    _classify_pair,
    _sign_flip_p,
    double_lesions,
    pair_table,
    sign_flip_floor,
)


def pairs_of(organism, runs, channels=None):
    """The table of pairs, by name."""
    channels = hidden_of(organism) if channels is None else hidden_of(organism)[:channels]
    return pair_table(double_lesions(specimen_of(organism, runs), channels, EVAL_STEP)).set_index(["a", "b"])


@pytest.fixture(scope="module")
def relations():
    return pairs_of(planted.relations(), runs=12)


def test_every_relation_between_two_channels_is_told_apart(relations):
    epsilon, interaction = relations.epsilon, relations.interaction
    assert epsilon["h0", "h1"] == pytest.approx(-1, abs=1e-5)
    assert epsilon["h2", "h3"] == pytest.approx(colour_share(planted.relations(), "r"), abs=1e-4)
    assert epsilon["h4", "h5"] == pytest.approx(0, abs=1e-5)
    assert epsilon["h6", "h7"] == pytest.approx(1, abs=1e-5)
    for pair, value in epsilon.items():
        if pair not in {("h0", "h1"), ("h2", "h3")} and not {"h6", "h7"} & set(pair):
            assert value == pytest.approx(0, abs=1e-5), pair
    assert interaction["h0", "h1"] == "backup"
    assert interaction["h2", "h3"] == "series"
    assert interaction["h6", "h7"] == interaction["h2", "h6"] == "masked"
    named = interaction[interaction.isin(("backup", "series", "suppression"))]
    assert set(named.index) == {("h0", "h1"), ("h2", "h3")}


def test_the_error_alone_would_show_an_interaction_of_two_independent_channels(relations):
    pair = relations.loc["h4", "h5"]
    assert pair.epsilon_log > 1
    assert pair.q_log <= 0.05
    assert pair.interaction == "none"


def test_without_a_target_fitness_alone_decides():
    pairs = pairs_of(replace(planted.backups(), target=None), runs=12, channels=3)
    assert pairs.epsilon_log.isna().all()
    assert pairs.interaction.to_dict() == {("h0", "h1"): "backup", ("h0", "h2"): "none", ("h1", "h2"): "none"}


def test_single_lesions_find_no_backup_and_double_ones_find_all():
    pairs = pairs_of(planted.backups(), runs=2)
    truth = [pair in {("h0", "h1"), ("h2", "h3"), ("h4", "h5")} for pair in pairs.index]
    assert sum(truth) == 3
    assert roc_auc_score(truth, -pairs.epsilon) == 1.0
    assert roc_auc_score(truth, 2 - pairs.fitness_a - pairs.fitness_b) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("off", [0.0, 0.15, 0.3])
def test_two_changes_of_one_colour_that_merely_add_are_no_backup(off):
    # Half of red depends on h0, half on h1, which know nothing of each other.
    organism = planted.Wiring().follow("r", {"h0": 0.3, "h1": 0.3}).organism("additive")
    target = np.array(organism.padded_target())
    target[..., 1] += off * (target[..., 3] > 0)  # the further the body is from it, the less log10 MSE knows
    row = pairs_of(replace(organism, target=target), runs=12, channels=3).loc["h0", "h1"]
    assert row.epsilon < 0
    assert row.interaction == "none"


def test_two_changes_of_one_colour_that_cancel_are_not_in_series():
    organism = planted.Wiring().follow("r", {"h0": 0.4, "h1": -0.2, "h2": 0.4}).organism("opposed")
    organism = replace(organism, target=np.array(organism.padded_target()))
    row = pairs_of(organism, runs=12, channels=3).loc["h0", "h1"]
    assert row.fitness_ab > min(row.fitness_a, row.fitness_b)
    assert row.interaction == "suppression"


@pytest.mark.parametrize(
    ("a", "b", "both", "interaction"),
    [(-1.0, -1.2, -3.9, "masked"), (0.9, 0.95, 0.1, "backup"), (0.1, 0.9, 0.4, "masked")],
)
def test_overgrowth_alone_and_more_of_it_together_is_no_backup(a, b, both, interaction):
    row = {"fitness_a": a, "fitness_b": b, "fitness_ab": both, "epsilon": both - a - b + 1}
    assert _classify_pair(pd.Series(row | {"q": 0.001, "q_log": 0.001, "epsilon_log": -0.1})) == interaction


def test_random_signs_have_their_floor_and_find_nothing_in_nothing():
    assert _sign_flip_p(np.full(8, 0.3)) == sign_flip_floor(8) == 2 / 256
    assert _sign_flip_p(np.zeros(8)) == 1
    assert _sign_flip_p(np.array([1.0, -1.0])) == 1
    assert _sign_flip_p(np.full(20, 0.3)) == pytest.approx(1e-4)
    draws = np.random.default_rng(0).standard_normal((300, 8))
    assert 0.01 <= np.mean([_sign_flip_p(runs) <= 0.05 for runs in draws]) <= 0.1
