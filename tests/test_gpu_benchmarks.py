"""The GPU benchmarks run without a GPU, show no figure of it, and judge by the rules that they state."""

import json

import jax
import numpy as np
import pytest

from benchmarks import gpu, sweep
from benchmarks.gpu_profile import Peak, bound, launches, peak_of
from benchmarks.measure import Table

PROGRAM = """HloModule jit_flat, entry_computation_layout={()->f32[]}

%fused_computation (p: f32[]) -> f32[] {
  %p = f32[] parameter(0)
  ROOT %c = f32[] copy(%p)
}

%body (p: (s32[], f32[])) -> (s32[], f32[]) {
  %p = (s32[], f32[]) parameter(0)
  %f = (s32[], f32[8,16]{1,0}) fusion(%p), kind=kLoop, calls=%fused_computation
  %g = f32[8,16]{1,0} custom-call(%f), custom_call_target="__cublas$gemm"
  ROOT %t = (s32[], f32[]) tuple(%f, %g)
}

%condition (p: (s32[], f32[])) -> pred[] {
  %p = (s32[], f32[]) parameter(0)
  ROOT %lt = pred[] fusion(%p), kind=kLoop, calls=%fused_computation
}

ENTRY %main (x: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %first = f32[] fusion(%x), kind=kLoop, calls=%fused_computation
  %loop = (s32[], f32[]) while(%first), condition=%condition, body=%body
  ROOT %last = f32[] copy(%loop)
}
"""


def test_kernels_are_counted_in_loops_and_beside_them_and_not_within_a_fusion():
    assert launches(PROGRAM) == (2, 3)


@pytest.mark.parametrize(
    ("flops", "moved", "expected"),
    [(1e9, 1e6, "launch-bound"), (3e9, 9e6, "memory-bound"), (9e9, 3e6, "compute-bound")],
)
def test_what_binds_a_program_follows_the_stated_rule(flops, moved, expected):
    # In 10 us, a device of 1,000 TFLOP/s and 1 TB/s does 10 GFLOP or moves 10 MB at most.
    assert bound(1e-5, flops, moved, Peak(1000.0, 1.0)) == expected
    assert bound(1e-5, flops, moved, None) == "unknown"


@pytest.mark.parametrize(
    ("kind", "memory"),
    [
        ("NVIDIA H100 80GB HBM3", 3.35),
        ("NVIDIA H200", 4.8),
        ("NVIDIA A100-SXM4-40GB", 1.555),
        ("NVIDIA L4", 0.3),
    ],
)
def test_the_peaks_of_known_devices(kind, memory):
    assert peak_of(kind).memory == memory
    assert peak_of("NVIDIA L40S") is None
    assert peak_of("cpu") is None


def tables(**changes):
    """Measured tables that reach every aim, with changes."""
    says = {"whole": 59.0, "population": 14.0, "cax": 30.0, "sweep": 2.5} | changes
    minutes = "minutes of 8000 steps"
    rows = {
        "whole": [{"variant": "plain XLA", "seconds": says["whole"]}],
        "population": [
            {"variant": "plain XLA", "members": 1, minutes: 1.0},
            {"variant": "plain XLA", "members": 32, minutes: says["population"]},
        ],
        "cax": [{"variant": "plain XLA", "ms, best": 10.0}, {"variant": "CAX 0.4", "ms, best": says["cax"]}],
        "sweep": [{"way": "sweep, 0 stopped", "s, median": says["sweep"]}],
    }
    return [Table(name, name, "", found) for name, found in rows.items()]


@pytest.mark.parametrize("missed", [None, "whole", "population", "cax", "sweep"])
def test_aims_are_met_or_missed_one_by_one(missed):
    worse = {"whole": 61.0, "population": 16.0, "cax": 19.0, "sweep": 3.5}
    found = gpu.aims(tables(**({missed: worse[missed]} if missed else {})))
    met = dict(zip(worse, (row["met"] for row in found.rows), strict=True))
    assert met == {name: "no" if name == missed else "yes" for name in worse}
    assert [row["met"] for row in gpu.aims([]).rows] == [None] * 4


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="here there is a GPU to measure")
def test_without_a_gpu_the_quick_run_shows_and_saves_no_figure(tmp_path, capsys):
    gpu.main(gpu.Options(only="profile", save=True, results=tmp_path))
    assert "Saved as" in capsys.readouterr().out
    (path,) = tmp_path.glob("*-gpu-cpu-cpu-*-cores.json")
    profile, aims = json.loads(path.read_text())["tables"]
    assert [row["program"] for row in profile["rows"]] == ["forward", "forward and gradient", "training step"]
    figures = [v for t in (profile, aims) for row in t["rows"] for k, v in row.items() if k not in gpu.LABELS]
    assert len(figures) > 30
    assert not any(figures)
    assert path.with_suffix(".md").read_text().count("not measured") > 30


def test_the_sweep_and_the_loop_of_single_runs_find_the_same():
    work = sweep.work(quick=True)
    found, alone = sweep.by_sweep(work), sweep.by_loop(work)
    np.testing.assert_allclose(found.log_mse, alone, atol=1e-4)
    assert len(set(np.round(alone, 3))) > 1
    (row, _) = sweep.sweep_table(work, 1).rows
    assert row["runs"] == 12
    assert row["against the loop"] > 0
