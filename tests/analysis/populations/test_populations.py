"""Populations: who is included, which networks share ancestors, tests that keep their size and find what is planted."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import bodies, codes, figures, populace

import nca
from analysis.assays import ASSAYS
from analysis.assays.axes.config import AxesConfig
from analysis.assays.axes.population import POPULATION
from analysis.assays.population import Measure
from analysis.cli import main as cli
from analysis.populations import plots
from analysis.populations.comparisons import lineage_values, regime_medians, regime_tests
from analysis.populations.population import (
    find_organism,
    find_organisms,
    find_population,
    grow_members,
    read_population,
)
from analysis.populations.report import _comparisons, sections
from analysis.populations.run import PopulationResult, compare_regimes
from analysis.populations.run import run as run_assays
from analysis.stats import trends
from nca.errors import UserError
from nca.io import save
from nca.training.config import TrainConfig

AXES = ["--adult-step", "3", "--surrogates", "19", "--cv-repeats", "2", "--runs", "2", "--max-log-mse", "-4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three lines of three regimes, one member waiting, one failed."""
    waiting = [{"name": "growing-3", "regime": "growing", "seed": 3, "status": "waiting"}]
    failed = [{"name": "growing-4", "regime": "growing", "seed": 4, "status": "failed"}]
    return populace.folder(tmp_path_factory.mktemp("pop") / "discs", populace.lines(), waiting + failed)


# Who is in a population


def test_members_are_read_with_regime_seed_and_lineage(folder):
    population = read_population(folder)
    assert population.name == "discs"
    assert [m.name for m in population.members[:4]] == ["growing-0", "growing-1", "growing-2", "persistent-0"]
    assert {(m.seed, m.lineage) for m in population.members} == {(k, f"seed {k}") for k in range(3)}
    assert population.regimes == list(populace.REGIMES)
    assert population.missing == {
        "growing-3": "it is not trained yet",
        "growing-4": "its training failed",
    }


def test_a_folder_without_an_index_is_read_by_its_organisms_own_configurations(tmp_path):
    for organism in populace.lines(2):
        save(organism, tmp_path / f"{organism.name}.safetensors")
    population = read_population(tmp_path)
    assert [m.regime for m in population.members] == [r for r in populace.REGIMES for _ in range(2)]
    assert find_population([str(tmp_path)]).regimes == list(populace.REGIMES)


