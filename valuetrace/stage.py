"""How a stage is started: a user's mistake prints one line, a defect keeps its traceback."""

import logging
import sys
from collections.abc import Callable

from valuetrace.errors import InputError


def run(main: Callable[..., None], *arguments: str) -> None:
    """Call ``main(*arguments)``; InputError becomes one line on stderr and exit status 2."""
    logging.basicConfig(level=logging.WARNING)
    try:
        main(*arguments)
    except InputError as error:
        sys.exit(_fail(error))


def _fail(error: InputError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2
