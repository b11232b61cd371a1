"""How a stage is started: a user's mistake prints one line, a defect keeps its traceback."""

import gc
import inspect
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from valuetrace.core import keys
from valuetrace.core.errors import InputError
from valuetrace.core.settings import ROOT

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
        _check(main, arguments)
        main(*arguments)
    except InputError as error:
        sys.exit(_fail(error))
    finally:
        gc.freeze()  # nor the last one, at the interpreter's end: a second where torch is among it


def _check(main: Callable[..., None], arguments: tuple[str, ...]) -> None:
    """InputError where another tree's code would run, or where the stage is given too few or too many arguments."""
    here = Path.cwd() / "valuetrace"
    if here.is_dir() and not here.samefile(ROOT / "valuetrace"):
        raise InputError(
            f"{here} is not the code that was imported ({ROOT / 'valuetrace'}). Run the stage as a module: "
            f"python -m stages.{Path(sys.argv[0]).stem}"
        )
    name = getattr(sys.modules["__main__"].__spec__, "name", "").removeprefix("stages.")
    if name and name != "code":
        keys.check_recorded(Path("metrics/code", *name.split(".")).with_suffix(".json"))
    try:
        inspect.signature(main).bind(*arguments)
    except TypeError as error:
        raise InputError(f"{Path(sys.argv[0]).name}: {error}. Its first lines say how it is run.") from None


def _fail(error: InputError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2
