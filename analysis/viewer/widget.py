"""The viewer in a notebook: what is done there by hand can be read from Python."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from jaxtyping import Float

from analysis.viewer import sessions
from analysis.viewer.data import page_data
from analysis.viewer.page import read_front_end
from nca.edits.edit import Edit
from nca.errors import UserError
from nca.organism import Organism

try:
    import anywidget
    import traitlets
except ImportError as error:
    message = "The viewer in a notebook needs anywidget: pip install 'nca-dissection[notebook]'."
    raise UserError(message) from error

WORKER = "\nserve$.serveWorker();"
RENDER = """
function render({ model, el }) {
  const root = document.createElement("div");
  el.append(root);
  let sent = 0;
  const onMessage = async (message, ask) => {
    if (message.is !== "frame" || (message.playing && performance.now() - sent < 1000)) return;
    sent = performance.now();
    const { state, t } = message, cells = state.length - message.channel.length;
    model.set("state_bytes", new DataView(state.slice(0, cells).buffer));
    model.set("step", t);
    model.set("session_fields", await ask());
    model.save_changes();
  };
  const view = page$.mount(root, { ...model.get("organism_fields"), widget: true }, { code: CODE, onMessage });
  return () => view.line.close();
}
export default { render };
"""


def _widget_js() -> str:
    """The front end as one module; it carries its own text, to make a worker from."""
    code, _ = read_front_end()
    return f"const CODE = {json.dumps(code + WORKER)};\n{code}\n{RENDER}"


class Viewer(anywidget.AnyWidget):  # type: ignore[misc,unused-ignore]
    """An organism, alive in a notebook.

    Attributes:
        organism: who lives there.
        step: how far it has come.
    """

    _esm = _widget_js()
    _css = read_front_end()[1]
    organism_fields = traitlets.Dict().tag(sync=True)
    session_fields = traitlets.Dict().tag(sync=True)
    state_bytes = traitlets.Bytes().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)

    def __init__(self, organism: Organism, **options: Any) -> None:
        """Arguments as for `analysis.viewer.page_data`."""
        super().__init__(organism_fields=page_data(organism, **options))
        self.organism = organism

    @property
    def session(self) -> sessions.Session:
        """What was done so far, and to which run: when paused to the step, when playing to the second."""
        if not self.session_fields:
            place, canvas = self.organism_fields["place"], self.organism_fields["canvas"]
            return sessions.Session(place["seed"], place["run"], (canvas[0], canvas[1]), 0, (), ())
        return sessions.Session.from_json(self.session_fields, self.organism)

    @property
    def edits(self) -> list[Edit]:
        """The changes of the state so far, as `nca.grow` takes them."""
        return list(self.session.edits)

    @property
    def state(self) -> Float[np.ndarray, "y x channel"]:
        """The state at `step`."""
        height, width = self.organism_fields["canvas"]
        if not self.state_bytes:
            return np.asarray(self.organism.initial_state((height, width)))
        return np.frombuffer(self.state_bytes, "<f4").reshape(height, width, -1).copy()
