"""Populations: who counts, which networks are kin, tests that keep their size and find what is planted."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from helpers import bodies, populace

import nca
from analysis.assays.axes.config import QUICK
from analysis.cli import main as cli
from analysis.lineage import lineages
from analysis.populations import battery, figures, words
from analysis.populations.assays import needs
from analysis.populations.members import admitted, members
from analysis.populations.section import caption
from analysis.populations.sources import one_of, organisms_of, population_of
from analysis.populations.studies import compared, grid, levels
from analysis.stats import trends
from nca.errors import UserError
from nca.io import save

AXES = ["--steps", "3", "--surrogates", "19", "--deals", "2", "--runs", "2", "--admit", "-4"]
QUIET = ["--permutations", "0", "--course", "0", "--randoms", "0", "--angles"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three lines of three regimes, one member waiting, one failed."""
    waiting = [{"name": "growing-3", "regime": "growing", "seed": 3, "status": "waiting"}]
    failed = [{"name": "growing-4", "regime": "growing", "seed": 4, "status": "failed"}]
    return populace.folder(tmp_path_factory.mktemp("pop") / "discs", populace.lines(), waiting + failed)


# Who is in a population


def test_members_are_read_with_regime_seed_and_lineage(folder):
    found = members(folder)
    assert found.name == "discs"
    assert [m.name for m in found.members[:4]] == ["growing-0", "growing-1", "growing-2", "persistent-0"]
    assert {(m.seed, m.lineage) for m in found.members} == {(k, f"seed {k}") for k in range(3)}
    assert found.regimes == list(populace.REGIMES)
    assert found.missing == {
        "growing-3": "it is not trained yet",
        "growing-4": "its training failed",
    }


def test_a_folder_without_an_index_is_read_by_its_organisms_own_recipes(tmp_path):
    for one in populace.lines(2):
        save(one, tmp_path / f"{one.name}.safetensors")
    found = members(tmp_path)
    assert [m.regime for m in found.members] == [r for r in populace.REGIMES for _ in range(2)]
    assert population_of([str(tmp_path)]).regimes == list(populace.REGIMES)


def test_a_missing_file_and_one_outside_the_folder_are_told_and_not_read(tmp_path):
    save(populace.body("persistent", 7), tmp_path / "stranger.safetensors")
    odd = [
        {"name": "gone", "file": "gone.safetensors"},
        {"name": "away", "file": "../stranger.safetensors"},
        {"name": "none"},
    ]
    found = members(populace.folder(tmp_path / "odd", [populace.body("persistent", 0)], odd))
    assert [m.name for m in found.members] == ["persistent-0"]
    assert found.missing["gone"] == "its file gone.safetensors is missing"
    assert "names no" in found.missing["away"]
    assert "names no" in found.missing["none"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "does not describe a population"),
        ("[]", "does not describe a population"),
        ('{"members": 3}', "of format 1"),
        ('{"format": 2, "members": []}', "of format 1"),
        ('{"format": 1, "members": ["a"]}', "of format 1"),
        ('{"format": 1, "members": []}', "no trained member yet"),
        ('{"format": 1, "members": [{"name": "a", "status": "waiting"}]}', "a: it is not trained yet"),
    ],
)
def test_an_index_that_is_none_is_told_in_a_sentence(tmp_path, text, says):
    (tmp_path / "population.json").write_text(text)
    with pytest.raises(UserError, match=says):
        members(tmp_path)


def test_lineages_are_joined_by_descent_by_common_ancestors_and_by_equal_beginnings():
    found = populace.lines(2)
    assert lineages(found) == [0, 0, 0, 1, 1, 1]
    assert lineages([found[2], found[0], found[5]]) == [0, 0, 1]
    cousins = [populace.body("persistent", 8, found[0]), populace.body("regenerating", 9, found[0])]
    assert lineages(cousins) == [0, 0]
    strangers = [bodies.standing(number=k) for k in range(3)]
    assert lineages(strangers) == [0, 1, 2]
    assert lineages(strangers, [("disc", 1), None, ("disc", 1)]) == [0, 1, 0]
    assert lineages([cousins[0], strangers[0], cousins[1]], ["a", "a", None]) == [0, 0, 0]


