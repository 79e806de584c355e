"""Published organisms, against an independent implementation of the same statistics."""

import json

import numpy as np
import pytest
from helpers import published as others

from analysis.assays.axes.decoding import position_tests
from analysis.assays.axes.pca import pca
from analysis.recording import label_states
from analysis.rollouts import grow_runs, run_keys

PLANARIAN = "google-planarian (ex3_planarian.webgl8.json)"
NAMES = ("distill-gecko-persistent", "distill-gecko-regenerating", "distill-butterfly-growing", PLANARIAN)


@pytest.fixture(scope="module", params=NAMES)
def organism_and_expected(request, published):
    """A published organism at step 200, grown with the masks of the expected statistics, and those."""
    if request.param == PLANARIAN:
        folder = published / "google-planarian"
        organism = others.from_web_json(folder / "ex3_planarian.webgl8.json", "planarian")
    else:
        organism = others.load_published(published, request.param).organism
    fire = np.random.Generator(np.random.PCG64(0)).random((200, 72, 72)) <= 0.5
    states = grow_runs(organism, 200, run_keys(0, 1), fire=fire[None])
    expected = json.loads((published / "expected.json").read_text())[request.param]["axes"]["seed0"]
    return label_states(organism, np.asarray(states)[:, None], steps=[200]), expected


def test_components_of_published_organisms_are_as_expected(organism_and_expected):
    recording, expected = organism_and_expected
    components = pca(recording)
    np.testing.assert_allclose(components.explained, expected["explained_hidden12"], atol=1e-3)
    assert components.n_components.values.tolist() == list(expected["pcs_for"]["hidden12"].values())
    for k, pc in enumerate(expected["pc"]):
        assert float(components.plane_r2[0, k]) == pytest.approx(pc["plane_r2"], abs=1e-3)
        assert float(components.plane_angle[0, k]) == pytest.approx(pc["angle_deg"], abs=0.1)
        assert float(components.radius_correlation[0, k]) == pytest.approx(pc["abs_spearman_radius"], abs=1e-3)
    assert float(components.horseshoe[0]) == pytest.approx(expected["horseshoe"], abs=1e-3)
    everything = pca(recording, channels="all")
    np.testing.assert_allclose(everything.explained, expected["explained_all16"], atol=1e-3)
    assert everything.n_components.values.tolist() == list(expected["pcs_for"]["all16"].values())


def test_the_body_is_as_expected(organism_and_expected):
    recording, expected = organism_and_expected
    assert int(recording.mature.sum()) == expected["n_mature"]


def test_decoders_of_published_organisms_are_as_expected(organism_and_expected):
    recording, expected = organism_and_expected
    tests = position_tests(recording, pca(recording), cv_repeats=10, surrogates=19)
    for name, known in expected["decode"].items():
        result = tests.sel(quantity=name, measure="r2")
        assert float(result.observed) == pytest.approx(known["r2_deals_mean"], abs=1e-3), name
        assert float(result.repeat_sd) == pytest.approx(known["r2_deals_sd"], abs=0.02), name


def test_surrogates_of_published_organisms_reject_as_often_as_expected(organism_and_expected):
    recording, expected = organism_and_expected
    tests = position_tests(recording, pca(recording), cv_repeats=1, surrogates=99)
    for name, known in expected["decode"].items():
        result = tests.sel(quantity=name, measure="r2")
        assert float(result.observed) == pytest.approx(known["r2"], abs=1e-3), name
        # Both p are means of 99 draws: four standard errors of their difference, and the floor.
        error = 4 * np.sqrt(2 * known["p"] * (1 - known["p"]) / 99) + 0.02
        assert float(result.p) == pytest.approx(known["p"], abs=error), name
        assert float(result.null_median) == pytest.approx(known["null_median"], abs=0.12), name
