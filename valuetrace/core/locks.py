"""One process at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from valuetrace.core import files


@contextmanager
def alone(folder: Path, otherwise: str) -> Iterator[None]:
    """One process at a time makes ``folder``; another says ``otherwise`` and waits."""
    with files.writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            print(f"waiting: {otherwise}", file=sys.stderr, flush=True)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
