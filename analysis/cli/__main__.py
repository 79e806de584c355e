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
    return code


if __name__ == "__main__":
    sys.exit(run())
