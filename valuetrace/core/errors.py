"""The one exception that a user's mistake raises."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Bad input, explained in one message that names the file, the key and the remedy.

    Commands print the message without a traceback and exit with status 2; everything else that is
    raised is a defect and keeps its traceback.
    """


def some(items: Iterable, limit: int = 5) -> str:
    """The first ``limit`` items as text, and how many more there are (for error messages)."""
    items = [str(item) for item in items]
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"


@contextmanager
def as_written(path: str | Path) -> Iterator[None]:
    """A stored file that lacks what its writer puts there, or has a list for an object or text for a number, is an
    InputError that names it. For the few lines that take such a file apart."""
    try:
        yield
    except InputError:
        raise
    except (AttributeError, LookupError, StopIteration, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not as its stage writes it ({what}). Make it again.") from None
