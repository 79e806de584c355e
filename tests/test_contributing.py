"""The worked example in CONTRIBUTING: a new assay is its own files and one line in ASSAYS."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = re.compile(r"^`(analysis/[\w/]+\.py)`.*?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
MAX_FILES = 12
DOCS_AND_TESTS = 4  # docs page, methods section, test, entry in __init__.pyi


def example_files():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.split("## Add an assay")[1].split("\n## ")[0]
    files = dict(FILE.findall(section))
    entry = re.search(r"^    (Assay\(.*)$", section, re.MULTILINE)[1]
    return files, entry


def add_assay(package, files, entry):
    """Write the example's files, and its line and import into the list of assays."""
    for name, source in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    listing = package / "analysis/assays/__init__.py"
    text = listing.read_text()
    first_import = "from analysis.assays.axes.config import AxesConfig\n"
    added = "from analysis.assays.symmetry.config import SymmetryConfig\n"
    text = text.replace(first_import, first_import + added, 1)
    start = text.index("ASSAYS = (")
    listing.write_text(text[:start] + text[start:].replace("\n)\n", f"\n    {entry}\n)\n", 1))


def test_an_assay_is_at_most_12_files_and_none_of_another_assay():
    files, _ = example_files()
    assert len(files) == 5
    assert all(name.startswith("analysis/assays/symmetry/") for name in files)
    assert len(files) + 1 + DOCS_AND_TESTS <= MAX_FILES


def test_the_example_assay_runs_as_a_command_and_in_a_dissection(tmp_path):
    for package in ("nca", "analysis"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    add_assay(tmp_path, *example_files())
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    small = ["flag", "--runs", "2", "--adult-step", "60"]
    command = [sys.executable, "-m", "analysis.cli", "symmetry", *small, "--out", str(tmp_path / "page")]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    summary = json.loads((tmp_path / "page" / "summary.json").read_text())
    (claim,) = summary["claims"]
    assert claim["assay"] == "symmetry"
    assert claim["numbers"]["ratio"] > 1
    assert {row["quantity"] for row in claim["evidence"]} == {"mirror", "next_run"}
    listed = "from analysis.assays import ASSAYS; from analysis.cli.assay import assay_commands; "
    listed += "assert 'symmetry' in assay_commands() and 'symmetry' in [a.name for a in ASSAYS]"
    subprocess.run([sys.executable, "-c", listed], cwd=tmp_path, env=environment, check=True)
