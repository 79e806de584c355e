"""The notebooks as pages of the documentation, with their stored outputs; nothing is executed.

Each `notebooks/NAME.ipynb` becomes `docs/notebooks/NAME.md`, with its pictures in the same folder, before Sphinx looks
for sources. Git ignores that folder.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


PICTURES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}
LIST = "<!-- the notebooks -->"  # where docs/tutorials.md lists them
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
LINKS = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
SCRIPTS = re.compile(r"<script.*?</script>", re.DOTALL | re.IGNORECASE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages when the settings are known, and list them in the tutorials page."""
    app.connect("config-inited", lambda app, _: write_pages(Path(app.srcdir)))
    app.connect("source-read", _list_notebooks)
    app.connect("env-get-outdated", lambda *_: ["tutorials"])  # notebooks come and go
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(docs: Path) -> list[Path]:
    """Write a page for every notebook in the folder beside the documentation; returns the pages."""
    folder = docs / "notebooks"
    shutil.rmtree(folder, ignore_errors=True)
    pages = []
    for path in sorted((docs.parent / "notebooks").glob("*.ipynb")):
        folder.mkdir(exist_ok=True)
        page = folder / f"{path.stem}.md"
        page.write_text(_page(json.loads(path.read_text(encoding="utf-8")), folder, path.stem), "utf-8")
        pages.append(page)
    return pages


def _list_notebooks(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the list of notebooks into the tutorials page; an empty toctree would be a warning."""
    stems = sorted(page.stem for page in (Path(app.srcdir) / "notebooks").glob("*.md"))
    entries = "\n".join(f"notebooks/{stem}" for stem in stems)
    toctree = f"```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```" if stems else "*There is none yet.*"
    if name == "tutorials":
        source[0] = source[0].replace(LIST, toctree)


def _page(notebook: dict[str, Any], folder: Path, name: str) -> str:
    """A notebook as Markdown; its pictures are written into the folder."""
    parts = []
    for number, cell in enumerate(notebook["cells"]):
        source = _join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(LINKS.sub(_page_link, source))
        elif cell["cell_type"] == "code" and source.strip():
            parts.append(_code_block(source, "python"))
            for k, output in enumerate(cell.get("outputs", [])):
                parts.append(_output(output, folder, f"{name}-{number}-{k}"))
    return "\n\n".join(part for part in parts if part) + "\n"


def _page_link(link: re.Match[str]) -> str:
    """A link of a notebook as its page needs it: to the documentation, to another notebook, or none."""
    picture, label, target = link.groups()
    if target.startswith(("http:", "https:", "#")):
        return link[0]
    if target.startswith("../docs/"):
        return f"{picture}[{label}](../{target.removeprefix('../docs/')})"
    return f"[{label}]({target.removesuffix('.ipynb')}.md)" if target.endswith(".ipynb") else label


def _output(output: dict[str, Any], folder: Path, name: str) -> str:
    """One output of a cell: a picture, a table, or text."""
    if output["output_type"] == "stream":
        text = _join(output["text"])
        return "" if output["name"] == "stderr" else _code_block(ESCAPES.sub("", text), "text", "output")
    if output["output_type"] == "error":
        return _code_block(f"{output['ename']}: {output['evalue']}", "text", "output")
    data = output.get("data", {})
    for kind, suffix in (PICTURES | {"image/svg+xml": "svg"}).items():
        if kind in data:
            content = _join(data[kind])
            (folder / f"{name}.{suffix}").write_bytes(
                content.encode() if suffix == "svg" else base64.b64decode(content)
            )
            return f"![{_alt_text(output, kind)}]({name}.{suffix})"
    if "text/html" in data:
        return f'````{{raw}} html\n<div class="output html">{SCRIPTS.sub("", _join(data["text/html"]))}</div>\n````'
    if "text/markdown" in data:
        return _join(data["text/markdown"])
    return _code_block(_join(data["text/plain"]), "text", "output") if "text/plain" in data else ""


def _alt_text(output: dict[str, Any], kind: str) -> str:
    """What stands for a picture where it cannot be seen."""
    alt = output.get("metadata", {}).get(kind, {}).get("alt") or _join(output["data"].get("text/plain", ""))
    text = html.escape(alt).replace("[", "(").replace("]", ")")
    return text if text and not text.startswith("&lt;") else "output of the cell above"


def _code_block(text: str, language: str, css_class: str = "") -> str:
    """A block of code, or of what it printed."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text) or [""]))
    head = f"{fence}{{code-block}} {language}\n" + (f":class: {css_class}\n" if css_class else "")
    return f"{head}\n{text.rstrip()}\n{fence}" if text.strip() else ""


def _join(lines: Any) -> str:
    """Text that a notebook holds as one string or by lines."""
    return lines if isinstance(lines, str) else "".join(lines)
