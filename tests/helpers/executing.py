"""Notebooks run from top to bottom in a fresh folder; `python tests/executing.py` stores their outputs."""

import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
LONGEST = 1800  # seconds a cell


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def execute(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a new kernel that works in `folder`; the first error is raised."""
    places = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=LONGEST, kernel_name="python3", resources=places, record_timing=False).execute()
    return notebook


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]


def output_text(notebook: nbformat.NotebookNode) -> str:
    """All text of the outputs."""
    texts = []
    for out in outputs(notebook):
        texts.append(out.get("text", ""))
        texts += [text for kind, text in out.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join(texts)


def stored(number):
    return read(next(path for path in PATHS if path.name.startswith(str(number))))


def run(notebook, folder):
    """The text that a notebook prints when it is run."""
    done = execute(notebook, folder)
    assert not troubles(done)
    return output_text(done)


def troubles(notebook):
    """Errors and warnings among the outputs."""
    return [
        out
        for out in outputs(notebook)
        if out.output_type == "error" or out.get("name") == "stderr" or "Warning" in out.get("text", "")
    ]


def number(pattern, text):
    match = re.search(pattern, text)
    assert match, f"{pattern} is nowhere in\n{text}"
    return float(match[1].replace("−", "-"))


def main(names: list[str]) -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and not path.name.startswith(tuple(names)):
            continue
        begun, notebook = time.monotonic(), read(path)
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, Path(folder))
        # Versions and machines differ; results should not.
        notebook.metadata = {k: notebook.metadata[k] for k in ("kernelspec", "language_info")}
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)
        seconds, size = time.monotonic() - begun, path.stat().st_size
        sys.stdout.write(f"{path.name}: {seconds:.0f} s, {size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main(sys.argv[1:])
