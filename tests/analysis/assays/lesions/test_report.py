"""What is claimed about results of known truth."""

import numpy as np
import pandas as pd
import pytest
from helpers import bodies, planted
from helpers.specimens import periods_of, repairs_of

from analysis.assays.lesions.config import LesionConfig
from analysis.assays.lesions.critical_periods import period_bounds
from analysis.assays.lesions.plots import lesion_figures
from analysis.assays.lesions.report import claims
from analysis.assays.lesions.run import LesionResult, run
from analysis.assays.lesions.self_repair import repair_effects


def claim_about(result, words):
    """The one claim whose text contains these words."""
    (claim,) = [claim for claim in claims(result) if words in claim.text]
    return claim


def directions_of(rng, share):
    """Rows of PC1, which holds a share of the variance, and of 19 random directions, where fitness depends on a
    direction that has nothing to do with it."""
    variances = np.r_[share, np.full(11, (1 - share) / 11)]
    needed = rng.standard_normal(12)
    directions = np.concatenate([np.eye(12)[:1], rng.standard_normal((19, 12))])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    along = np.square(directions) @ variances
    fitness = 1 - 0.01 * np.square(directions @ needed) * along
    return pd.DataFrame(
        {"phase": "adult", "target_type": "direction", "intervention": "partial", "dose": 0.2, "eval_step": 60}
        | {"target": ["PC1", *map(str, range(19))], "role": ["component", *["random"] * 19], "variance_share": along}
        | {"fitness": fitness, "fitness_low": fitness, "fitness_high": fitness, "runs": 4, "cells_changed": 9}
        | {"overgrown_runs": 0, "exploded_runs": 0, "overgrown_step": -1, "exploded_step": -1}
    )


def test_the_first_component_is_not_needed_most_for_being_the_largest():
    rng, called, least = np.random.default_rng(0), 0, 0
    for _ in range(200):
        rows = directions_of(rng, 0.6)
        result = LesionResult(bodies.static_organism(), LesionConfig(), atlas=rows)
        called += claim_about(result, "first principal component").numbers["p"] <= 0.05
        least += rows.fitness.idxmin() == 0
    assert least > 0.3 * 200  # so often its bare fitness is the least of 20
    assert 0.01 * 200 < called < 0.1 * 200


def test_interventions_whose_ranking_is_chance_are_left_out():
    rng, agreed = np.random.default_rng(1), 0
    where = {"phase": "adult", "target_type": "channel", "role": "hidden", "eval_step": 60, "cells_changed": 9}
    outcome = {"overgrown_runs": 0, "exploded_runs": 0, "overgrown_step": -1, "exploded_step": -1, "dose": np.nan}
    outcome |= {"variance_share": np.nan}
    for _ in range(50):
        parts = []
        for intervention, order in (("zero", 1), ("mean", 1), ("clamp", 0), ("freeze", 0)):
            for n in range(12):
                fitness = 1 - 0.02 * n * order + 0.001 * rng.standard_normal(4)
                row = {"target": f"h{n}", "intervention": intervention, "run": range(4), "fitness": fitness}
                parts.append(pd.DataFrame(where | outcome | row | {"side_effect": 0.0}))
        table = pd.concat(parts, ignore_index=True)
        atlas = table.groupby([*where, "target", "intervention"], sort=False, as_index=False).fitness.median()
        result = LesionResult(bodies.static_organism(), LesionConfig(), atlas_runs=table, atlas=atlas.assign(**outcome))
        worst = claim_about(result, "lasting interventions").numbers["worst"]
        agreed += worst == {"zero": "h11", "mean": "h11"}
    assert agreed > 40  # clamp and freeze do nothing that repeats itself


def test_a_channel_needed_at_both_ends_is_not_said_to_be_needed_between():
    # Needed at steps 0 to 10 and 30 to 40, but not between.
    bounds = period_bounds(periods_of([0, 0, 0, 0, 1], [1, 0, 0, 0, 0], runs=8))
    result = LesionResult(bodies.static_organism(), LesionConfig(period_eval_step=40), period_bounds=bounds)
    claim = claim_about(result, "critical period")
    assert claim.text == (
        "1 of 1 hidden channel have a critical period: ablating the channel before or after it reduces fitness."
    )
    assert claim.note == "Ablations within a period were not tested."


@pytest.mark.parametrize(("overgrown", "compared"), [(-1, 1), (220, 0)])
def test_a_null_that_overgrows_is_not_compared(overgrown, compared):
    effects = repair_effects(repairs_of(0.1, 0.4, overgrown=overgrown))
    erased = [effects.assign(intervention=name) for name in ("erase", "erase-held")]
    result = LesionResult(bodies.static_organism(), LesionConfig(), repair_effects=pd.concat([effects, *erased]))
    claim = claim_about(result, "repair a part")
    assert claim.numbers["compared"] == claim.numbers["beyond_null"] == compared
    assert ("repair beyond the null" in set(claim.evidence.measure)) == bool(compared)


def test_no_share_of_a_small_direct_effect_is_printed():
    effects = repair_effects(repairs_of(-0.03, 0.03))
    erased = [effects.assign(intervention=name) for name in ("erase", "erase-held")]
    result = LesionResult(bodies.static_organism(), LesionConfig(), repair_effects=pd.concat([effects, *erased]))
    claim = claim_about(result, "repair a part")
    assert "share repaired" not in set(claim.evidence.measure)
    assert claim.note == "Of 1 channel the direct effect is too small or too uncertain for a share."
    figure, _ = lesion_figures(result)["repair"]
    assert not [text for ax in figure.axes for text in ax.texts]


def test_no_interaction_lies_beyond_the_colours_of_its_own_half():
    result = run(
        planted.relations(), LesionConfig(("epistasis",), runs=1, adult_step=20, epistasis_runs=2, repair_runs=1)
    )
    result = LesionResult(
        result.organism,
        result.config,
        double_lesions=result.double_lesions,
        pairs=result.pairs.assign(epsilon_log=-3.0),
    )
    figure, _ = lesion_figures(result)["pairs"]
    halves = figure.axes[0].collections
    values = [np.abs(np.ma.filled(half.get_array(), 0)).max() for half in halves]
    ends = [half.get_clim()[1] for half in halves]
    assert values == pytest.approx(ends)
    assert ends == pytest.approx([1, 3], abs=1e-5)


def test_pairs_with_the_control_channel_are_a_control():
    config = LesionConfig(("epistasis",), runs=1, adult_step=20, epistasis_runs=2, repair_runs=1)
    result = run(planted.relations(), config)
    claim = claim_about(result, "control channel")
    assert claim.text.endswith("change nothing.")
    assert claim.numbers["epsilon of a pair on fitness"] < 1e-6
    with_control = (result.pairs.a == "control") | (result.pairs.b == "control")
    pairs = result.pairs.assign(epsilon=result.pairs.epsilon.mask(with_control, -0.5))
    changed = LesionResult(result.organism, config, double_lesions=result.double_lesions, pairs=pairs)
    assert "change something by 0.5: distrust these results" in claim_about(changed, "control channel").text
