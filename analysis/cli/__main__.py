"""`python -m analysis.cli` is `nca`."""

import sys

from analysis.cli.main import main

sys.exit(main())
