"""The page itself: template, style, code and organism in one file that needs no network."""

from __future__ import annotations

import html
import json
import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from analysis.viewer.data import page_data
from nca.errors import UserError
from nca.files import write_file
from nca.organism import Organism

_MODULES = "engine lab session serve colours dom charts film help theme time stage panel page".split()  # noqa: SIM905
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


def viewer_html(organism: Organism, **options: Any) -> str:
    """The page of an organism; arguments as for `analysis.viewer.page_data`."""
    code, style = read_front_end()
    return Template(_read_asset("page.html")).substitute(
        title=html.escape(f"{organism.name}, alive"),
        heading=html.escape(organism.name),
        style=style,
        data=_script_json(page_data(organism, **options)),
        code=code + START,
    )


def save_page(organism: Organism, path: str | Path, **options: Any) -> Path:
    """Write the page of an organism; arguments as for `analysis.viewer.page_data`.

    Raises:
        UserError: a name that does not end in .html, a canvas that a page could not hold, or a file
            that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"A page is an .html file, got {str(path)!r}.")
    return write_file(path, viewer_html(organism, **options))


def iframe(organism: Organism, height: int = 900, **options: Any) -> str:
    """The page as an `<iframe>`, to stand inside another page."""
    inside = html.escape(viewer_html(organism, **options), quote=True)
    title = html.escape(f"{organism.name}, alive", quote=True)
    return (
        f'<iframe title="{title}" loading="lazy" style="width: 100%; height: {height}px; border: 0" '
        f'srcdoc="{inside}"></iframe>'
    )


def _read_asset(name: str) -> str:
    """One of the viewer's files."""
    return (resources.files("analysis.viewer") / name).read_text(encoding="utf-8")


def _script_json(data: Any) -> str:
    """JSON that can stand in a script element whatever the names in it hold."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def read_front_end() -> tuple[str, str]:
    """The modules as one script, each in a scope of its own, in the order in which they need each other; the style."""
    code = "\n".join(_scope(name, _read_asset(f"{name}.js")) for name in _MODULES)
    return code, _read_asset("page.css")


def _scope(name: str, code: str) -> str:
    exported = EXPORT.findall(code)
    code = EXPORT.sub("", IMPORT.sub(r"const {\1} = \2$;\n", code))
    return f"const {name}$ = (() => {{\n{code}return {{ {', '.join(exported)} }};\n}})();"
