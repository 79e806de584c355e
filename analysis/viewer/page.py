"""The page itself: template, style, code and organism in one file that needs no network."""

from __future__ import annotations

import html
import json
import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from analysis.viewer.data import described
from nca.errors import UserError
from nca.io import write
from nca.organism import Organism

MODULES = (
    "engine",
    "lab",
    "session",
    "serve",
    "colours",
    "dom",
    "charts",
    "film",
    "help",
    "theme",
    "time",
    "stage",
    "panel",
    "page",
)
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)
START = """
if (typeof document === "undefined") serve$.serveWorker();
else {
  const root = document.getElementById("nca");
  try {
    const organism = JSON.parse(document.getElementById("nca-organism").textContent);
    window.nca = page$.mount(root, organism, { code: document.getElementById("nca-code").textContent });
  } catch (error) {
    root.textContent = "This page could not start: " + error.message;
    throw error;
  }
}
"""


def page(organism: Organism, **says: Any) -> str:
    """The page of an organism; arguments as for `analysis.viewer.described`."""
    data = described(organism, **says)
    return Template(text("page.html")).substitute(
        title=html.escape(f"{organism.name}, alive"),
        heading=html.escape(organism.name),
        style=text("page.css"),
        data=inline(data),
        code=bundle() + START,
    )


def save(organism: Organism, path: str | Path, **says: Any) -> Path:
    """Write the page of an organism; arguments as for `analysis.viewer.described`.

    Raises:
        UserError: a name that does not end in .html, a canvas that a page could not hold, or a file
            that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"A page is an .html file, got {str(path)!r}.")
    return write(path, page(organism, **says))


def frame(organism: Organism, height: int = 900, **says: Any) -> str:
    """The page as an `<iframe>`, to stand inside another page."""
    inside = html.escape(page(organism, **says), quote=True)
    title = html.escape(f"{organism.name}, alive", quote=True)
    return (
        f'<iframe title="{title}" loading="lazy" style="width: 100%; height: {height}px; border: 0" '
        f'srcdoc="{inside}"></iframe>'
    )


def text(name: str) -> str:
    """One of the viewer's files."""
    return (resources.files("analysis.viewer") / name).read_text(encoding="utf-8")


def inline(data: Any) -> str:
    """JSON that can stand in a script element whatever the names in it hold."""
    said = json.dumps(data, ensure_ascii=True, allow_nan=False)
    return said.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def bundle() -> str:
    """The modules as one script: each in a scope of its own, in the order in which they need each other."""
    return "\n".join(_scoped(name, text(f"{name}.js")) for name in MODULES)


def _scoped(name: str, code: str) -> str:
    exported = EXPORT.findall(code)
    code = EXPORT.sub("", IMPORT.sub(r"const {\1} = \2$;\n", code))
    return f"const {name}$ = (() => {{\n{code}return {{ {', '.join(exported)} }};\n}})();"
