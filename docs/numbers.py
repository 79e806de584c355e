"""The numbers in README and docs: printed by cog blocks, from results that are kept in `docs/results/`.

    nca dissect lizard && python docs/numbers.py keep lizard-dissection/summary.json lizard
    PYTHONPATH=. cog -P -r README.md docs/guides/axes.md docs/guides/lesions.md docs/guides/regeneration.md

`cog -P --check`, which a test runs, fails where a page differs from the results.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ORGANISMS = (
    "lizard-growing",
    "lizard-persistent",
    "lizard-regenerating",
    "planarian-regenerating",
    "flag-regenerating",
    "starfish-regenerating",
)
CUTS = ("bottom", "top", "right", "left", "centre")


def keep(summary: Path, name: str) -> Path:
    """Copy what pages quote of a report's `summary.json`: claims, organisms, config and versions."""
    full = json.loads(summary.read_text())
    kept = {key: full[key] for key in ("command", "organisms", "config", "versions", "claims")}
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return path


def load_claims(name: str, assay: str) -> list[dict[str, Any]]:
    """The claims of one section of a kept report."""
    report = json.loads((RESULTS / f"{name}.json").read_text())
    return [claim for claim in report["claims"] if claim["assay"] == assay]


def claims(name: str, assay: str, *numbers: int) -> None:
    """Print claims of one section of a kept report, by their numbers in that section, from 0."""
    section = load_claims(name, assay)
    _print(" ".join(section[number]["text"] for number in numbers))


def questions(name: str = "lizard") -> None:
    """Print a table: each assay's question, its command, and its answer for one organism."""
    from analysis.assays import ASSAYS

    _print("| question | command | answer for the bundled lizard |", "|---|---|---|")
    for assay in ASSAYS:
        own = f"{name}-{assay.name}"  # the report of the assay's own command
        section = load_claims(own if (RESULTS / f"{own}.json").exists() else name, assay.name)
        if section:
            subject = f"{name} {name}" if assay.with_donor else name
            short = next((claim["answer"]["text"] for claim in section if claim.get("answer")), section[0]["text"])
            answer = short.replace("|", r"\|")  # a bar would end the cell
            _print(f"| {assay.question} | `nca {assay.command} {subject}` | {answer} |")


def organism_table() -> None:
    """Print a table of the bundled organisms, from the metrics in their files."""
    import nca

    columns = (
        "organism | training steps | log10 MSE at step 96 | at step 200 | at step 2,000 | "
        "recovered: bottom, top, right, left, centre"
    )
    _print(f"| {columns} |", "|---|---|---|---|---|---|")
    for name in ORGANISMS:
        organism = nca.load(name)
        error, recovered = organism.metrics["log10_mse"], organism.metrics["recovered"]
        values = [recovered[cut]["median"] if cut in recovered else None for cut in CUTS]
        known = any(value is not None for value in values)
        cuts = ", ".join(f"{v:.2f}" if v is not None else "-" for v in values) if known else "not defined: it overgrows"
        steps = _training_steps(organism.provenance)
        errors = " | ".join(f"{error[step]:.2f}" for step in ("96", "200", "2000"))
        _print(f"| `{name}` | {steps:,} | {errors} | {cuts} |")


def runs_below(name: str, least: float = 0.9) -> None:
    """Print the cut after which most of an organism's runs recover less than `least`, from the metrics in its file."""
    import nca

    recovered = nca.load(name).metrics["recovered"]
    low = {cut: [n for n, value in enumerate(recovered[cut]["runs"]) if (value or 0) < least] for cut in CUTS}
    cut = max(low, key=lambda name: len(low[name]))
    whole = sum((recovered[cut]["displaced"][n] or 0) >= least for n in low[cut])
    _print(
        f"In 24 further runs, {len(low[cut])} recover less than {least} after the {cut} cut; {whole} of them "
        "are whole bodies that stand a few cells from where they stood."
    )


def _training_steps(provenance: dict[str, Any]) -> int:
    """Training steps of an organism and of its ancestors."""
    ancestor = provenance.get("started_from")
    return provenance["steps"] + (_training_steps(ancestor) if ancestor else 0)


def _print(*lines: str) -> None:
    """Print lines, paragraphs wrapped; cog puts them into the page."""
    for line in lines:
        text = line if line.startswith("|") else textwrap.fill(line, 120)
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command != "keep" or len(arguments) != 2:
        sys.exit("python docs/numbers.py keep SUMMARY.json NAME")
    sys.stdout.write(f"{keep(Path(arguments[0]), arguments[1])}\n")
