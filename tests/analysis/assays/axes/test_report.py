"""Claims, evidence tables and figures of the axes assay; the commands that write them."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import bodies, codes, figures

import analysis
import analysis.assays.axes.report as axes_report
from analysis.assays.axes.across_networks import compare_networks
from analysis.assays.axes.claims import axes_claims
from analysis.assays.axes.plots import axes_figures, plot_pca_maps
from analysis.assays.axes.report import pca_section, sections
from analysis.assays.axes.run import run
from analysis.cli import main as cli
from analysis.lineage import related, same_training_run
from analysis.recording import record
from analysis.report import plots
from analysis.report.model import svg_figure
from analysis.stats.nulls import null_tests
from nca.io import save

SMALL = ["--adult-step", "3", "--surrogates", "19", "--cv-repeats", "2"]


def test_every_section_has_claims_figures_tables_and_a_method(complete):
    report = sections([complete])
    assert [s.name for s in report] == ["axes", "weight-shuffle", "interventions", "rotation-test"]
    for section in report:
        assert section.claims
        assert section.figures
        assert section.method
        assert section.tables
        assert {claim.assay for claim in section.claims} == {section.name}
        assert all(isinstance(claim.evidence, pd.DataFrame) for claim in section.claims)
        for claim in section.claims:  # no sentence has a gap where a value should be
            assert not re.search(r" [;,.:)]|\(\s*[;,)]|  |\bnan\b|\bNone\b", f"{claim.text} {claim.note}"), claim.text
        assert all("statistic" not in d.indexes for d in section.data.values())


def test_the_evidence_of_a_null_test_holds_value_null_p_q_and_the_number_of_draws(complete):
    decoders = next(c for c in sections([complete])[0].claims if "decodable" in c.numbers)
    table = decoders.evidence.set_index("quantity")
    x = complete.position.sel(quantity="x", measure="r2")
    assert table.loc["x", "measure"] == "r2"
    assert tuple(table.loc["x", ["n", "unit"]]) == (19, "surrogates")
    for column, name in (
        ("value", "observed"),
        ("null_median", "null_median"),
        ("null_low", "null_low"),
        ("p", "p"),
        ("q", "q"),
    ):
        assert table.loc["x", column] == float(x[name])


def test_names_of_figures_and_tables_are_unique_and_numbers_finite_where_they_must_be(complete):
    report = sections([complete])
    figures = [figure.name for s in report for figure in s.figures]
    tables = [name for s in report for name in s.tables]
    assert len(set(figures)) == len(figures)
    assert len(set(tables)) == len(tables)
    tests = report[0].tables["position"]
    assert {"quantity", "measure"} <= set(tests)
    assert np.isfinite(tests[["observed", "p", "q"]].to_numpy()).all()
    assert all(figure.svg.startswith("<?xml") and figure.caption for s in report for figure in s.figures)


def test_titles_of_the_component_maps_lie_within_the_figure_at_one_height(complete):
    for tests in (None, complete.position):
        with plots.style():
            figure, _ = plot_pca_maps(complete.pca, tests)
        figure.draw_without_rendering()
        boxes = [ax.title.get_window_extent() for ax in figure.axes if ax.get_title()]
        assert len(boxes) == 4
        assert max(box.y1 for box in boxes) <= figure.bbox.y1
        assert np.ptp([box.y0 for box in boxes]) < 1


# Claims


def results_of(rows, **attrs):
    """Null tests with planted numbers: value, q and p by (quantity, measure)."""
    tests = null_tests({key: np.linspace(0, 1, 20) for key in rows})
    for name, values in zip(("observed", "q", "p"), zip(*rows.values(), strict=True), strict=True):
        tests[name] = ("statistic", list(values))
    return tests.assign_attrs({"cells": 100, "run": 0, "step": 40, "surrogates": 19, "weight_shuffles": 19} | attrs)


def test_the_claims_of_one_small_result_are_worded_like_this(complete):
    position = results_of(
        {
            ("PC1", "plane_r2"): (0.4, 0.01, 0.01),
            ("PC2", "plane_r2"): (0.1, 0.4, 0.2),
            ("PC1", "rank_correlation"): (0.73, 0.02, 0.01),
            ("PC2", "horseshoe"): (0.1, 0.4, 0.2),
            ("x", "r2"): (0.5, 0.03, 0.01),
            ("y", "r2"): (0.2, 0.3, 0.05),
            ("s", "r2"): (-0.32, 0.81, 0.64),
            ("radius", "r2"): (-0.1, 0.01, 0.01),
        }
    )
    components = complete.pca.assign(plane_angle=complete.pca.plane_angle * 0 + 39)
    texts = [claim.text for claim in axes_claims("axes", {"position": position, "pca": components})]
    assert texts == [
        "PC1 is radial: its rank correlation with the distance from the seed is |ρ| = 0.73 (q = 0.020); position along "
        "the body cannot be decoded linearly (R² = −0.32).",
        "5 of 6 components hold 90 % of the variance of the cells’ states (5 hold 95 %, 6 hold 99 %); PC1 holds 51 %.",
        "PC1 is more linear in position than smooth random fields, along 39° (from x towards y, down).",
        "A cell’s state encodes left-right position (x) beyond what smooth fields do (linear decoder, q ≤ 0.05). 19 "
        "surrogates cannot tell about up-down position (y).",
    ]
    shuffle = results_of(
        {
            ("x", "r2"): (0.6, 0.01, 0.01),
            ("s", "r2"): (0.55, 0.01, 0.01),
            ("radius", "r2"): (0.2, 0.6, 0.6),
            ("x", "excess"): (0.6, 0.01, 0.01),
            ("s", "excess"): (0.5, 0.3, 0.2),
            ("radius", "excess"): (0.2, 0.6, 0.6),
        }
    )
    assert axes_claims("weight-shuffle", {"weight_shuffle": shuffle})[0].text == (
        "Training made the code of left-right position (x) and position along the body (s): shuffled weights on the "
        "same alive sites encode less; beyond smoothness this holds only of left-right position (x). Shuffled weights "
        "encode distance from the seed better than the trained ones."
    )


def test_of_two_decoders_below_zero_none_is_called_better():
    keys = [(quantity, measure) for measure in ("over_shape", "over_colour") for quantity in "xy"]
    tests = results_of(dict.fromkeys(keys, (0.1, 0.4, 0.2)))
    columns = {"r2_hidden": [-0.3, -0.3, -0.3, -0.3], "r2_covariate": [-0.1, 0.2, -0.1, -0.2], "r2_both": [0.0] * 4}
    tests = tests.assign({name: ("statistic", values) for name, values in columns.items()})
    shape, colour = axes_claims("axes", {"shape_and_colour": tests})
    assert shape.numbers["better_alone"] == ["y"]
    assert colour.numbers["better_alone"] == []
    assert "better" not in colour.text


def test_hidden_states_improve_nothing_that_stays_below_zero_with_them():
    keys = [(quantity, measure) for measure in ("over_shape", "over_colour") for quantity in "xy"]
    tests = results_of(dict.fromkeys(keys, (0.5, 0.01, 0.01)))
    columns = {"r2_hidden": [-2.0] * 4, "r2_covariate": [-1.0, -0.2, -0.6, -0.6], "r2_both": [-0.5, 0.3, -0.1, -0.1]}
    tests = tests.assign({name: ("statistic", values) for name, values in columns.items()})
    shape, colour = axes_claims("axes", {"shape_and_colour": tests})
    assert shape.numbers["added"] == ["y"]
    assert "improve the decoding of up-down position (y) over" in shape.text
    assert colour.numbers["added"] == []
    assert "together decode no position either" in colour.text


@pytest.mark.parametrize("p", [0.01, 0.6])
def test_training_made_no_code_that_is_not_there(p):
    shuffle = results_of({(q, m): (-0.73, p, p) for m in ("r2", "excess") for q in ("x", "s")})
    shuffle["null_median"] = shuffle.null_median * 0 - 9.87
    (claim,) = axes_claims("weight-shuffle", {"weight_shuffle": shuffle})
    assert claim.text == "There is no linear code of position that training could have made (all R² ≤ 0)."
    assert (claim.numbers["trained"], claim.numbers["free"]) == ([], [])


def test_of_codes_that_are_there_those_that_needed_no_training_are_named():
    values = {("x", "r2"): (0.3, 0.4, 0.4), ("y", "r2"): (-0.3, 0.4, 0.4), ("x", "excess"): (0.1, 0.4, 0.4)}
    (claim,) = axes_claims("weight-shuffle", {"weight_shuffle": results_of(values)})
    assert claim.text.startswith("The code of left-right position (x) needed no training")


@pytest.mark.parametrize(("p", "says"), [(0.05, "Training makes PC1 radial"), (0.9, "PC1 needs no training to be")])
def test_whether_training_makes_pc1_radial_is_said_beside_the_codes(p, says):
    shuffle = results_of({("x", "r2"): (0.3, 0.4, 0.4), ("x", "excess"): (0.1, 0.4, 0.4)})
    radial = results_of({("PC1", "rank_correlation"): (0.73, p, p)})
    claims = axes_claims("weight-shuffle", {"weight_shuffle": xr.concat([shuffle, radial], "statistic")})
    assert claims[1].text.startswith(says)
    assert claims[1].evidence.value.tolist() == [0.73]


def test_few_draws_cannot_tell_and_many_can(complete):
    for n, q, says in ((19, 0.2, "19 surrogates cannot tell whether PC1 is radial"), (19, 0.05, "PC1 is radial")):
        position = results_of({("PC1", "rank_correlation"): (0.8, q, 1 / (n + 1)), ("x", "r2"): (0.1, 0.3, 0.3)})
        (headline, *_) = axes_claims("axes", {"position": position, "pca": complete.pca, "pca_runs": complete.pca_runs})
        assert headline.text.startswith(says)


def test_decoders_that_do_not_decode_repeat_nothing(complete):
    runs = complete.runs.assign(left_out_r2=complete.runs.left_out_r2 * 0 - 0.3)
    claims = axes_claims("axes", {"runs": runs, "position": complete.position, "pca": complete.pca})
    assert any(c.text.startswith("No decoder fitted on the other runs") for c in claims)
    assert not any("repeat each other" in c.text for c in claims)


def test_a_negative_answer_says_which_code_would_have_been_found(complete):
    least = complete.sensitivity.assign(least=("direction", [0.05, np.nan]))
    parts = {"position": complete.position, "pca": complete.pca, "sensitivity": least}
    claim = next(c for c in axes_claims("axes", parts) if "decodable" in c.numbers)
    assert "5 % along a random direction and more than 20 % along the first component of the variance" in claim.note


def test_a_radius_that_is_more_than_a_clock_is_reported_with_its_numbers(complete):
    course = complete.time_course
    planted = course.assign(r2=course.r2 * 0 + 0.4, r2_age=course.r2 * 0 - 0.5, gain=course.r2 * 0 + 0.4)
    clock = axes_claims("weight-shuffle", {"time_course": planted.assign(p_gain=course.r2 * 0 + 0.05)})[0]
    assert clock.text.startswith("The radius is more than a clock")
    assert "age alone decodes it at R² = −0.50, states at 0.40" in clock.text
    gain = clock.evidence[clock.evidence.measure.str.startswith("r2 added to age")].iloc[0]
    assert (gain.value, gain.p) == (0.4, 0.05)


def test_states_that_encode_less_than_a_guess_are_not_more_than_a_clock(complete):
    course = complete.time_course
    worse = course.assign(r2=course.r2 * 0 - 0.3, r2_age=course.r2 * 0 - 0.1)
    clock = axes_claims("weight-shuffle", {"time_course": worse})[0]
    assert clock.text.startswith("It is open whether the radius is more than a clock")


def test_a_code_lasts_only_where_the_corrected_test_of_the_grown_body_finds_it(complete):
    course = complete.time_course
    course = course.assign(r2=course.r2 * 0 + 0.4, p=course.p * 0 + 0.05).isel(step=slice(-3, None))
    course = course.assign_coords(step=[2, 3, 4])
    position = complete.position.copy()
    position["observed"] = ("statistic", np.full(position.sizes["statistic"], 0.4))
    for q, onsets in ((0.05, {str(n): 2 for n in course.quantity.values}), (0.06, {})):
        tests = position.copy()
        tests["q"] = ("statistic", np.full(position.sizes["statistic"], q))
        parts = {"time_course": course, "position": tests}
        assert axes_claims("weight-shuffle", parts)[-1].numbers == {"onsets": onsets}
    assert axes_claims("weight-shuffle", {"time_course": course})[-1].numbers == {"onsets": {}}


def test_the_claims_on_a_rotation_follow_from_its_numbers(complete):
    def claim(**parts):
        return axes_claims("rotation-test", parts)[0]

    perception, states = complete.rotated_perception, complete.rotated_states
    follows = perception.assign(
        body_rotation=perception.body_rotation * 0 + perception.angle, match=perception.match * 0 + 1
    )
    assert claim(rotated_perception=follows).numbers == {"follows": [90.0]}
    lost = follows.assign(match=perception.match * 0)
    assert claim(rotated_perception=lost).numbers == {"follows": []}
    isotropic = follows.assign(max_change=perception.max_change * 0).assign_attrs(isotropic=1)
    assert claim(rotated_perception=isotropic).text.endswith("rotating it changes nothing.")
    for name, sentence in (("fitness_rotated", "stays rotated"), ("fitness_upright", "returns to the direction")):
        both = {"fitness_rotated": states.match * 0, "fitness_upright": states.match * 0} | {name: states.match * 0 + 1}
        assert sentence in claim(rotated_states=states.assign(both)).text


def test_components_are_shown_plainly_and_claim_nothing():
    section = pca_section(analysis.pca(record(bodies.static_organism(), 2), step=2))
    assert "say nothing about axes" in section.method
    assert [claim.text.split(":")[0] for claim in section.claims[1:]] == ["PC1", "PC2"]


# Several organisms


def test_several_organisms_are_compared_and_relatives_are_named(brief, monkeypatch):
    monkeypatch.setattr(axes_report, "_MAX_DETAILED", 0)  # sections of each are another test's
    code = codes.read_code()
    others = [
        bodies.static_organism(number=k, channels=10, canvas=(32, 32), radius=11.0).rename(f"n{k}") for k in range(2)
    ]
    child = replace(others[0], name="child", provenance={"started_from": {"name": "n1", "hash": others[1].hash}})
    section = sections([run(o, brief) for o in (code, child, others[1])])[0]
    assert section.title == "Axes of several organisms"
    assert [figure.name for figure in section.figures] == ["bodies", "networks", "directions"]
    agreement = next(claim for claim in section.claims if "related" in claim.numbers)
    assert agreement.numbers["related"] == related([code, child, others[1]]) == [("child", "n1")]
    assert "1 pair share an ancestor" in agreement.text
    assert list(agreement.evidence.unit.unique()) == ["networks"]
    assert len(section.tables["networks"]) == 15
    counts = section.claims[0]
    assert set(counts.numbers) == {"x", "y", "s", "radius", "edge"}
    x = counts.evidence[(counts.evidence.quantity == "x") & (counts.evidence.measure == "r2 in read code")].iloc[0]
    assert x.p == pytest.approx(0.05)
    assert (counts.evidence.n == 19).all()


def test_two_organisms_or_dead_ones_are_compared_without_a_claim(brief, monkeypatch):
    monkeypatch.setattr(axes_report, "_MAX_DETAILED", 0)
    organisms = [bodies.static_organism(), bodies.exploding_organism(number=1), bodies.static_organism(radius=1.0)]
    section = sections([run(o, brief) for o in organisms])[0]
    assert any("3 or more" in reason for reason in section.skipped)
    assert any("10 or more" in reason for reason in section.skipped)
    assert "not defined" in section.lookup["R² of position in each organism"].to_string()


def snapshots(tmp_path, steps=(0, 20, 5)):
    folder = tmp_path / "keep"
    folder.mkdir()
    for step in steps:
        organism = bodies.static_organism(number=step, canvas=(32, 32), radius=11.0)
        provenance = {"config": {"target": "disc"}, "steps": step}
        snapshot = replace(organism, name=f"disc-{step}", provenance=provenance)
        save(snapshot, folder / f"step-{step:06d}.safetensors")
    return folder


def test_snapshots_of_a_training_run_become_curves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["axes", str(snapshots(tmp_path)), "--out", "out", *SMALL, "--runs", "2", *codes.FIRST_PARTS]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [o["name"] for o in summary["organisms"]] == ["disc-0", "disc-5", "disc-20"]
    assert (tmp_path / "out" / "figures" / "training.svg").is_file()
    assert "training step" in summary["claims"][0]["text"]


def test_only_ascending_steps_of_one_recipe_are_one_training_run():
    organism = bodies.static_organism()

    def snapshot(step, recipe):
        return replace(organism, provenance={"config": {"target": recipe}, "steps": step})

    assert same_training_run([snapshot(1, "a"), snapshot(2, "a")])
    assert not same_training_run([snapshot(1, "a"), snapshot(2, "b")])
    assert not same_training_run([snapshot(2, "a"), snapshot(2, "a")])
    assert not same_training_run([organism, organism])


# The command line


def test_nca_pca_writes_maps_scree_and_loadings(tmp_path, capsys):
    path = save(bodies.static_organism(canvas=(32, 32), radius=11.0), tmp_path / "disc.safetensors")
    options = ["--adult-step", "3", "--channels", "all", "--scaling", "zscore", "--out", str(tmp_path / "out")]
    assert cli.main(["pca", str(path), *options]) == 0
    assert "PC1" in capsys.readouterr().out
    figures = {f.name for f in (tmp_path / "out" / "figures").iterdir()}
    assert figures == {"maps.svg", "development.svg", "spectrum.svg"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["config"] == {"adult_step": 3, "channels": "all", "scaling": "zscore", "seed": 0}
    assert "alpha" in json.dumps(summary["tables"]["pca"])


def test_nca_axes_of_two_organisms_keeps_them_apart(tmp_path):
    organisms = bodies.static_organism().rename("a"), codes.read_code().rename("b")
    paths = [str(save(o, tmp_path / f"{o.name}.safetensors")) for o in organisms]
    assert cli.main(["axes", *paths, "--out", str(tmp_path / "out"), *SMALL, *codes.FIRST_PARTS]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Axes of several organisms" in page
    assert "Body axes: b" in page
    assert page.count("of one run (A0); ridge decoders of position") == 1  # both were examined alike
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert {"1-maps.svg", "2-maps.svg"} <= {f.name for f in (tmp_path / "out" / "figures").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["axes"], "At least one organism"),
        (["axes", "{empty}"], "holds no organism"),
        (["axes", "lizzard"], "did you mean"),
        (["pca", "lizard", "--adult-step", "-1"], "adult_step must be at least 0"),
        (["axes", "lizard", "--surrogates", "3"], "19 or more"),
        (["axes", "lizard", "--deals", "3"], "--cv-repeats"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    assert cli.main([word.format(empty=tmp_path / "empty") for word in arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_a_body_that_a_command_cannot_use_is_reported(tmp_path, capsys):
    path = save(bodies.fading_organism(), tmp_path / "fading.safetensors")
    assert cli.main(["pca", str(path), "--adult-step", "30", "--out", str(tmp_path / "out")]) == 2
    assert "10 or more mature cells" in capsys.readouterr().err
    assert cli.main(["axes", str(path), "--adult-step", "30", "--out", str(tmp_path / "out")]) == 0
    assert "no mature cell" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.filterwarnings("error:Glyph")
def test_labels_of_many_organisms_do_not_overprint(brief):
    result = run(codes.read_code(), brief)
    table = compare_networks([result])
    networks = table.isel(organism=[0] * 24).assign_coords(organism=figures.NAMES)
    networks.attrs |= table.attrs
    with plots.style():
        drawn = axes_figures({"bodies": figures.renamed(result), "networks": networks})
        saved = [svg_figure(name, *figure).figure for name, figure in drawn.items()]
    assert not any(map(figures.overprinted, saved))
