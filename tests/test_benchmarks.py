"""The benchmarks run, and their baselines compute what the project computes. Speed is not tested."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.makers import blobs, masks

from benchmarks import costs, measure, scene, variants
from nca.rule import Rule
from nca.step import dense_step

ROOT = Path(__file__).parents[1]
COLUMNS = {
    "step": ("forward ratio", "training ratio"),
    "canvas": ("against 24x24",),
    "living": ("steps a second",),
    "runs": ("against one",),
    "peak": ("GFLOP/s", "share"),
    "gpu": ("minutes",),
    "population": ("against alone",),
    "devices": ("against one",),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the command printed, and the two files it wrote."""
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--save", "--results", str(folder)]
    printed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    (text,), (numbers,) = folder.glob("*.md"), folder.glob("*.json")
    return printed, text.read_text(), json.loads(numbers.read_text())


@pytest.fixture(scope="module")
def rows(results):
    return {table["name"]: table["rows"] for table in results[2]["tables"]}


def test_the_quick_run_fills_every_table(rows):
    counts = {name: len(found) for name, found in rows.items()}
    assert counts == {
        "step": 5,
        "canvas": 2,
        "living": 2,
        "runs": 2,
        "peak": 3,
        "gpu": 1,
        "population": 3,
        "devices": 2,
    }


def test_every_ratio_that_was_measured_is_positive(rows):
    found = [row.get(c) for name, columns in COLUMNS.items() for row in rows[name] for c in columns]
    numbers = [value for value in found if value is not None]
    assert len(numbers) >= 15
    assert all(value > 0 for value in numbers)


def test_what_was_not_measured_says_so(results, rows):
    assert rows["step"][-1] == {"variant": "CAX"}
    (row,) = (line for line in results[0].splitlines() if line.startswith("| CAX"))
    assert row.count("not measured") == 7


def test_the_file_holds_what_was_printed_every_time_and_the_load(results, rows):
    printed, text, numbers = results
    assert text.strip() in printed
    assert all(len(row["ms a step, times"]) == 2 for row in rows["canvas"])
    assert len(numbers["load"]) == len(numbers["load after"]) == 3
    assert str(ROOT) not in json.dumps(numbers)


def test_the_convolution_computes_the_same_step():
    draw = np.random.default_rng(0)
    weights = [draw.normal(size=shape) / 7 for shape in ((48, 20), (20, 16))]
    rule = Rule.from_arrays(weights, [draw.normal(size=20), draw.normal(size=16)])
    states = np.stack([blobs(number, (14, 11), 16) for number in (1, 2)])
    fires = masks(3, 2, (14, 11))
    usual = variants.convolution_step(rule, states, fires)
    ours = jax.vmap(lambda state, fire: dense_step(rule, state, fire))(states, fires)
    np.testing.assert_allclose(usual, ours, atol=1e-5)
    assert 0 < np.mean(np.asarray(ours)[..., 3] > 0.1) < 1


def test_a_body_is_cut_and_padded_around_its_middle():
    state = np.zeros((6, 6, 1))
    state[3, 3] = 1
    assert costs.recentred(state, 10)[5, 5] == 1
    assert costs.recentred(state, 4)[2, 2] == 1


@pytest.mark.parametrize("share", [0.1, 0.4, 1.0])
def test_a_block_lives_on_about_the_share_asked_for(share):
    organism, _ = scene.still(scene.Sizes(size=40, margin=16, hidden=4))
    said = costs._occupancy(organism, costs.block(organism, share))
    assert float(said["alive"].rstrip("%")) / 100 == pytest.approx(share, abs=0.02)


def test_clocks_are_read_in_turn_and_never_while_compiling():
    seen = []
    clocks = {name: lambda name=name: seen.append(name) or float(len(seen)) for name in "ab"}
    times = measure.alternate(clocks, {"a": 3, "b": 1})
    assert "".join(seen) == "ab" + "ab" + "a" + "a"
    assert times == {"a": [3.0, 5.0, 6.0], "b": [4.0]}
