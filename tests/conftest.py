"""What all tests share: shapes checked while they run, and the folder of published organisms."""

import importlib.util
import os
from pathlib import Path

import jax
import pytest
from jaxtyping import install_import_hook

# Where numbers are worked out, every annotated shape is checked at every call that the tests make. Not so
# at the border, which takes NumPy arrays too and answers mistakes by sentences of its own.
INNER = ("kernels", "perception", "sparse", "step", "training.step", "unroll")
if importlib.util.find_spec("beartype"):
    import helpers.checking  # noqa: F401 (the hook names it, and does not import it)

    install_import_hook([f"nca.{name}" for name in INNER], "helpers.checking.checked")


MAX_RESIDENT_BYTES = 3e9


@pytest.fixture(scope="module", autouse=True)
def forget():
    """Programs that the tests compiled are dropped before they fill the memory; until then the next file uses them."""
    yield
    resident = Path("/proc/self/statm")
    pages = int(resident.read_text().split()[1]) if resident.exists() else float("inf")
    if pages * 4096 > MAX_RESIDENT_BYTES:
        jax.clear_caches()


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder of organisms that other people trained; in CI its absence is a failure."""
    folder = Path(__file__).parents[2] / "shared" / "organisms"
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs the published organisms in {folder}")
        pytest.skip("the published organisms are not beside this checkout")
    return folder


@pytest.fixture
def quiet(monkeypatch, tmp_path):
    """Kernels that see this package, and draw on no screen."""
    root = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", root)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    return tmp_path
