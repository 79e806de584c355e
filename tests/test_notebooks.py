"""The notebooks run from top to bottom, print what their text says, use public names only, and are small and clean."""

import ast
import re

import pytest
from helpers import executing
from helpers.executing import errors_and_warnings, number, run, stored

PATHS = executing.PATHS
MAX_BYTES, MAX_TOTAL_BYTES = 1_500_000, 5_000_000
MACHINE_PATHS = re.compile(r"/(?:work|tmp|root|home|Users|usr|var|private)/|site-packages|[A-Z]:\\\\")
each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def test_there_are_five():
    assert [path.name[0] for path in PATHS] == list("12345")


@each
def test_it_is_stored_with_outputs_and_without_errors_or_warnings(path):
    notebook = executing.read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum("image/png" in out.get("data", {}) for out in executing.outputs(notebook)) >= 2
    assert not errors_and_warnings(notebook)


@each
def test_it_holds_no_path_of_a_machine_and_no_time(path):
    notebook, text = executing.read(path), path.read_text()
    assert not MACHINE_PATHS.search(re.sub(r'"image/png": "[^"]*"', "", text))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(not cell.metadata for cell in notebook.cells)


@each
def test_it_defines_nothing(path):
    for cell in executing.read(path).cells:
        if cell.cell_type == "code":
            nodes = ast.walk(ast.parse(cell.source))
            definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
            assert not [node for node in nodes if isinstance(node, definitions)], cell.source


@each
def test_it_uses_public_names_only(path):
    for cell in executing.read(path).cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.ImportFrom):
                    assert node.module.count(".") <= 2, cell.source
                    assert not [name.name for name in node.names if name.name.startswith("_")], cell.source
                if isinstance(node, ast.Attribute):
                    assert not re.match("_[^_]", node.attr), cell.source


def test_they_are_small():
    sizes = [path.stat().st_size for path in PATHS]
    assert max(sizes) < MAX_BYTES
    assert sum(sizes) < MAX_TOTAL_BYTES


def test_a_starfish_is_trained_from_nothing_and_a_lizard_heals(quiet):
    text = run(stored(1), quiet)
    trained, late, empty = (number(rf"{what} (-\d\.\d+)", text) for what in ("step 50", "step 200", "canvas"))
    wounded, healed = number(r"cut (-\d\.\d+)", text), number(r"100 steps later (-\d\.\d+)", text)
    assert max(trained, late, healed) < empty - 1  # a tenth of the error of an empty canvas
    assert wounded > healed + 1
    assert number(r"after (\d) of 5 cuts", text) >= 3
    assert "a cut in the empty margin changes nothing" in text


def test_a_published_organism_agrees_with_its_reference_and_a_mistaken_reading_does_not(published, quiet):
    text = run(stored(4), quiet)
    assert "The published gecko is here." in text
    right, wrong, every = (number(p, text) for p in (r"as stated (\d+)", r"swapped (\d+)", r", of (\d+)\."))
    assert right == every > wrong
    assert "distill-web" in text


def test_a_bundled_organism_stands_in_where_none_is_published(quiet):
    notebook = stored(4)
    # What comes after is the same with any organism.
    last = next(n for n, cell in enumerate(notebook.cells) if cell.source.startswith("## From here on"))
    notebook.cells = notebook.cells[:last]
    for cell in notebook.cells:
        cell.source = cell.source.replace('"shared"', '"nowhere"')
    text = run(notebook, quiet)
    assert "the bundled lizard, written as the same kind of file, stands in" in text
    assert number(r"weights move by (\d\.\d+)\.", text) < 0.05


def test_cells_as_single_cell_data_show_what_usual_tests_are_worth(quiet):
    text = run(stored(5), quiet)
    assert "12 of 12 channels of the lizard are spatial" in text
    assert "12 of 12 of a surrogate" in text
    assert re.search(r"Beyond the surrogates \(q ≤ 0.05\): age", text)
    assert number(r"age: \|ρ\| (\d\.\d+)", text) > number(r"surrogates (\d\.\d+)", text) + 0.2
