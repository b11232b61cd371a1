"""How a stage is started: a user's mistake prints one line, a defect keeps its traceback."""

import gc
import logging
import sys
import warnings
from collections.abc import Callable

from valuetrace.core.errors import InputError

# What transformers and peft say of each other's parameters at every training: nothing that a user could change
_BETWEEN_LIBRARIES = (
    ".*gradient_checkpointing` is deprecated",
    "The PEFT config's `base_model_name_or_path` was renamed",
)


def run(main: Callable[..., None], *arguments: str) -> None:
    """Call ``main(*arguments)``; InputError becomes one line on stderr and exit status 2."""
    logging.basicConfig(level=logging.WARNING)
    for message in _BETWEEN_LIBRARIES:
        warnings.filterwarnings("ignore", message)
    gc.freeze()  # what was imported stays: no collection need go through it
    try:
        main(*arguments)
    except InputError as error:
        sys.exit(_fail(error))
    finally:
        gc.freeze()  # nor the last one, at the interpreter's end: a second where torch is among it


def _fail(error: InputError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2
