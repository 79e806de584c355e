"""The command line `nca`: its commands, and how a failure is reported."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence

from analysis.cli.assay import Dissect, Pca, assay_commands
from analysis.cli.export import Export, View
from analysis.cli.grow import Grow
from analysis.cli.import_ import Import
from analysis.cli.info import Info, Organisms, Targets
from analysis.cli.output import log_line, print_result
from analysis.cli.parse import parse_command
from analysis.cli.sweep import Merge, Sweep
from analysis.cli.train import Train
from nca.errors import UserError

COMMANDS: dict[str, type] = {
    "train": Train,
    "grow": Grow,
    "view": View,
    "dissect": Dissect,
    **assay_commands(),
    "pca": Pca,
    "sweep": Sweep,
    "merge": Merge,
    "import": Import,
    "export": Export,
    "info": Info,
    "organisms": Organisms,
    "targets": Targets,
}
DESCRIPTION = (
    "Grow neural cellular automata and take them apart. "
    "nca COMMAND --help explains the options of a command; nca --version prints the version."
)
MISTAKE, STOPPED, PIPE = 2, 130, 141
SMALLER = "take fewer steps or runs, or a smaller canvas"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `nca`; those of the process if none.

    Returns:
        The exit code: 0; 2 for what a user can mend, explained on standard error; 130 when
        interrupted; 141 when nobody reads the output. Any other failure is a bug and raises.
    """
    for stream in (sys.stdout, sys.stderr):
        # Not every terminal can show every letter.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
        return 0
    except SystemExit as stop:
        return int(stop.code or 0)  # after help, or after tyro explained a mistake
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt as error:
        return _fail(str(error) or "stopped", STOPPED)
    except BrokenPipeError:
        _discard_output()
        return PIPE
    except OSError as error:
        _discard_output()
        return _fail(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
    except MemoryError:
        return _fail(f"not enough memory; {SMALLER}")
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _fail(f"not enough memory on the device; {SMALLER}")


def _run(words: list[str]) -> None:
    if words == ["--version"]:
        print_result(f"nca-dissection {_version()}")
        return
    parse_command(words, COMMANDS, DESCRIPTION).execute()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("nca-dissection")
    except PackageNotFoundError:
        return "(not installed)"


def _fail(message: str, code: int = MISTAKE) -> int:
    """Write a message as one line to standard error; returns the exit code."""
    with contextlib.suppress(OSError):
        log_line("nca: " + " ".join(message.split()))
    return code


def _discard_output() -> None:
    """Keep Python from failing again at exit, when it flushes what cannot be written."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
