"""Steps a second of the viewer's page in headless Chromium, without a GPU: `python -m benchmarks.viewer`.

The page draws and steps the organism as fast as it can; steps are counted over some
seconds of a grown body.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from analysis.viewer.page import save
from benchmarks.measure import Row, Table, load, markdown
from nca.io import load as organism_of

ROOT = Path(__file__).parents[1]
FASTEST = """(() => {
  const speed = document.querySelector('input[aria-label="Steps a second"]');
  speed.value = speed.max;
  speed.dispatchEvent(new Event("input", { bubbles: true }));
})()"""


def speeds(name: str = "lizard", sides: tuple[int, ...] = (72, 128, 256), seconds: float = 6.0) -> Table:
    """Steps a second on canvases of several sizes."""
    sys.path.insert(0, str(ROOT / "tests"))
    from browsing import Browser  # the tests' own driver

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("Chromium is needed: install Debian's package chromium.")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for side in sides:
            organism = replace(organism_of(name), canvas=(side, side))
            written = save(organism, Path(folder) / f"{side}.html", steps=64)
            browser = Browser(program, Path(folder) / str(side))
            browser.open(written)
            browser.wait("window.nca?.shot()?.t >= 2")
            browser.call("Runtime.evaluate", expression=FASTEST)
            browser.wait("nca.shot().t >= 200")
            begin, first = time.perf_counter(), _step(browser)
            time.sleep(seconds)
            rate = (_step(browser) - first) / (time.perf_counter() - begin)
            rows.append({"canvas": f"{side}x{side}", "steps a second": rate, "load": load()[0]})
            browser.close()
    note = f"The grown {name}, the page as it opens, as fast as it goes."
    return Table("viewer", "The viewer's page", note, rows)


def _step(browser: object) -> int:
    answer = browser.call("Runtime.evaluate", expression="nca.shot().t", returnByValue=True)  # type: ignore[attr-defined]
    return int(answer["result"]["value"])


if __name__ == "__main__":
    print(markdown(speeds()))
