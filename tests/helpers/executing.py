"""Notebooks run from top to bottom in a fresh folder.

`python tests/helpers/executing.py 1 3` runs notebooks 1 and 3 and stores their outputs.
"""

import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
MAX_SECONDS = 1800  # of a cell


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def execute(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a new kernel that works in `folder`; the first error is raised."""
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, timeout=MAX_SECONDS, kernel_name="python3", resources=resources, record_timing=False
    )
    client.execute()
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
    """The notebook of this number as it is stored."""
    return read(next(path for path in PATHS if path.name.startswith(str(number))))


def run(notebook, folder):
    """The text of the outputs of a notebook that is run now."""
    notebook = execute(notebook, folder)
    assert not errors_and_warnings(notebook)
    return output_text(notebook)


def errors_and_warnings(notebook):
    """Errors and warnings among the outputs."""
    return [
        out
        for out in outputs(notebook)
        if out.output_type == "error" or out.get("name") == "stderr" or "Warning" in out.get("text", "")
    ]


def number(pattern, text):
    """The number that the group of the pattern matches."""
    match = re.search(pattern, text)
    assert match, f"{pattern} does not occur in\n{text}"
    return float(match[1].replace("−", "-"))


def main(names: list[str]) -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and not path.name.startswith(tuple(names)):
            continue
        start, notebook = time.monotonic(), read(path)
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, Path(folder))
        # Versions and machines differ; results should not.
        notebook.metadata = {k: notebook.metadata[k] for k in ("kernelspec", "language_info")}
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)
        seconds, size = time.monotonic() - start, path.stat().st_size
        sys.stdout.write(f"{path.name}: {seconds:.0f} s, {size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main(sys.argv[1:])
