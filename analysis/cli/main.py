"""The command line `nca`: which commands there are, and how a failure is told."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from analysis.cli.axes import Axes, Pca, axes, pca
from analysis.cli.basic import say, tell
from analysis.cli.dissect import Dissect, dissect
from analysis.cli.export import Export, export
from analysis.cli.graft import Graft, graft
from analysis.cli.grow import grow
from analysis.cli.growing import Grow
from analysis.cli.import_ import Import, import_
from analysis.cli.info import Info, Organisms, Targets, info, organisms, targets
from analysis.cli.lesion import Lesion, lesion
from analysis.cli.merge import Merge, merge
from analysis.cli.regenerate import Regenerate, regenerate
from analysis.cli.robust import RobustCommand, robust
from analysis.cli.sweep import Sweep, sweep
from analysis.cli.train import Train, train
from analysis.cli.usage import parsed
from analysis.cli.view import View, view
from nca.errors import UserError

COMMANDS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "train": (Train, train),
    "grow": (Grow, grow),
    "lesion": (Lesion, lesion),
    "dissect": (Dissect, dissect),
    "import": (Import, import_),
    "export": (Export, export),
    "sweep": (Sweep, sweep),
    "merge": (Merge, merge),
    "regenerate": (Regenerate, regenerate),
    "graft": (Graft, graft),
    "robust": (RobustCommand, robust),
    "pca": (Pca, pca),
    "axes": (Axes, axes),
    "info": (Info, info),
    "view": (View, view),
    "organisms": (Organisms, organisms),
    "targets": (Targets, targets),
}
DESCRIPTION = (
    "Grow neural cellular automata and take them apart. "
    "nca COMMAND --help says what a command takes; nca --version, which version this is."
)
MISTAKE, STOPPED, PIPE = 2, 130, 141
SMALLER = "take fewer steps or runs, or a smaller canvas"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `nca`; those of the process if none.

    Returns:
        The exit code: 0; 2 for what a user can mend, told in one sentence on standard error; 130
        when interrupted; 141 when nobody reads the output. Any other failure is a bug and raises.
    """
    for stream in (sys.stdout, sys.stderr):
        # Not every terminal has every letter.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
        return 0
    except UserError as error:
        return told(str(error))
    except KeyboardInterrupt as error:
        return told(str(error) or "stopped", STOPPED)
    except BrokenPipeError:
        _discard_output()
        return PIPE
    except OSError as error:
        _discard_output()
        return told(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
    except MemoryError:
        return told(f"not enough memory; {SMALLER}")
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return told(f"not enough memory on the device; {SMALLER}")


def run(words: list[str]) -> None:
    """Do what the words ask for."""
    if words == ["--version"]:
        tell(f"nca-dissection {version()}")
        return
    command = parsed(words, {name: kind for name, (kind, _) in COMMANDS.items()}, DESCRIPTION)
    if command is not None:
        dict(COMMANDS.values())[type(command)](command)


def version() -> str:
    """The installed version of this package."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("nca-dissection")
    except PackageNotFoundError:
        return "(not installed)"


def told(message: str, code: int = MISTAKE) -> int:
    """Say a message in one line on standard error; returns the exit code."""
    with contextlib.suppress(OSError):
        say("nca: " + " ".join(message.split()))
    return code


def _discard_output() -> None:
    """Let Python not fail once more at exit, when it flushes what cannot be written."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
