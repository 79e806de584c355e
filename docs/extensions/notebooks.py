"""The notebooks as pages, from the outputs that they were committed with; nothing is executed.

Each `notebooks/NAME.ipynb` becomes `docs/notebooks/NAME.md` and the pictures beside it, before Sphinx
looks for sources. Git ignores them. Where there is no notebook there is no page.
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
PLACE = "<!-- the notebooks -->"
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
LINKS = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
SCRIPTS = re.compile(r"<script.*?</script>", re.DOTALL | re.IGNORECASE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages when the settings are known, and list them where the tutorials are listed."""
    app.connect("config-inited", lambda app, _: write(Path(app.srcdir)))
    app.connect("source-read", list_them)
    app.connect("env-get-outdated", lambda *_: ["tutorials"])  # notebooks come and go
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def list_them(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the list of notebooks where the tutorials page says so; a list of none would be a warning."""
    found = sorted(page.stem for page in (Path(app.srcdir) / "notebooks").glob("*.md"))
    listed = "\n".join(f"notebooks/{stem}" for stem in found)
    toctree = f"```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```" if found else "*There is none yet.*"
    if name == "tutorials":
        source[0] = source[0].replace(PLACE, toctree)


def write(docs: Path) -> list[Path]:
    """Every notebook beside the documentation as a page; returns the pages."""
    folder = docs / "notebooks"
    shutil.rmtree(folder, ignore_errors=True)
    pages = []
    for path in sorted((docs.parent / "notebooks").glob("*.ipynb")):
        folder.mkdir(exist_ok=True)
        page = folder / f"{path.stem}.md"
        page.write_text(text(json.loads(path.read_text(encoding="utf-8")), folder, path.stem), "utf-8")
        pages.append(page)
    return pages


def text(notebook: dict[str, Any], folder: Path, name: str) -> str:
    """A notebook as Markdown; its pictures are written into the folder."""
    parts = []
    for number, cell in enumerate(notebook["cells"]):
        source = joined(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(LINKS.sub(linked, source))
        elif cell["cell_type"] == "code" and source.strip():
            parts.append(fenced(source, "python"))
            for k, output in enumerate(cell.get("outputs", [])):
                parts.append(shown(output, folder, f"{name}-{number}-{k}"))
    return "\n\n".join(part for part in parts if part) + "\n"


def linked(link: re.Match[str]) -> str:
    """A link of a notebook as it is from its page: to the documentation, to another notebook, or none."""
    picture, words, target = link.groups()
    if target.startswith(("http:", "https:", "#")):
        return link[0]
    if target.startswith("../docs/"):
        return f"{picture}[{words}](../{target.removeprefix('../docs/')})"
    return f"[{words}]({target.removesuffix('.ipynb')}.md)" if target.endswith(".ipynb") else words


def shown(output: dict[str, Any], folder: Path, name: str) -> str:
    """One output of a cell: a picture, a table, or text."""
    if output["output_type"] == "stream":
        said = joined(output["text"])
        return "" if output["name"] == "stderr" else fenced(ESCAPES.sub("", said), "text", "output")
    if output["output_type"] == "error":
        return fenced(f"{output['ename']}: {output['evalue']}", "text", "output")
    data = output.get("data", {})
    for kind, suffix in PICTURES.items():
        if kind in data:
            (folder / f"{name}.{suffix}").write_bytes(base64.b64decode(joined(data[kind])))
            return f"![{caption(data)}]({name}.{suffix})"
    if "image/svg+xml" in data:
        (folder / f"{name}.svg").write_text(joined(data["image/svg+xml"]), "utf-8")
        return f"![{caption(data)}]({name}.svg)"
    if "text/html" in data:
        kept = SCRIPTS.sub("", joined(data["text/html"]))
        return raw(f'<div class="output html">{kept}</div>')
    if "text/markdown" in data:
        return joined(data["text/markdown"])
    return fenced(joined(data["text/plain"]), "text", "output") if "text/plain" in data else ""


def caption(data: dict[str, Any]) -> str:
    """What a picture is, in the words that came with it."""
    said = html.escape(joined(data.get("text/plain", ""))).replace("[", "(").replace("]", ")")
    return said if said and not said.startswith(("&lt;", "<")) else "output of the cell above"


def fenced(said: str, language: str, kind: str = "") -> str:
    """A block of code, or of what it printed."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", said) or [""]))
    head = f"{fence}{{code-block}} {language}\n" + (f":class: {kind}\n" if kind else "")
    return f"{head}\n{said.rstrip()}\n{fence}" if said.strip() else ""


def raw(said: str) -> str:
    """HTML as it is."""
    return "````{raw} html\n" + said + "\n````"


def joined(lines: Any) -> str:
    """Text that a notebook holds whole or by lines."""
    return lines if isinstance(lines, str) else "".join(lines)
