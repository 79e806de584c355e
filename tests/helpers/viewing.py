"""The viewer's code run outside a page by Node, and its page in headless Chromium."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from analysis.viewer.page import read_front_end

DRIVER = Path(__file__).with_name("viewer_drive.mjs")


def find_program(*programs):
    """The first of some programs that is there; without it the test skips, except in CI, where it fails."""
    program = next(filter(None, map(shutil.which, programs)), None)
    if program is None:
        message = f"the viewer's tests need {' or '.join(programs)}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return program


def node(folder, *jobs):
    """What Node answers to jobs for the viewer's own code."""
    program = find_program("node", "nodejs")
    (folder / "bundle.mjs").write_text(read_front_end()[0] + "\nexport { engine$, lab$, session$ };\n")
    shutil.copy(DRIVER, folder / "drive.mjs")
    done = subprocess.run(
        [program, "drive.mjs"],
        cwd=folder,
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def array(base64_text, shape):
    """Float32 numbers in base64 as an array."""
    return np.frombuffer(base64.b64decode(base64_text), "<f4").reshape(shape)
