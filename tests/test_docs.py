"""What README, CONTRIBUTING and docs/ say exists: files, commands, options, calls, fields of files."""

import ast
import builtins
import importlib
import importlib.util
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from helpers import bodies
from safetensors import safe_open

import nca
from analysis.cli import main as cli
from analysis.cli.parse import parse_command
from analysis.report.model import Claim, Report, Section, evidence
from analysis.viewer import sessions

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if "notebooks" not in p.parts),
]
KINDS = cli.COMMANDS
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(`{3,})([^\n]*)\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
OURS = ("nca", "analysis")
INLINE = re.compile(r"`([^`\n]+)`")


def each_page(pages=PAGES):
    return pytest.mark.parametrize("page", pages, ids=lambda p: str(p.relative_to(ROOT)))


def prose(text):
    """The text outside fenced blocks."""
    return FENCE.sub("", text)


def typed_lines(text):
    """Every line of an indented block, and every run of code in a line, without what follows a #."""
    lines = re.findall(r"^ {4,}(\S.*)$", prose(text), re.MULTILINE)
    lines += [piece for line in prose(text).splitlines() if line[:4].strip() for piece in INLINE.findall(line)]
    return [part.split(" #")[0].strip() for line in lines for part in line.split("&&")]


def headings(text):
    """The anchors of a page: those given, and those that headings make."""
    titles = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", h.replace("`", "").lower()).strip().replace(" ", "-") for h in titles}
    return slugs | set(re.findall(r"^\((.+)\)=$", text, re.MULTILINE))


def test_there_are_pages():
    assert len(PAGES) > 15


@each_page()
def test_links_lead_to_files_and_to_headings_in_them(page):
    for target in LINK.findall(prose(page.read_text())):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.is_file(), f"{page.name} links to {target}"
        if anchor and place.suffix == ".md":
            assert anchor in headings(place.read_text()), f"{page.name} links to {target}"


@each_page()
def test_commands_and_their_options_exist(page):
    for line in typed_lines(page.read_text()):
        words = shlex.split(line) if line.startswith("nca ") else []
        if len(words) < 2 or {"...", "COMMAND"} & set(words):
            continue
        assert words[1] in KINDS or words[1:] in (["--help"], ["--version"]), line
        if len(words) > 2 and "--help" not in words:
            record = parse_command(words[1:], KINDS, "")
            assert type(record) is KINDS[words[1]], line


def options_of(kind):
    """The options of a command, those of its config among them."""
    names = set()
    for name, field in kind.__dataclass_fields__.items():
        inner = field.default_factory
        if inspect.isclass(inner) and hasattr(inner, "__dataclass_fields__"):
            names |= options_of(inner)
        given = [getattr(a, "name", None) for a in getattr(field.type, "__metadata__", ())]
        names.add("--" + next((g for g in given if g), name).replace("_", "-"))
    return names


def test_options_named_in_a_line_belong_to_some_command():
    options = {"--help", "--version", "--from"}
    options |= {option for kind in KINDS.values() for option in options_of(kind)}
    assert {"--wound", "--surrogates", "--epistasis-runs"} <= options
    for page in PAGES:
        for code in INLINE.findall(prose(page.read_text())):
            if code.startswith("--"):
                assert code.split()[0].split("=")[0] in options, f"{page.name} names {code}"


def snippets():
    for page in PAGES[:1] + PAGES[2:]:  # test_contributing.py runs the example of CONTRIBUTING
        blocks = [body for _, kind, body in FENCE.findall(page.read_text()) if kind.strip() == "python"]
        if blocks:
            yield pytest.param("\n".join(blocks), id=str(page.relative_to(ROOT)))


def bound(tree):
    """What the imports of a snippet bind, by name; each of them must exist, if its package is installed."""
    names = {}
    for node in ast.walk(tree):
        source = getattr(node, "module", None)
        if source and not source.startswith(OURS) and not importlib.util.find_spec(source.split(".")[0]):
            names |= {alias.asname or alias.name: None for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found = importlib.import_module(alias.name)
                names[alias.asname or alias.name.split(".")[0]] = found
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                source = importlib.import_module(node.module)
                found = getattr(source, alias.name, None)
                found = found or importlib.import_module(f"{node.module}.{alias.name}")
                names[alias.asname or alias.name] = found
    return names


def reached(node, names):
    """What an expression such as `nca.edits.scale` is, or None where that follows from no import."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        base = reached(node.value, names)
        if inspect.ismodule(base):
            assert hasattr(base, node.attr), f"{base.__name__} has no {node.attr}"
            return getattr(base, node.attr)
    return None


@pytest.mark.parametrize("source", list(snippets()))
def test_python_snippets_use_names_and_arguments_that_exist(source):
    tree = ast.parse(source)
    names = bound(tree)
    assigned = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    assigned |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    assigned |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            assert node.id in names or node.id in assigned or hasattr(builtins, node.id), node.id
        if isinstance(node, ast.Attribute):
            reached(node, names)
        if isinstance(node, ast.Call) and callable(call := reached(node.func, names)):
            inspect.signature(call).bind(*node.args, **{k.arg: k.value for k in node.keywords})


# Examples that are run, made small: page, and what is put in place of what.
SMALL_TRAINING = "pool_size=8, min_steps=9, max_steps=9, hidden_size=16, plot_every=0, "
EXAMPLES = {
    "guides/train.md": {"steps=600": f"{SMALL_TRAINING}steps=2"},
    "guides/sweeps.md": {
        "range(12) for d in (0.99, 0.95)": "[3] for d in (0.99,)",
        "runs=8, adult_step=200, eval_steps=(60, 300)": "runs=1, adult_step=20, eval_steps=(5,)",
        'metrics=["fitness", red_left]': 'metrics=["fitness", red_left], runs=1, adult_step=20, eval_steps=(5,)',
        "steps=200, runs=4": "steps=200, runs=1, every=20",
    },
    "guides/axes.md": {
        "analysis.AxesConfig.quick()": "analysis.AxesConfig(surrogates=19, runs=2, cv_repeats=1, weight_shuffles=0, "
        "long_wave_surrogates=0, time_course_surrogates=0, random_directions=0, angles=())",
        "steps=200, runs=4": "steps=200, runs=2, every=50",
        "surrogates=249": "surrogates=19, cv_repeats=1",
        "(hidden, pooled)": "(hidden, pooled, cv_repeats=1)",
    },
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = [body for _, kind, body in FENCE.findall((ROOT / "docs" / name).read_text()) if kind.strip() == "python"]
    source = "\n".join(["import nca", *blocks])
    for old, new in EXAMPLES[name].items():
        assert old in source
        source = source.replace(old, new)
    exec(compile(source, name, "exec"), {})


@each_page([*PAGES, *sorted((ROOT / "docs").rglob("*.py")), *sorted((ROOT / "docs").rglob("*.rst"))])
def test_pages_name_no_place_of_one_machine(page):
    assert not re.search(r"(?<![\w.])/(?:work|tmp|root|home|Users)/|localhost|127\.0\.0\.1", page.read_text())


def test_documented_calls_exist():
    for page in (ROOT / "docs" / "api").glob("*.rst"):
        lines = re.findall(r"^\.\. auto(\w+):: (\S+)(?:\n   :members: (.+))?$", page.read_text(), re.MULTILINE)
        assert len(lines) > 20
        for kind, name, members in lines:
            module, _, last = name.rpartition(".")
            if kind == "module":
                owner = importlib.import_module(name)
            else:
                owner = getattr(importlib.import_module(module), last)
            for member in filter(None, (members or "").split(", ")):
                assert hasattr(owner, member) or member in owner.__dataclass_fields__, f"{name}.{member}"


def table_under(page, heading):
    """The first column of the first table under a heading: the names in code there."""
    text = page.read_text().split(f"\n{heading}\n", 1)[1].split("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in INLINE.findall(row.split("|")[1])]


def test_summary_json_is_as_its_page_says(tmp_path):
    page = ROOT / "docs" / "formats.md"
    rows = evidence({"quantity": "body", "measure": "cells", "value": 12})
    section = Section("size", "Size", [Claim("size", "It is small.", rows, {"cells": 12})])
    section = replace(section, tables={"size": pd.DataFrame({"cells": [12]})})
    Report("nca pca", [bodies.static_organism()], [section], {"adult_step": 200}).save(tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert table_under(page, "## summary.json") == list(summary)
    assert summary["command"] == "nca pca"
    assert summary["tables"] == {"size": [{"cells": 12}]}
    text = page.read_text().split("## summary.json")[1]
    for key in ("organisms", "claims"):
        described = re.search(rf"An entry of\s+`{key}` has\s+(.*?)\.", text, re.DOTALL)[1]
        assert set(INLINE.findall(described)) == set(summary[key][0]), key


def test_files_of_organisms_and_edits_are_as_their_page_says(tmp_path):
    page, body = ROOT / "docs" / "formats.md", bodies.static_organism()
    with safe_open(nca.save(body, tmp_path / "a.safetensors"), framework="numpy") as file:
        tensors, note = set(file.keys()), json.loads(file.metadata()["organism"])
    listed = table_under(page, "## An organism")
    assert {re.sub(r"\d+$", "N", name) for name in tensors} <= set(listed)
    assert set(note) <= set(listed)
    edit = nca.edits.to_json(nca.edits.scale(body, 0.5).at(3))
    assert set(table_under(page, "## Edits")) == set(edit)


def test_sessions_are_as_their_page_says():
    body = bodies.static_organism()
    session = {
        "seed": 1,
        "run": 2,
        "canvas": [24, 24],
        "steps": 3,
        "compass": [[2, 0.5]],
        "edits": [],
        "arrays": {},
    }
    session |= {"format": sessions.FORMAT, "organism": body.name, "hash": body.hash}
    assert set(table_under(ROOT / "docs" / "formats.md", "## Sessions of the viewer")) == set(session)
    assert sessions.Session.from_json(session, body).compass == ((2, 0.5),)
    for key in set(session) - {"format", "organism"}:
        with pytest.raises(nca.UserError):
            sessions.Session.from_json({k: v for k, v in session.items() if k != key}, body)


# The notebooks as pages


def extension(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "extensions" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_notebook_becomes_a_page_of_what_it_was_committed_with(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "docs").mkdir()
    cells = [
        {
            "cell_type": "markdown",
            "source": ["# Title\n", "See [methods](../docs/methods.md#axes), [x](../x)."],
        },
        {
            "cell_type": "code",
            "source": "raise SystemExit('executed')",
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["said\n"]},
                {"output_type": "display_data", "data": {"image/png": "aGVsbG8=", "text/plain": "<Figure>"}},
                {
                    "output_type": "display_data",
                    "data": {"image/png": "aGVsbG8=", "text/plain": "<Image>"},
                    "metadata": {"image/png": {"alt": "five-cuts"}},
                },
                {"output_type": "execute_result", "data": {"text/html": "<script>1</script><p>t</p>"}},
            ],
        },
    ]
    (tmp_path / "notebooks" / "1-a.ipynb").write_text(json.dumps({"cells": cells}))
    (page,) = extension("notebooks").write_pages(tmp_path / "docs")
    text = page.read_text()
    assert "[methods](../methods.md#axes), x." in text
    assert "said" in text
    assert "<p>t</p>" in text
    assert "script" not in text
    assert "![output of the cell above](1-a-1-1.png)" in text
    assert "![five-cuts](1-a-1-2.png)" in text
    assert (page.parent / "1-a-1-1.png").read_bytes() == b"hello"


def test_without_notebooks_there_are_no_pages(tmp_path):
    (tmp_path / "docs").mkdir()
    assert extension("notebooks").write_pages(tmp_path / "docs") == []


def test_numbers_in_pages_are_those_of_the_kept_results():
    pages = [
        path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if "[[[cog" in path.read_text()
    ]
    command = [sys.executable, "-m", "cogapp", "-P", "--check", *map(str, pages)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    check = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr


def test_kept_results_are_of_organisms_that_are_bundled_now():
    for path in sorted((ROOT / "docs" / "results").glob("*.json")):
        for organism in json.loads(path.read_text())["organisms"]:
            assert organism["hash"] == nca.load(organism["name"]).hash
