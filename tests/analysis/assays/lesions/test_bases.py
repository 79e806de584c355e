"""Lesions of channels in other bases: the same organism, the same lesions, and the rank of the trained basis."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import planted
from helpers.specimens import SMALL

from analysis.assays.lesions.bases import TRAINED, rank_of_trained
from analysis.assays.lesions.report import claims, sections
from analysis.assays.lesions.run import run
from benchmarks.bases import mean_rank_p
from nca.rule import Rule

ATLAS = replace(SMALL, methods=("atlas",), phases=("adult",), targets=("channel",), interventions=("partial",))


@pytest.fixture(scope="module")
def result():
    config = replace(ATLAS, methods=("atlas", "epistasis"), doses=(0.2,), basis_controls=2)
    return run(planted.relations(), config)


def test_the_trained_basis_has_the_fitness_of_the_atlas(result):
    rows = result.atlas[(result.atlas.role == "hidden")].set_index("target").fitness
    trained = result.basis_fitness.loc[TRAINED]
    np.testing.assert_allclose(trained, rows[trained.index], atol=1e-4)
    assert list(result.basis_fitness.index) == list(result.basis_backup.index) == [TRAINED, "1", "2"]
    assert (result.basis_fitness.drop(TRAINED) - trained).abs().max(axis=None) > 1e-3


def test_claims_figure_and_table_name_the_other_bases(result):
    texts = [claim.text for claim in claims(result)]
    assert any("in 2 other bases of the same organism" in text for text in texts)
    assert any("In 2 other bases of the same organism" in text and "pairs do" in text for text in texts)
    section = sections([result])[0]
    assert "lesion-bases" in section.tables
    assert "lesion-bases" in [figure.name for figure in section.figures]


@pytest.mark.parametrize(
    ("trained", "verdict"),
    [(0.9, "can be spared more easily"), (0.1, "hangs on one channel"), (0.5, "lies among them (25 of 50 are lower)")],
)
def test_the_verdict_follows_the_rank(result, trained, verdict):
    others = np.linspace(0.2, 0.8, 50)
    fitness = pd.DataFrame({"h0": [trained, *others], "h1": 1.0}, index=[TRAINED, *map(str, range(1, 51))])
    few = fitness.iloc[:9]
    texts, of_few = ([claim.text for claim in claims(replace(result, basis_fitness=f))] for f in (fitness, few))
    assert sum(verdict in text for text in texts) == 1
    assert any("cannot tell" in text for text in of_few) == (trained in (0.1, 0.9) or trained > few.h0[1:].max())


def test_a_basis_like_any_other_is_rarely_special():
    rng, index = np.random.default_rng(0), [TRAINED, *map(str, range(1, 20))]
    ranks = [rank_of_trained(pd.Series(rng.standard_normal(20), index)) for _ in range(400)]
    p = np.asarray([rank["p"] for rank in ranks])
    assert 0.06 < (p <= 0.1).mean() < 0.14
    assert p.min() == pytest.approx(0.1)
    assert rank_of_trained(pd.Series(np.arange(20.0), index)) == {
        **{"value": 0.0, "null_median": 10.0, "null_low": 1.0, "null_high": 19.0, "below": 0, "n": 19},
        "p": pytest.approx(0.1),
    }


def test_a_rule_with_a_basis_of_its_own_has_no_other():
    still = planted.relations()
    rule = still.rule
    clipped = Rule(replace(rule.spec, clip=(-9.0, 9.0)), [w[...] for w in rule.weights], [b[...] for b in rule.biases])
    result = run(replace(still, rule=clipped), replace(ATLAS, basis_controls=2))
    assert "clipped states" in result.skipped["basis controls"]
    assert not any("in the trained basis" in claim.text for claim in claims(result))


def test_a_basis_in_which_life_hangs_on_one_channel_is_special():
    wiring = planted.Wiring()
    wiring.hurt({"alpha": 1, "h0": -2})  # only where h0 has lost half: a channel of another basis holds less of it
    result = run(wiring.organism("vital"), replace(ATLAS, doses=(0.05,), basis_controls=8))
    worst = result.basis_fitness.min(axis=1)
    assert result.basis_fitness.loc[TRAINED].idxmin() == "h0"
    assert rank_of_trained(worst)["below"] == 0
    assert any("lower than in all of them" in claim.text for claim in claims(result))


def test_a_mean_rank_is_tested_against_ranks_drawn_uniformly():
    assert mean_rank_p(np.array([0.0, 8, 1, 7, 4, 4, 3, 5])) > 0.9
    assert mean_rank_p(np.zeros(8)) < 1e-3