def test_networks_enter_by_their_error_and_the_rest_say_why(folder):
    found = members(folder).members
    verdicts = admitted(found, at=40, runs=2)
    out = {v.member.regime for v in verdicts if not v.admitted}
    assert out == {"growing"}
    assert {v.member.regime for v in verdicts if v.admitted} == {"persistent", "regenerating"}
    assert all(v.error == -6.0 for v in verdicts if v.admitted)  # a standing body is its own target
    assert all("no body at step 40" in v.why for v in verdicts if not v.admitted)
    early = admitted(found[:1], at=1, runs=2, limit=-5.0)[0]
    assert early.cells > 100
    assert "above −5.00" in early.why
    stranger = replace(found[3], organism=replace(found[3].organism, target=None))
    assert "no target" in admitted([stranger], at=1, runs=1)[0].why
    burst = replace(found[3], organism=bodies.bursting(canvas=(24, 24)))
    assert "exploded by step 40" in admitted([burst], at=40, runs=1)[0].why


# Statistics over lineages


def test_a_trend_is_as_scipy_says_and_its_effect_is_the_mean_rank_correlation():
    values = np.random.default_rng(0).normal(size=(8, 3)) + np.arange(3) / 2
    found = trends.trend(values)
    theirs = scipy.stats.page_trend_test(values, method="exact").pvalue
    assert found["p"] == pytest.approx(min(1, 2 * theirs))
    rhos = [scipy.stats.spearmanr(row, [0, 1, 2]).statistic for row in values]
    assert found["effect"] == pytest.approx(np.mean(rhos))
    assert found["low"] <= found["effect"] <= found["high"]
    falls = trends.trend(values[:, ::-1])
    assert falls["effect"] == pytest.approx(-found["effect"])
    assert falls["p"] == pytest.approx(found["p"])


def test_the_least_p_is_what_a_perfect_trend_reaches():
    rising = np.cumsum(np.ones((5, 3)), 1) + np.arange(5)[:, None] / 10
    for n in (1, 2, 5):
        found = trends.trend(rising[:n])
        assert found["p"] == pytest.approx(found["floor"])
        assert found["floor"] == pytest.approx(2 * 6.0**-n)
        steps = trends.change(rising[:n, :2] * [1, 1.1])
        assert steps["p"] == pytest.approx(steps["floor"]) == pytest.approx(2 * 2.0**-n)


def test_a_change_counts_ranks_and_gaps_leave_lineages_out():
    values = np.array([[0, 1.0], [0, 2], [0, -0.5], [0, 4], [np.nan, 9]])
    found = trends.change(values)
    assert found["n"] == 4
    assert found["effect"] == pytest.approx((2 + 3 + 4 - 1) / 10)
    assert found["change"] == 1.5
    assert trends.change(np.full((3, 2), np.nan))["n"] == 0
    assert np.isnan(trends.trend(np.full((3, 3), np.nan))["p"])


def test_lineages_that_do_not_change_raise_the_least_p():
    assert trends.change(np.array([[0, 1.0], [0, 2], [0, 3], [1, 1]]))["floor"] == 2 * 2.0**-3


def test_signs_are_tried_where_ranks_are_tied():
    assert trends.signed_rank(np.array([1.0, 1, 2, 2, -1])) == pytest.approx(0.25)
    assert trends.signed_rank(np.array([1.0, 1, 1, 1, 0])) == pytest.approx(2 / 16)
    assert trends.signed_rank(np.zeros(4)) == 1.0
    assert trends.rank_biserial(np.array([1.0, 1, 2, 2, -1, 0])) == pytest.approx((2 + 2 + 4.5 + 4.5 - 2) / 15)


