"""What importing costs and what may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nca

HOME = Path(nca.__file__).parent


def loaded_after(statement):
    """The names of the modules that are loaded after a statement in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HOME.parent)
    return set(process.stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import nca", "import nca.errors", "from nca import UserError", "import nca.training.config"],
)
def test_what_the_command_line_needs_first_loads_no_jax(statement):
    assert not {"jax", "jaxlib", "numpy", "flax"} & loaded_after(statement)


def test_a_public_name_loads_what_it_needs_when_it_is_used():
    assert "jax" in loaded_after("import nca\nnca.grow")


def test_every_public_name_is_there():
    assert set(nca.__all__) == {
        *("Organism", "Rule", "Spec", "TrainConfig", "UserError", "bundled", "change_basis", "damage", "edits"),
        *("grow", "load", "replay", "run_key", "save", "targets", "train", "trajectory"),
    }
    for name in nca.__all__:
        assert getattr(nca, name) is not None
    assert set(nca.__all__) <= set(dir(nca))
    with pytest.raises(AttributeError, match="growl"):
        nca.growl  # noqa: B018


def test_nothing_in_nca_imports_analysis():
    for file in HOME.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(n.split(".")[0] == "analysis" for n in names), file


def test_the_name_train_stays_a_function_whatever_was_imported_before():
    code = "import nca.training.loop, nca; assert nca.train is nca.training.loop.train"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_public_names_stay_what_they_are_whatever_modules_are_imported():
    modules = ", ".join(f"nca.{file.stem}" for file in HOME.glob("[a-z]*.py"))
    used = "import nca\n" + "\n".join(f"import {name}" for name in modules.split(", "))
    functions = "assert all(callable(getattr(nca, n)) for n in ('train', 'grow', 'load', 'save', 'replay'))"
    assert "nca.rollout" in loaded_after(f"{used}\n{functions}")
