"""`python -m analysis.cli` is `nca`."""

import signal
import sys


def run() -> int:
    """Run the command that the process was started with; Ctrl-C ends it in one sentence, also while it is loaded."""
    try:
        from analysis.cli.main import main

        code = main()
    except KeyboardInterrupt:
        sys.stderr.write("nca: stopped\n")
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to stop
    exec("")  # after a Ctrl-C inside an exec, as of a dataclass, Python would end by the signal and not by the code
    return code


if __name__ == "__main__":
    sys.exit(run())