def test_holm_leaves_out_what_is_not_defined():
    found = trends.holm([0.01, 0.04, np.nan, 0.03])
    assert found[[0, 1, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(found[2])
    assert np.isnan(trends.holm([np.nan])).all()


def test_without_an_effect_p_is_as_large_as_it_claims():
    """Lineages differ much, regimes not at all: the error that a careless test would take for a finding."""
    draw = np.random.default_rng(3)
    lines = 5 * draw.normal(size=(200, 8, 1))
    values = lines + draw.normal(size=(200, 8, 3))
    p = {
        "trend": np.array([trends.trend(v)["p"] for v in values]),
        "change": np.array([trends.change(v[:, :2])["p"] for v in values]),
        "level": np.array([trends.level(v[:, 0] - v[:, 1], 0.0)["p"] for v in values]),
    }
    for name, found in p.items():
        for level in (0.05, 0.2, 0.5):
            allowed = level + 2.6 * np.sqrt(level * (1 - level) / len(found))
            assert (found <= level).mean() <= allowed, (name, level)
        assert (found <= 0.5).mean() > 0.3, name  # nor does it never reject
        assert (found <= 0.05).mean() > 0.005, name


def test_intervals_hold_a_known_median_as_often_as_they_say_and_fewer_than_six_lineages_have_none():
    draw = np.random.default_rng(5)
    assert np.isnan(trends.interval(np.arange(5.0), np.median, 0)["low"])
    for n in (6, 8, 12):
        ends = [trends.interval(draw.normal(size=n) + 1, np.median, k) for k in range(200)]
        assert np.mean([e["low"] <= 1 <= e["high"] for e in ends]) >= 0.94, n


def test_a_planted_effect_is_found_and_copies_of_a_lineage_are_no_more_evidence():
    draw = np.random.default_rng(4)
    values = 3 * draw.normal(size=(8, 1)) + 0.5 * draw.normal(size=(8, 3)) + np.arange(3)
    found = trends.trend(values)
    assert found["p"] < 0.001
    assert found["effect"] > 0.8
    assert found["change_low"] > 1
    two = populace.study({"x": np.repeat(values[:2], 4, axis=0)}, lineage=["a"] * 4 + ["b"] * 4)
    row = compared(two).query("test == 'trend'").iloc[0]
    assert row.n == 2
    assert row.p >= row.floor == pytest.approx(2 / 36)


# Studies and their words


def rising(count=8, number=0):
    draw = np.random.default_rng(number)
    flat = 0.3 * draw.normal(size=(count, 3))
    return {"x": flat + np.arange(3), "y": 0.3 * draw.normal(size=(count, 3)), "edge": flat - np.arange(3)}


def test_a_study_tells_what_rises_what_falls_and_what_does_neither():
    one = populace.study(rising())
    rows = compared(one)
    assert list(rows.query("test == 'trend'").family) == [2, 2, 1]  # x and y; the edge is for contrast
    assert list(rows.query("test == 'change'").regimes.unique()) == [
        "growing to persistent",
        "persistent to regenerating",
    ]
    said = words.findings([one])
    assert said[0].text == (
        "At step 200, from growing to persistent to regenerating, over 8 lineages: the code of x rises; the "
        "code of y neither rises nor falls clearly."
    )
    assert "Page’s trend test, exact, two-sided, corrected over 2 tests" in said[0].evidence
    assert said[-1].text.startswith("For contrast, at step 200")
    assert "the code of edge falls" in said[-1].text


def test_what_is_said_of_more_than_two_measures_is_said_once():
    said = {"a": "rises", "b": "falls", "c": "rises", "d": "rises"}
    assert words.grouped(said) == ["a, c and d: each rises", "b falls"]
    assert words.grouped({"a": "rises", "b": "rises"}) == ["a rises", "b rises"]


def test_where_the_null_is_wider_the_other_scale_may_say_otherwise():
    values = rising()
    one = populace.study(values, z={k: -v if k == "x" else v for k, v in values.items()})
    said = words.findings([one])[0]
    assert "the code of x rises (in units of the null’s sd it falls)" in said.text
    assert "z) instead: x effect −1.00" in said.evidence


def test_a_regime_that_does_not_enter_leaves_two_to_compare():
    inside = np.array([[False, True, True]] * 8)
    one = populace.study(rising(), admitted=inside)
    assert one.regimes == ["persistent", "regenerating"]
    assert set(compared(one).test) == {"level", "change"}
    said = words.findings([one])[0]
    assert "from persistent to regenerating, over 8 lineages: the code of x rises" in said.text
    assert "No growing network enters at step 200" in said.evidence
    assert len(grid(one, "x", one.regimes)) == 8


def test_too_few_lineages_decide_nothing_and_no_network_at_all_is_told():
    few = words.findings([populace.study(rising(2))])[0]
    assert "the code of x leans up, which 2 lineages cannot decide" in few.text
    four = populace.study(rising(4), admitted=np.array([[False, True, True]] * 4))
    assert "leans up, which 4 lineages cannot decide" in words.findings([four])[0].text  # p >= .125
    assert "the code of y leans down, which 4 lineages cannot decide" in words.findings([four])[0].text
    none = populace.study(rising(), admitted=np.zeros((8, 3), bool))
    assert "no network enters, so that nothing is compared" in words.findings([none])[0].text
    assert levels(none).empty
    only = populace.study(rising(), admitted=np.array([[True, False, False]] * 8))
    assert "only growing networks enter" in words.findings([only])[0].text


def test_exclusions_are_told_with_their_reason():
    one = populace.study(rising(2), admitted=np.array([[False, True, True], [True, True, True]]))
    population = replace(one.population, missing={"a": "its training failed", "b": "its training failed"})
    entered, missing = words.exclusions(population, [one.verdicts], -2.7)
    assert "5 of 6 networks of made up enter the statistics (1 of 2 growing" in entered.text
    assert "excluded are growing-0: its L is above the limit" in entered.evidence
    assert missing.evidence == "its training failed: a, b"


def test_the_figure_names_what_is_left_out_only_where_it_is_drawn():
    out = populace.study(rising(3), admitted=np.array([[False, True, True]] * 3))
    gone = replace(out, values=out.values[~out.values.member.str.startswith("growing")])
    for study, drawn in ((out, True), (gone, False)):
        labels = [mark.get_label() for mark in figures._legend([study])]
        assert ("excluded by its L" in labels) == drawn
        assert ("Crosses" in caption([study])) == drawn


def test_lines_bands_and_crosses_are_drawn_for_what_they_are():
    one = populace.study(rising(3), admitted=np.array([[False, True, True]] * 3))
    one = replace(one, values=one.values.assign(low=-0.4, high=0.4))
    made = figures.regimes([one])
    panel = made.axes[0]
    crosses = [line for line in panel.lines if line.get_marker() == "x"]
    assert [len(line.get_xdata()) for line in crosses] == [3, 0, 0]
    joined = [line for line in panel.lines if line.get_marker() == "None" and len(line.get_xdata()) == 2]
    assert len([line for line in joined if list(line.get_xdata()) == [1, 2]]) == 3
    assert len(panel.collections) == 3
    assert {text.get_text() for text in made.legends[0].get_texts()} >= {"excluded by its L"}


def test_how_much_hangs_on_few_channels():
    even, one = needs(np.array([0.2, 0.2, 0.2, 0.2])), needs(np.array([1.0, 1.0, 0.0, 1.0]))
    assert (even["needed"], even["spread"]) == pytest.approx((1.0, 1.0))
    assert (one["needed"], one["spread"], one["worst"]) == pytest.approx((0.25, 0.25, 0.0))
    assert np.isnan(needs(np.ones(4))["spread"])
    assert np.isnan(needs(np.full(4, np.nan))["needed"])


def test_a_channel_whose_loss_explodes_the_body_is_needed():
    assert needs(np.array([-np.inf, 1.0])) == {"needed": 0.5, "spread": 0.5, "worst": -1.0}


# The command line


def run(*given):
    return cli.main([str(word) for word in given])


def test_nca_axes_asks_the_question_of_a_population(folder, tmp_path, capsys):
    assert run("axes", folder, "--out", tmp_path / "out", *AXES, *QUIET) == 0
    told = capsys.readouterr().out
    assert told.startswith("At step 3, from persistent to regenerating, over 3 lineages: x beyond")
    assert "0 of 3 growing, 3 of 3 persistent, 3 of 3 regenerating" in told
    assert "it is not trained yet: growing-3" in told
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["config"]["admit"] == -4
    assert len(summary["tables"]["axes-values"]) == 9 * 4
    assert {row["statistic"] for row in summary["tables"]["axes-tests"]} == {"value", "z"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h1>The population discs</h1>" in page or "The population discs" in page
    assert {f.name for f in (tmp_path / "out" / "figures").iterdir()} == {
        "axes-regimes.svg",
        "axes-bodies-3.svg",
    }


def test_a_planted_code_is_found_in_its_networks_and_a_frozen_field_is_none():
    """Discs whose states hold x, beside discs of smooth noise."""
    mask = bodies.disc((32, 32), 11.0)
    noise = [bodies.standing(number=k, channels=10, canvas=(32, 32), radius=11.0) for k in range(3)]
    coded = []
    for k, one in enumerate(noise):
        patch = np.array(one.seed)
        x = (np.argwhere(mask)[:, 1] - 16) / 11
        patch[mask, 4] = x + 0.05 * patch[mask, 4]
        coded.append(replace(one, seed=patch, name=f"coded-{k}"))
    found = []
    for regime, organisms in (("persistent", noise), ("regenerating", coded)):
        for k, one in enumerate(organisms):
            recipe = {"config": {"target": "disc", "regime": regime, "seed": k}}
            found.append(replace(one, name=f"{regime}-{k}", provenance=recipe))
    from analysis.populations.codes import places
    from analysis.populations.members import Population, described, told_apart

    population = Population("planted", told_apart([described(o, {}) for o in found]))
    verdicts = admitted(population.members, at=1, runs=1)
    config = replace(QUICK, surrogates=39, deals=2, runs=1)
    rows = levels(places(population, verdicts, config)).set_index(["measure", "regime"])
    assert rows.clear["x", "regenerating"] == 3
    assert rows.clear["x", "persistent"] <= 1
    assert rows.clear["y", "regenerating"] <= 1
    assert rows["median"]["x", "regenerating"] > rows["median"]["x", "persistent"] + 0.2


def test_other_assays_compare_the_regimes_too(folder, tmp_path, capsys):
    where, admit = tmp_path, ["--admit", "-4"]
    assert run("pca", folder, "--at", 3, "--out", where / "pca", *admit) == 0
    assert "number of components" in capsys.readouterr().out
    cuts = ["--runs", "2", "--cut-at", "20", "--until", "30", "--late", "0"]
    assert run("regenerate", folder, "--out", where / "cuts", *cuts, *admit) == 0
    assert "recovery (median of five cuts)" in capsys.readouterr().out
    harm = ["--runs", "1", "--at", "20", "--horizons", "10"]
    assert run("lesion", folder, "--out", where / "harm", *harm, *admit) == 0
    assert "share of hidden channels" in capsys.readouterr().out
    noise = [
        "--runs",
        "1",
        "--at",
        "20",
        "--horizon",
        "10",
        "--once",
        ".5",
        "--lasting",
        ".1",
        "--weights",
        ".1",
        "--rates",
        "1",
    ]
    assert run("robust", folder, "--out", where / "noise", *noise, *admit) == 0
    assert "median of all disturbances" in capsys.readouterr().out
    for name in ("pca", "cuts", "harm", "noise"):
        summary = json.loads((where / name / "summary.json").read_text())
        assert len(summary["organisms"]) == 9
        assert any("enter the statistics" in f["text"] for f in summary["claims"])


def test_a_population_is_dissected_and_not_twice(folder, tmp_path, capsys, monkeypatch):
    made = []
    for name in ("places", "healing", "lesions", "robustness"):
        section = battery.section

        def part(bench, config, name=name):
            made.append((name, config.seed))
            bench.verdicts(1, 1)
            from analysis.report.model import Section

            return Section(name, name)

        assert section
        monkeypatch.setattr(battery, name, part)
    out = ["--out", tmp_path / "out", "--seed", 5]
    assert run("dissect", folder, *out) == 0
    assert made == [("places", 5), ("healing", 5), ("lesions", 5)]
    assert run("dissect", folder, *out) == 0
    assert len(made) == 3
    assert "holds this dissection already" in capsys.readouterr().err
    assert run("dissect", folder, *out, "--full") == 0
    assert [name for name, _ in made[3:]] == ["places", "healing", "lesions", "robustness"]


def test_info_is_a_table_of_the_population(folder, capsys):
    assert run("info", folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["name", "target", "regime", "seed"]
    assert len(lines) == 1 + 9 + 2
    assert lines[-1].startswith("growing-4")
    assert lines[-1].endswith("its training failed")
    assert run("info", folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["members"][0]["lineage"] == "seed 0"
    assert told["versions"] == {"jax": "0"}


def test_a_film_shows_every_member(folder, tmp_path, capsys):
    out = tmp_path / "all.webp"
    assert run("grow", folder, "--out", out, "--steps", 4, "--every", 2, "--wound", "left", "--at", 2) == 0
    from PIL import Image

    film = Image.open(out)
    assert film.n_frames == 3
    assert film.size[0] > 3 * 24
    assert run("grow", folder, "--out", out, "--wound", "left", "--at", 2, "--beside") == 2
    assert "name one of its members" in capsys.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        ["view", "{}"],
        ["export", "{}", "--to", "npz"],
        ["graft", "{}", "lizard", "--from", "3,3", "--to", "4,4"],
    ],
)
def test_what_takes_one_organism_asks_for_a_member(folder, capsys, given):
    assert run(*[w.format(folder) for w in given]) == 2
    told = capsys.readouterr().err
    assert f"nca {given[0]} takes one organism, and {folder} holds 9" in told
    assert f"such as {folder}/growing-0." in told
    assert len(told.splitlines()) == 1


def test_a_member_is_named_by_its_population(folder, capsys):
    assert one_of(f"{folder}/persistent-1").name == "persistent-1"
    assert run("info", f"{folder}/persistent-1") == 0
    assert "persistent-1" in capsys.readouterr().out
    with pytest.raises(UserError, match="has no member 'nobody'; it has growing-0"):
        one_of(f"{folder}/nobody")


def test_sources_are_names_files_and_folders(folder, tmp_path):
    file = save(bodies.standing(), tmp_path / "one.safetensors")
    found = organisms_of([str(file), str(file), str(folder)])
    assert [o.name for o in found[:3]] == ["standing", "standing (2)", "growing-0"]
    assert len(found) == 11
    assert population_of([str(folder)]).name == "discs"
    assert population_of([str(folder), str(file)]) is None
    assert population_of(["lizard"]) is None
    assert one_of("lizard").hash == nca.load("lizard").hash
    with pytest.raises(UserError, match="At least one organism"):
        organisms_of([])


def test_few_organisms_and_the_steps_of_one_run_are_no_population(tmp_path):
    few, along = tmp_path / "few", tmp_path / "keep"
    for place, steps in ((few, (1, 2)), (along, (0, 1, 2, 5, 10, 20))):
        place.mkdir()
        for step in steps:
            told = {"config": {"target": "disc", "seed": 0}, "steps": step}
            one = replace(bodies.standing(number=step), name=f"n{step}", provenance=told)
            save(one, place / f"step-{step:06d}.safetensors")
    assert population_of([str(few)]) is None
    assert population_of([str(along)]) is None
    assert [o.name for o in organisms_of([str(along)])] == ["n0", "n1", "n2", "n5", "n10", "n20"]
