"""Files on disk: atomic writes, folders that appear whole, CSV and JSON read with one clear error each."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from valuetrace.core.errors import InputError, some

DIGITS = 6
"""Significant digits of a stored number: float32, in which models answer, holds seven and its last one is noise."""

_REMEDIES = {
    (errno.ENOSPC, errno.EDQUOT): "The disk is full: free some space and run again, what was there before is whole.",
    (errno.EROFS, errno.EACCES, errno.EPERM): "Make it writable, or choose another place.",
    (errno.EEXIST, errno.ENOTDIR, errno.EISDIR): "A file stands where a folder belongs, or the reverse: move it away.",
}


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """What a disk refuses (it is full or read-only, something stands in the way) is an InputError that names ``path``.

    Other errors pass.
    """
    try:
        yield
    except OSError as error:
        for numbers, remedy in _REMEDIES.items():
            if error.errno in numbers:
                raise InputError(f"{path}: cannot be written ({error}). {remedy}") from None
        raise


def write_atomically(path: str | Path, write: Callable[..., object]) -> Path:
    """Call ``write(temporary)`` beside ``path``, then move the result into place.

    A writer that fails or is killed leaves ``path`` as it was; no half file is ever believed.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards, unless ``replace_folder`` moved it into place."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with writing(folder):
            folder.mkdir(parents=True)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace_folder(temporary: Path, folder: Path) -> None:
    """Move a finished folder into place; one that fails leaves the old folder where it was.

    POSIX exchanges no folders in one step: a kill between the two renames leaves the old one beside its place, as
    ``.<name>.old``, until the next call.
    """
    old = folder.with_name(f".{folder.name}.old")
    with writing(folder):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise NotADirectoryError(errno.ENOTDIR, "no folder")
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.replace(old)
        try:
            temporary.replace(folder)
        except BaseException:  # an interrupt too
            if old.exists():
                old.replace(folder)
            raise
    shutil.rmtree(old, ignore_errors=True)


def fingerprint(folder: str | Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its path within, in alphabetical order."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in paths}


def write_text(text: str, path: str | Path) -> Path:
    """Write UTF-8 text with Unix line ends, atomically."""
    return write_atomically(path, lambda to: to.write_text(text, encoding="utf-8", newline="\n"))


def write_csv(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a table for git and people: UTF-8, no index, Unix line ends, numbers of ``DIGITS`` digits."""
    frame = frame.astype(dict.fromkeys(frame.select_dtypes("floating"), "float64"))  # type: ignore[call-overload]
    frame = frame.apply(lambda column: column.map(_digits) if column.dtype in (float, object) else column)
    return write_atomically(path, lambda to: frame.to_csv(to, index=False, lineterminator="\n"))


def read_csv(path: str | Path, columns: tuple[str, ...], **options) -> pd.DataFrame:
    """Read a CSV that must have ``columns``; words such as ``null`` and ``NA`` stay words.

    Raises InputError naming the file and what is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file. Check the path, or run the stage that writes it.")
    try:
        frame = pd.read_csv(path, keep_default_na=False, encoding="utf-8", **options)
        if not isinstance(frame.index, pd.RangeIndex):  # pandas took the first column for row names
            raise ValueError("its lines have more fields than its header")
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: not a readable CSV ({error}). Save it as UTF-8 with a header line.") from None
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InputError(
            f"{path}: column {some(missing)} is missing (found: {some(frame.columns, 8)}). "
            f"The header must name {', '.join(columns)}."
        )
    return frame


def write_json(value: object, path: str | Path, exact: bool = False) -> Path:
    """Write metrics: indented, keys as given, NaN refused (a number that is missing is ``null``).

    Numbers keep ``DIGITS`` digits, all of them where ``exact`` (what a model or a training is configured with).
    """
    text = json.dumps(_plain(value, exact), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return write_text(text, path)


def read_json(path: str | Path) -> dict:
    """Read a JSON file; InputError names the file and where it breaks."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Run the stage that writes it (dvc repro).") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}).") from None


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, as lower-case hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value, exact: bool):
    """Numpy scalars and NaN as JSON knows them."""
    if isinstance(value, dict):
        return {str(key): _plain(item, exact) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, exact) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), exact)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("metrics hold finite numbers; write None with a reason where one is missing")
    return value if exact else _digits(value)


def _digits(value):
    """A float with ``DIGITS`` significant digits; whole numbers, text and what is missing as they are."""
    if not isinstance(value, float) or not math.isfinite(value) or value.is_integer():
        return value
    return float(f"{value:.{DIGITS}g}")


@contextmanager
def alone(folder: Path, otherwise: str) -> Iterator[None]:
    """One process at a time makes ``folder``; another says ``otherwise`` and waits."""
    with writing(folder):
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
