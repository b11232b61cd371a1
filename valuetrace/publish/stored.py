"""Files that a stage wrote and a card or an adapter takes apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valuetrace.core.errors import InputError


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