def test_a_missing_file_and_one_outside_the_folder_are_reported_and_not_read(tmp_path):
    save(populace.body("persistent", 7), tmp_path / "stranger.safetensors")
    odd = [
        {"name": "gone", "file": "gone.safetensors"},
        {"name": "away", "file": "../stranger.safetensors"},
        {"name": "none"},
    ]
    population = read_population(populace.folder(tmp_path / "odd", [populace.body("persistent", 0)], odd))
    assert [m.name for m in population.members] == ["persistent-0"]
    assert population.missing["gone"] == "its file gone.safetensors is missing"
    assert "names no" in population.missing["away"]
    assert "names no" in population.missing["none"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "does not describe a population"),
        ("[]", "does not describe a population"),
        ('{"members": 3}', "does not describe a population"),
        ('{"format": 2, "members": []}', "newer version"),
        ('{"format": 1, "members": ["a"]}', "does not describe a population"),
        ('{"format": 1, "members": []}', "no trained member yet"),
        ('{"format": 1, "members": [{"name": "a", "status": "waiting"}]}', "a: it is not trained yet"),
    ],
)
def test_an_index_that_describes_no_population_is_reported_in_a_sentence(tmp_path, text, message):
    (tmp_path / "population.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_population(tmp_path)


def test_networks_are_included_by_their_error_and_the_others_have_a_reason(folder):
    members = read_population(folder).members
    grown = grow_members(members, 40, runs=2)
    assert {g.member.regime for g in grown if not g.included} == {"growing"}
    assert {g.member.regime for g in grown if g.included} == {"persistent", "regenerating"}
    assert all(g.log_mse == -6.0 for g in grown if g.included)  # a standing body is its own target
    assert all("no body at step 40" in g.exclusion for g in grown if not g.included)
    (early,) = grow_members(members[:1], 1, runs=2, max_log_mse=-5.0)
    assert early.mature_cells > 100
    assert "above −5.00" in early.exclusion
    stranger = replace(members[3], organism=replace(members[3].organism, target=None))
    assert "no target" in grow_members([stranger], 1, runs=1)[0].exclusion
    burst = replace(members[3], organism=bodies.exploding_organism(canvas=(24, 24)))
    assert "exploded by step 40" in grow_members([burst], 40, runs=1)[0].exclusion


# Statistics over lineages


def test_a_planted_effect_is_found_and_copies_of_a_lineage_are_no_more_evidence():
    draw = np.random.default_rng(4)
    values = 3 * draw.normal(size=(8, 1)) + 0.5 * draw.normal(size=(8, 3)) + np.arange(3)
    found = trends.trend_test(values)
    assert found["p"] < 0.001
    assert found["effect"] > 0.8
    assert found["change_low"] > 1
    two = populace.study({"x": np.repeat(values[:2], 4, axis=0)}, lineage=["a"] * 4 + ["b"] * 4)
    row = regime_tests(two).query("test == 'trend'").iloc[0]
    assert row.n == 2
    assert row.p >= row.floor == pytest.approx(2 / 36)


# Studies and what is claimed of them


def rising(count=8, number=0):
    draw = np.random.default_rng(number)
    flat = 0.3 * draw.normal(size=(count, 3))
    return {"x": flat + np.arange(3), "y": 0.3 * draw.normal(size=(count, 3)), "edge": flat - np.arange(3)}


def evidence_of(claim, label, measure):
    """The row of a claim's evidence about one statistic of a measure."""
    rows = claim.evidence[(claim.evidence.quantity == label) & (claim.evidence.measure == measure)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_study_finds_what_increases_what_decreases_and_what_does_neither():
    study = populace.study(rising())
    tests = regime_tests(study)
    assert list(tests.query("test == 'trend'").family) == [2, 2, 1]  # x and y; the edge is for contrast
    assert list(tests.query("test == 'change'").regimes.unique()) == [
        "growing to persistent",
        "persistent to regenerating",
    ]
    trends_ = tests.query("test == 'trend'").set_index("measure")
    assert trends_.holm["x"] < 0.05 < trends_.holm["y"]
    assert trends_.effect["x"] > 0 > trends_.effect["edge"]
    claims = _comparisons([study])
    row = evidence_of(claims[0], "the code of x", "rank correlation with the order of the regimes")
    assert (row.value, row.p, row.q, row.n) == pytest.approx(tuple(trends_.loc["x", ["effect", "p", "holm", "n"]]))
    assert evidence_of(claims[0], "the code of x", "median, growing").value == pytest.approx(
        np.median(rising()["x"][:, 0])
    )


def test_what_is_claimed_of_a_small_study():
    study = populace.study(rising(), p=0.01)
    step, *pairs = ("from growing to persistent to regenerating", "from growing to persistent", "from persistent to")
    assert [c.text for c in _comparisons([study])] == [
        f"At step 200, 8 lineages show an increase in the code of x, and no clear trend in the code of y {step}.",
        f"At step 200, lineages show an increase in the code of x, and no clear trend in the code of y {pairs[0]}; "
        f"an increase in the code of x, and no clear trend in the code of y {pairs[1]} regenerating.",
        "At step 200, networks beyond their own null (p ≤ 0.05, uncorrected): the code of x in 8 of 8 growing, 8 of 8 "
        "persistent and 8 of 8 regenerating; the code of y in 8 of 8 growing, 8 of 8 persistent and 8 of 8 "
        "regenerating.",
        f"For contrast, at step 200, 8 lineages show a decrease in the code of edge {step}.",
        "For contrast, at step 200, networks beyond their own null (p ≤ 0.05, uncorrected): the code of edge in 8 of 8 "
        "growing, 8 of 8 persistent and 8 of 8 regenerating.",
    ]
    assert _comparisons([study])[0].note == (
        "Page’s trend test, exact, two-sided; q is corrected over 2 tests (Holm); with 8 lineages p is at least "
        "1.2×10⁻⁶ and q at least 2.4×10⁻⁶."
    )


def test_measures_with_the_same_outcome_are_named_together():
    values = rising()
    study = populace.study({"x": values["x"], "y": values["x"] + 1})
    assert "an increase in the code of x and the code of y from" in _comparisons([study])[0].text


def test_where_the_null_is_wider_z_may_disagree():
    values = rising()
    study = populace.study(values, z={k: -v if k == "x" else v for k, v in values.items()})
    claim = _comparisons([study])[0]
    assert "an increase in the code of x (in units of the null’s SD: a decrease in it)" in claim.text
    assert evidence_of(claim, "the code of x", "rank correlation with the order of the regimes of z").value == -1


def test_a_regime_without_included_networks_leaves_two_to_compare():
    inside = np.array([[False, True, True]] * 8)
    study = populace.study(rising(), included=inside)
    assert study.regimes == ["persistent", "regenerating"]
    assert set(regime_tests(study).test) == {"level", "change"}
    text = _comparisons([study])[0].text
    assert "8 lineages show an increase in the code of x" in text
    assert "from persistent to regenerating." in text
    result = PopulationResult(study.population, study.assay, study.config, -2.7, [study])
    evidence = sections([result])[0].claims[-1].evidence.set_index(["quantity", "measure"]).value
    assert evidence["growing", "included networks"] == 0
    assert evidence["growing", "median log10 MSE"] == -1.0
    assert len(lineage_values(study, "x", study.regimes)) == 8


def test_too_few_lineages_decide_nothing_and_no_network_at_all_is_reported():
    def text_of(count, included=None):
        return _comparisons([populace.study(rising(count), included=included)])[0].text

    assert "an upward tendency in the code of x (2 lineages are too few to decide)" in text_of(2)
    four = text_of(4, np.array([[False, True, True]] * 4))  # p >= 0.125
    assert "an upward tendency in the code of x (4 lineages are too few to decide)" in four
    assert "a downward tendency in the code of y (4 lineages are too few to decide)" in four
    nobody = populace.study(rising(), included=np.zeros((8, 3), bool))
    assert text_of(8, np.zeros((8, 3), bool)) == (
        "At step 200, no network is included, so that no regimes are compared."
    )
    assert regime_medians(nobody).empty
    assert "only growing networks are included" in text_of(8, np.array([[True, False, False]] * 8))


def test_an_interval_around_0_of_too_few_lineages_is_not_conclusive():
    study = populace.study({"x": np.array([[0.0, 1], [0, -2], [0, 3], [0, -4], [0, 5], [0, -6]])})
    inside = replace(study, measures=[*study.measures, *(Measure(f"m{k}", f"m{k}", None) for k in range(2))])
    more = [study.values.assign(measure=f"m{k}") for k in range(2)]
    many = replace(inside, values=pd.concat([study.values, *more]))
    assert "nothing conclusive about the code of x, m0 and m1 (6 lineages are too few)" in (
        _comparisons([many])[0].text
    )


def test_exclusions_are_reported_with_their_reason():
    study = populace.study(rising(2), included=np.array([[False, True, True], [True, True, True]]))
    population = replace(study.population, missing={"a": "its training failed", "b": "its training failed"})
    result = PopulationResult(population, study.assay, study.config, -2.7, [study])
    *_, included, missing = sections([result])[0].claims
    assert included.text == (
        "At step 200, 5 of 6 networks of made up are included (1 of 2 growing, 2 of 2 persistent, 2 of 2 "
        "regenerating), from 2 independent lineages."
    )
    assert included.numbers["excluded"] == {"growing-0": "its log10 MSE is above the limit"}
    excluded = included.evidence[included.evidence.quantity == "growing-0"].iloc[0]
    assert (excluded.measure, excluded.value) == ("excluded: its log10 MSE is above the limit", -1.0)
    assert missing.text == "2 members that the folder lists could not be examined."
    assert list(missing.evidence.quantity) == ["a", "b"]
    assert set(missing.evidence.measure) == {"its training failed"}


def test_the_figure_names_what_is_excluded_only_where_it_is_drawn():
    out = populace.study(rising(3), included=np.array([[False, True, True]] * 3))
    gone = replace(out, values=out.values[~out.values.member.str.startswith("growing")])
    for study, drawn in ((out, True), (gone, False)):
        figure, caption = plots._plot_regimes([study])
        labels = {text.get_text() for text in figure.legends[0].get_texts()}
        assert ("excluded by its log10 MSE" in labels) == ("Crosses" in caption) == drawn


def test_lines_bands_and_crosses_are_drawn_for_what_they_are():
    study = populace.study(rising(3), included=np.array([[False, True, True]] * 3))
    study = replace(study, values=study.values.assign(low=-0.4, high=0.4))
    panel = plots._plot_regimes([study])[0].axes[0]
    crosses = [line for line in panel.lines if line.get_marker() == "x"]
    assert [len(line.get_xdata()) for line in crosses] == [3, 0, 0]
    joined = [line for line in panel.lines if line.get_marker() == "None" and len(line.get_xdata()) == 2]
    assert len([line for line in joined if list(line.get_xdata()) == [1, 2]]) == 3
    assert len(panel.collections) == 3


@pytest.mark.filterwarnings("error:Glyph")
def test_labels_of_many_lineages_do_not_overprint():
    study = populace.study(rising(9), lineage=figures.NAMES[:9])
    for figure in plots.population_figures("made-up", [study]):
        assert not figures.overprinted(figure.figure)


# Assays of a population


def test_every_assay_that_compares_networks_says_how():
    for assay in ASSAYS:
        if not assay.population:
            continue
        record = assay.module("population").POPULATION
        config = assay.config()
        assert record.name == assay.name
        assert any(m.main for m in record.measures(config))
        assert len({m.name for m in record.measures(config)}) == len(record.measures(config))
        assert record.null(config)
        assert record.method(config).endswith(".")


def test_assays_share_one_growth_and_excluded_networks_are_measured_as_far_as_asked(folder):
    population, calls = read_population(folder), []

    def measure(organism, states, config, log):
        calls.append((organism.name, len(states), config.adult_step))
        if organism.name == "persistent-1":
            raise UserError("It has no tail.")
        return {"a": len(states), "b": {"value": 1.0, "low": 0.0, "high": 2.0, "z": 3.0, "p": 0.04}}

    measures = [Measure("a", "the a"), Measure("b", "the b", 0.0), Measure("c", "the c")]
    fields = {"measure": measure, "preset": {"runs": 2}}
    some = replace(populace.assay(measures, published_step=True, excluded_runs=1), **fields)
    none = replace(populace.assay(measures), **fields)
    lines = []
    config = AxesConfig(adult_step=100, weight_shuffles=0)
    first, second = run_assays(population, [(some, config), (none, config)], log=lines.append)
    assert [s.step for s in first.studies] == [100, 96]
    assert [s.step for s in second.studies] == [100]
    assert first.config.runs == 2
    assert len([line for line in lines if line.startswith("growing growing-0")]) == 2  # not once an assay
    assert [c for c in calls if c[0] == "growing-0"] == [("growing-0", 1, 100), ("growing-0", 1, 96)]
    assert [c for c in calls if c[0] == "persistent-0"] == [("persistent-0", 2, n) for n in (100, 96, 100)]
    study = first.studies[0]
    assert study.skipped == {"persistent-1": "It has no tail."}
    assert [m.name for m in study.measures] == ["a", "b"]  # nobody has a c
    values = study.values.set_index(["member", "measure"])
    assert values.value["persistent-0", "a"] == 2
    assert values.z["persistent-0", "b"] == 3.0
    assert first.portrait.shape == (24, 24, 4)
    section, _ = sections([first, second])
    assert any("persistent-1, at step 100: It has no tail." in line for line in section.skipped)
    assert set(section.tables) == {"made-up-values", "made-up-tests"}
    assert [f.name for f in section.figures] == ["made-up-regimes", "made-up-bodies-100", "made-up-bodies-96"]


def test_regimes_are_compared_by_the_assay_that_the_configuration_belongs_to(folder, monkeypatch):
    measures = [Measure("a", "the a")]
    axes_assay = replace(populace.assay(measures), measure=lambda *_: {"a": 1.0})
    monkeypatch.setattr("analysis.assays.axes.population.POPULATION", axes_assay)
    result = compare_regimes(str(folder), AxesConfig(adult_step=3, weight_shuffles=0), max_log_mse=-4)
    assert result.population.name == "discs"
    assert result.max_log_mse == -4
    assert [study.step for study in result.studies] == [3]
    assert list(result.figures) == ["made-up-regimes", "made-up-bodies-3"]
    assert [claim.text for claim in result.claims] == [claim.text for claim in sections([result])[0].claims]
    with pytest.raises(UserError, match="such as lizards or a folder; got lizard"):
        compare_regimes("lizard", AxesConfig())
    with pytest.raises(UserError, match="No assay compares networks with a TrainConfig"):
        compare_regimes(str(folder), TrainConfig.published())


def test_a_planted_code_is_found_in_its_networks_and_a_frozen_field_is_none(tmp_path):
    """Discs whose states hold x, beside discs of smooth noise."""
    mask = bodies.disc((32, 32), 11.0)
    noise = [bodies.static_organism(number=k, channels=10, canvas=(32, 32), radius=11.0) for k in range(3)]
    coded = []
    for k, organism in enumerate(noise):
        patch = np.array(organism.seed)
        x = (np.argwhere(mask)[:, 1] - 16) / 11
        patch[mask, 4] = x + 0.05 * patch[mask, 4]
        coded.append(replace(organism, seed=patch, name=f"coded-{k}"))
    for regime, organisms in (("persistent", noise), ("regenerating", coded)):
        for k, organism in enumerate(organisms):
            provenance = {"config": {"target": "disc", "regime": regime, "seed": k}}
            save(replace(organism, name=f"{regime}-{k}", provenance=provenance), tmp_path / f"{regime}-{k}.safetensors")
    config = AxesConfig(runs=1, adult_step=1, surrogates=39, cv_repeats=2, angles=())
    (result,) = run_assays(read_population(tmp_path), [(POPULATION, config)])
    medians = regime_medians(result.studies[0]).set_index(["measure", "regime"])
    assert medians.significant["x", "regenerating"] == 3
    assert medians.significant["x", "persistent"] <= 1
    assert medians.significant["y", "regenerating"] <= 1
    assert medians["median"]["x", "regenerating"] > medians["median"]["x", "persistent"] + 0.2


# Sources as they are typed


def test_a_member_is_named_by_its_population(folder):
    assert find_organism(f"{folder}/persistent-1").name == "persistent-1"
    with pytest.raises(UserError, match="has no member 'nobody'; it has growing-0"):
        find_organism(f"{folder}/nobody")
    with pytest.raises(UserError, match="nca view takes one organism") as error:
        find_organism(str(folder), "nca view")
    assert f"{folder} holds 9: name one of them, such as {folder}/growing-0." in str(error.value)


def test_sources_are_names_files_and_folders(folder, tmp_path):
    file = save(bodies.static_organism(), tmp_path / "one.safetensors")
    organisms = find_organisms([str(file), str(file), str(folder)])
    assert [o.name for o in organisms[:3]] == ["standing", "standing (2)", "growing-0"]
    assert len(organisms) == 11
    assert find_population([str(folder)]).name == "discs"
    assert find_population([str(folder), str(file)]) is None
    assert find_population(["lizard"]) is None
    assert find_organism("lizard").hash == nca.load("lizard").hash
    with pytest.raises(UserError, match="At least one organism"):
        find_organisms([])


def test_few_organisms_and_the_snapshots_of_one_run_are_no_population(tmp_path):
    few, snapshots = tmp_path / "few", tmp_path / "snapshots"
    for path, steps in ((few, (1, 2)), (snapshots, (0, 1, 2, 5, 10, 20))):
        path.mkdir()
        for step in steps:
            provenance = {"config": {"target": "disc", "seed": 0}, "steps": step}
            organism = replace(bodies.static_organism(number=step), name=f"n{step}", provenance=provenance)
            save(organism, path / f"step-{step:06d}.safetensors")
    assert find_population([str(few)]) is None
    assert find_population([str(snapshots)]) is None
    assert [o.name for o in find_organisms([str(snapshots)])] == ["n0", "n1", "n2", "n5", "n10", "n20"]


# The command line


def call(*words):
    return cli.main([str(word) for word in words])


def test_nca_axes_asks_the_question_of_a_population(folder, tmp_path, capsys):
    assert call("axes", folder, "--out", tmp_path / "out", *AXES, *codes.FIRST_PARTS) == 0
    out = capsys.readouterr().out
    assert out.startswith("At step 3, 3 lineages show")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    texts = [claim["text"] for claim in summary["claims"]]
    assert any("(0 of 3 growing, 3 of 3 persistent, 3 of 3 regenerating)" in text for text in texts)
    assert texts[-1] == "2 members that the folder lists could not be examined."
    assert summary["config"]["max_log_mse"] == -4
    assert len(summary["tables"]["axes-values"]) == 9 * 4
    assert {row["statistic"] for row in summary["tables"]["axes-tests"]} == {"value", "z"}
    assert "The population discs" in (tmp_path / "out" / "report.html").read_text()
    assert {f.name for f in (tmp_path / "out" / "figures").iterdir()} == {
        "axes-regimes.svg",
        "axes-bodies-3.svg",
    }


def test_other_assays_compare_the_regimes_too(folder, tmp_path, capsys):
    steps = ["--adult-step", "20", "--max-log-mse", "-4"]
    noise = ["--state-noise", "0.5", "--state-noise-per-step", "0.1", "--weight-noise", "0.1", "--fire-rates", "1"]
    options = {
        "pca": (["--adult-step", "3", "--max-log-mse", "-4"], "number of components"),
        "regenerate": (["--runs", "2", "--eval-steps", "10", "--follow-up-step", "0", *steps], "median of five cuts"),
        "lesion": (["--runs", "1", "--eval-steps", "10", *steps], "share of hidden channels"),
        "robust": (["--runs", "1", "--eval-steps", "10", *noise, *steps], "median of all perturbations"),
    }
    for command, (words, claim) in options.items():
        assert call(command, folder, "--out", tmp_path / command, *words) == 0
        assert claim in capsys.readouterr().out
        summary = json.loads((tmp_path / command / "summary.json").read_text())
        assert len(summary["organisms"]) == 9
        assert any("are included (0 of 3 growing" in c["text"] for c in summary["claims"])


def test_a_population_is_dissected_and_not_twice(folder, tmp_path, capsys, monkeypatch):
    from analysis.populations import run as population_run

    calls = []

    def record_call(population, assays, **options):
        calls.append([(assay.name, config.seed) for assay, config in assays])
        return run_assays(
            population,
            [(populace.assay([Measure("a", "the a")]), AxesConfig(runs=1, adult_step=1, angles=()))],
            **options,
        )

    monkeypatch.setattr(population_run, "run", record_call)
    out = ["--out", tmp_path / "out", "--seed", 5]
    assert call("dissect", folder, *out) == 0
    compared = [assay.name for assay in ASSAYS if assay.population]
    assert calls == [[(name, 5) for name in compared]]
    assert call("dissect", folder, *out) == 0
    assert len(calls) == 1
    assert "holds this dissection already" in capsys.readouterr().err


def test_info_is_a_table_of_the_population(folder, capsys):
    assert call("info", folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["name", "target", "regime", "seed"]
    assert len(lines) == 1 + 9 + 2
    assert lines[-1].startswith("growing-4")
    assert lines[-1].endswith("its training failed")
    assert call("info", folder, "--json") == 0
    known = json.loads(capsys.readouterr().out)
    assert known["members"][0]["lineage"] == "seed 0"
    assert known["versions"] == {"jax": "0"}
    assert call("info", f"{folder}/persistent-1") == 0
    assert "persistent-1" in capsys.readouterr().out


def test_an_animation_shows_every_member(folder, tmp_path, capsys):
    from PIL import Image

    out = tmp_path / "all.webp"
    wound = ["--wound", "left", "--wound-step", 2]
    assert call("grow", folder, "--out", out, "--steps", 4, "--every", 2, *wound) == 0
    film = Image.open(out)
    assert film.n_frames == 3
    assert film.size[0] > 3 * 24
    assert call("grow", folder, "--out", out, *wound, "--with-control", "--force") == 2
    assert "name one of its members" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["view", "{}"], ["export", "{}", "--to", "npz"], ["graft", "{}", "lizard"]], ids=lambda w: w[0]
)
def test_what_takes_one_organism_asks_for_a_member(folder, capsys, words):
    assert call(*[word.format(folder) for word in words]) == 2
    error = capsys.readouterr().err
    assert f"nca {words[0]} takes one organism, and {folder} holds 9" in error
    assert f"such as {folder}/growing-0." in error
    assert len(error.splitlines()) == 1
