"""``python -m valuetrace.cli``: the command line without its script."""

import sys

from valuetrace.cli import main

sys.exit(main())
