"""Published organisms opened from their authors' files reproduce their reference states."""

import numpy as np
import pytest
from helpers import oracle
from helpers import published as organisms
from helpers.published import FILES, expected_next

from nca.interop.importing import build_organism, open_weights
from nca.interop.reference import Reference, compare, read_reference
from nca.rollout import replay

ONE_STEP = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module", params=FILES)
def file(request, published):
    return published / request.param, FILES[request.param]


@pytest.fixture(scope="module")
def organism(file):
    path, preset = file
    return build_organism(open_weights(path, preset=preset))


@pytest.fixture(scope="module")
def expected(file):
    return organisms.load_published(file[0].parents[1], file[0].parent.name)


def test_the_network_and_the_seed_are_those_of_the_reference(organism, expected):
    ours, theirs = organism.rule, expected.organism.rule
    assert ours.spec == theirs.spec
    for mine, other in zip([*ours.weights, *ours.biases], [*theirs.weights, *theirs.biases], strict=True):
        np.testing.assert_allclose(mine[...], other[...], atol=1e-6, rtol=1e-6)
    np.testing.assert_array_equal(organism.initial_state(expected.state(0).shape[:2]), expected.state(0))


@pytest.mark.parametrize("step", organisms.SAVED)
def test_one_step_from_each_saved_state_is_that_of_the_references_arrays(organism, expected, step):
    state, fire = expected.state(step), expected.fires[step]
    after = replay(organism, state, step, fire=fire)["next"]
    net = oracle.net_of(expected.organism.rule)
    np.testing.assert_allclose(after, expected_next(net, state, fire), **ONE_STEP)


def test_the_free_run_and_every_single_step_agree_with_the_reference(file, organism):
    rows = compare(organism, read_reference(file[0].parent / "reference.npz"))
    steps = {kind: [row.step for row in rows if row.comparison == kind] for kind in ("free run", "one step", "update")}
    assert steps == {"free run": list(organisms.SAVED), "one step": [1, 2], "update": [10]}
    assert all(row.agrees for row in rows), rows
    assert max(row.largest for row in rows if row.comparison == "free run") < 1e-4


def test_the_comparison_shows_a_wrong_convention(published):
    path = published / "chen-gecko" / "remaster_1.pth"
    wrong = build_organism(open_weights(path, preset="chen2020", swap_xy=False))
    rows = compare(wrong, read_reference(path.parent / "reference.npz"))
    assert not any(row.agrees for row in rows if row.step > 0)


def test_the_planarians_three_containers_hold_one_organism(published):
    folder = published / "google-planarian"
    exact, graph = (build_organism(open_weights(folder / f, preset="distill-tf")) for f in ("8000.index", "8000.json"))
    bytes_ = build_organism(open_weights(folder / "ex3_planarian.webgl8.json", preset="published"))
    for name, array in exact.arrays().items():
        np.testing.assert_array_equal(graph.arrays()[name], array, err_msg=name)
        # The file's greys lie 1/255 of its scale apart; half of that is what rounding may do.
        reach = 0.501 / 255 * 2.001 * np.abs(array).max() if array.size else 0
        np.testing.assert_allclose(bytes_.arrays()[name], array, atol=reach, err_msg=name)


def test_any_file_of_a_checkpoint_opens_it(published):
    folder = published / "google-planarian"
    expected = open_weights(folder / "8000.index").layers.weights
    for name in ("8000", "8000.data-00000-of-00002", "8000.data-00001-of-00002"):
        weights = open_weights(folder / name).layers.weights
        assert all(np.array_equal(a, b) for a, b in zip(weights, expected, strict=True))


def test_the_planarian_turned_by_90_degrees_is_the_published_one(published):
    folder = published / "google-planarian"
    turned = build_organism(open_weights(folder / "8000.json", preset="distill-tf", angle=90.0))
    straight = read_reference(folder / "reference.npz")
    with np.load(folder / "reference_angle90.npz") as arrays:
        states = {step: arrays[f"state_{step}"] for step in organisms.SAVED}
    rows = compare(turned, Reference(states, straight.fires, {}))
    assert len(rows) == len(organisms.SAVED) + 2
    assert all(row.agrees for row in rows), rows


def test_the_references_own_arrays_are_a_file_too(published):
    path = published / "semvdn-starfish-persistent" / "reference.npz"
    organism = build_organism(open_weights(path, preset="semvdn"))
    rows = compare(organism, read_reference(path))
    assert all(row.agrees for row in rows)
