"""The command line `nca`: its commands, and how a failure is reported."""

from __future__ import annotations

import _thread
import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

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
from nca.files import describe_error

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
BUG, MISTAKE, STOPPED, PIPE = 1, 2, 130, 141
# Of jax: what a command computes depends on its options and the versions alone (see nca.versions).
_JAX_SETTINGS = {
    "JAX_ENABLE_X64": "0",
    "JAX_NUMPY_RANK_PROMOTION": "allow",
    "JAX_NUMPY_DTYPE_PROMOTION": "standard",
    "JAX_DEFAULT_PRNG_IMPL": "threefry2x32",
    "JAX_THREEFRY_PARTITIONABLE": "1",
    "JAX_TRANSFER_GUARD": "allow",
}
SMALLER = "take fewer steps or runs, or a smaller canvas"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `nca`; those of the process if none.

    Returns:
        The exit code: 0; 2 for what a user can mend, explained on standard error, damaged files
        included; 130 when interrupted; 141 when nobody reads the output; 1 for any other failure,
        which is a bug. With the environment variable NCA_DEBUG=1 what is unexpected raises.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        # Not every terminal can show every letter.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    with _interrupts() as pressed:
        return _explained(words, pressed)


def _explained(words: list[str], pressed: list[bool]) -> int:
    """Run one command; returns the exit code after its failure was explained."""
    try:
        _run(words)
        sys.stdout.flush()
        return 0
    except SystemExit as stop:
        return int(stop.code or 0)  # after help, or after tyro explained a mistake
    except UserError as error:
        return _fail("stopped", STOPPED) if pressed else _fail(str(error))
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
    except Exception as error:
        if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error):
            return _fail(f"not enough memory on the device; {SMALLER}")
        if pressed:  # a library has made its own error of it
            return _fail("stopped", STOPPED)
        if os.environ.get("NCA_DEBUG"):
            raise
        return _fail_unexpectedly(error, words)


@contextlib.contextmanager
def _interrupts() -> Iterator[list[bool]]:
    """Whether Ctrl-C was pressed, whatever becomes of its exception; one that a callback swallows is raised again."""
    pressed: list[bool] = []

    def _press(*_: object) -> None:
        pressed.append(True)
        raise KeyboardInterrupt

    hooks, handler = (sys.unraisablehook, sys.excepthook), signal.getsignal(signal.SIGINT)
    sys.unraisablehook, sys.excepthook = _raise_again, _show
    is_ours = handler is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if is_ours:
        signal.signal(signal.SIGINT, _press)
    try:
        yield pressed
    finally:
        sys.unraisablehook, sys.excepthook = hooks
        if is_ours:
            signal.signal(signal.SIGINT, handler)


def _show(kind: type[BaseException], *rest: Any) -> None:
    """Print an exception that native code prints, unless it is a Ctrl-C."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, *rest)


def _run(words: list[str]) -> None:
    if words == ["--version"]:
        print_result(f"nca-dissection {_version()}")
        return
    command = parse_command(words, COMMANDS, DESCRIPTION)
    _prepare_jax(command)
    command.execute()


def _prepare_jax(command: object) -> None:
    """Set jax's switches so that equal commands give equal results; raise where the device asked for is missing."""
    os.environ.update(_JAX_SETTINGS)
    platforms = os.environ.get("JAX_PLATFORMS", "cpu")
    is_shared = any(getattr(command, name, None) for name in ("coordinator", "processes"))  # devices come later there
    if platforms in ("", "cpu") or is_shared:
        return
    import jax

    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        raise UserError(
            f"jax finds no device of JAX_PLATFORMS={platforms}; leave the variable out, or set it to cpu."
        ) from error


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


def _fail_unexpectedly(error: Exception, words: Sequence[str]) -> int:
    """Explain a failure that nothing foresaw: the files on the command line may be damaged, or it is a bug."""
    files = [word for word in words if "\0" not in word and os.path.exists(word)]
    reason = f"({describe_error(error)}); NCA_DEBUG=1 before the command shows where"
    if files:
        return _fail(f"{' or '.join(files)} is damaged or cannot be used here {reason}.")
    return _fail(f"this should not have happened {reason}, and is worth a report.", BUG)


def _raise_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Repeat a Ctrl-C that came inside a callback, from which Python lets nothing out."""
    if unraisable.exc_type is KeyboardInterrupt:
        threading.Timer(0.05, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(unraisable)


def _discard_output() -> None:
    """Keep Python from failing again at exit, when it flushes what cannot be written."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
