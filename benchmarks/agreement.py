"""Our statistics of published organisms beside those of an independent implementation, as one table.

    python -m benchmarks.agreement ../shared/organisms [--seeds 8] [--late 0]

The folder holds `expected.json` and the organisms' own files; growth and wounds take the fire masks
that it names, so that the numbers must come out, not merely be near.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis import metrics
from analysis.assays.axes.decoding import position_tests
from analysis.assays.axes.pca import pca
from analysis.assays.regeneration.cuts import five_cuts
from analysis.recording import label_states
from analysis.rollouts import grow_runs, run_keys
from nca.damage import CUTS
from nca.errors import UserError
from nca.interop.importing import build_organism, open_weights
from nca.organism import Organism

FILES = {
    "distill-gecko-persistent": "distill-gecko-persistent/ex2_gecko.json",
    "distill-gecko-regenerating": "distill-gecko-regenerating/ex3_gecko.json",
    "distill-butterfly-growing": "distill-butterfly-growing/ex1_butterfly.json",
    "google-planarian (ex3_planarian.webgl8.json)": "google-planarian/ex3_planarian.webgl8.json",
}
WOUNDED = 4  # seeds that were cut
Row = tuple[str, float, float, float]


def organism(folder: Path, file: str) -> Organism:
    """A published organism from its author's file, with its picture where there is one."""
    path = folder / file
    bare = build_organism(open_weights(path, preset="distill-web"), name=path.parent.name)
    picture = path.parent / "target.png"
    target = None
    if picture.is_file():
        # These pictures are stored premultiplied, as the organisms were trained on them.
        target = np.asarray(Image.open(picture).convert("RGBA"), np.float32) / 255
    return Organism(bare.rule, seed=bare.seed, canvas=(72, 72), target=target, name=bare.name)


def masks(seed: int, steps: int) -> np.ndarray:
    """The fire masks of a seed, (step, y, x)."""
    return np.random.Generator(np.random.PCG64(seed)).random((steps, 72, 72)) <= 0.5


def growth(one: Organism, expected: dict[str, Any], seeds: int, late: int) -> Iterator[Row]:
    """L at 96 and 200, and at 2,000 for some seeds: the worst seed of each."""
    if one.target is None:
        return
    plan = {"96": seeds, "200": seeds} | ({"2000": late} if late else {})
    for step, count in plan.items():
        fire = np.stack([masks(seed, int(step)) for seed in range(count)])
        states = grow_runs(one, int(step), run_keys(0, count), fire=fire)
        ours = np.asarray(metrics.log_mse(metrics.mse(one.rule.spec, states, one.padded_target())))
        theirs = np.asarray(expected["L"][step][:count])
        worst = int(np.abs(ours - theirs).argmax())
        yield f"L at {step}, seed {worst}", float(ours[worst]), float(theirs[worst]), 1e-3


def wounds(one: Organism, expected: dict[str, Any], seeds: int) -> Iterator[Row]:
    """Recovered after each cut: the worst seed."""
    if "regeneration" not in expected:
        return
    count = min(seeds, WOUNDED)
    fire = np.stack([masks(seed, 700) for seed in range(count)])
    found = five_cuts(one, runs=count, fire=fire)
    for cut in CUTS:
        theirs = np.asarray(expected["regeneration"][cut]["recovered"][:count], float)
        ours = found.recovered.sel(wound=cut).values
        if not (np.isfinite(ours) & np.isfinite(theirs)).any():
            continue
        worst = int(np.nanargmax(np.abs(ours - theirs)))
        yield f"recovered {cut}, seed {worst}", float(ours[worst]), float(theirs[worst]), 1e-3


def place(one: Organism, expected: dict[str, Any], surrogates: int) -> Iterator[Row]:
    """PCA, decoders and surrogates at step 200, seed 0."""
    known = expected["axes"]["seed0"]
    states = np.asarray(grow_runs(one, 200, run_keys(0, 1), fire=masks(0, 200)[None]))
    recording = label_states(one, states[:, None], steps=[200])
    components = pca(recording)
    yield "variance of PC1", float(components.explained[0]), known["explained_hidden12"][0], 1e-3
    for k, pc in enumerate(known["pc"][:3]):
        yield f"plane R2 of PC{k + 1}", float(components.plane_r2[0, k]), pc["plane_r2"], 1e-3
        yield f"radius rank of PC{k + 1}", float(components.radius_correlation[0, k]), pc["abs_spearman_radius"], 1e-3
    repeated = position_tests(recording, components, surrogates=19)
    tests = position_tests(recording, components, surrogates=surrogates, cv_repeats=1)
    for name, theirs in known["decode"].items():
        row, mean = (t.sel(quantity=name, measure="r2") for t in (tests, repeated))
        yield f"A1 R2 of {name}", float(mean.observed), theirs["r2_deals_mean"], 2 * theirs["r2_deals_sd"]
        # p is of one assignment to folds, there and here; four standard errors of the difference, and the floor.
        error = 4 * np.sqrt(theirs["p"] * (1 - theirs["p"]) * (1 / 99 + 1 / surrogates)) + 0.02
        yield f"A2 p of {name}", float(row.p), theirs["p"], error


def main(words: list[str] | None = None) -> int:
    """Print the table; the exit code says whether all of it agrees."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--late", type=int, default=0, help="seeds followed to step 2,000")
    parser.add_argument("--surrogates", type=int, default=99)
    asked = parser.parse_args(words)
    try:
        expected = json.loads((asked.folder / "expected.json").read_text())
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{asked.folder} needs an expected.json: {error}\n")
        return 2
    missed = 0
    for name, file in FILES.items():
        try:
            one = organism(asked.folder, file)
        except UserError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        print(f"\n{name}\n{'statistic':28} {'ours':>9} {'theirs':>9} {'margin':>8}")
        known = expected[name]
        parts = (
            growth(one, known, asked.seeds, asked.late),
            wounds(one, known, asked.seeds),
            place(one, known, asked.surrogates),
        )
        for rows in parts:
            for what, ours, theirs, margin in rows:
                agrees = abs(ours - theirs) <= margin
                missed += not agrees
                fate = " (a body between two fates)" if what.startswith("recovered") and theirs < 0 else ""
                note = "" if agrees else f"DIFFERS{fate}"
                print(f"{what:28} {ours:9.4f} {theirs:9.4f} {margin:8.4f}  {note}".rstrip())
    print(f"\n{missed} differ by more than their margin." if missed else "\nAll are within their margins.")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
