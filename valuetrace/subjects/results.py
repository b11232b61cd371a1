"""The folder of an audit's results: where it is, that it can be written, and that it appears whole or not at all."""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valuetrace import __version__
from valuetrace.core import files, settings
from valuetrace.core.errors import InputError, some
from valuetrace.models.rows import MODELS

RESULTS = ("scores.parquet", "profile.json", "profile.csv", "profile.png", "audit.html", "optimal.csv", "card.md")
"""What an audit writes into its folder, which is replaced as a whole; the last two where they are asked for."""


def default_folder(model: Path) -> Path:
    """audit/NAME of a model in data/models/. Of a folder elsewhere, whose last name others may share, the digest of
    its path is added."""
    model = model.resolve()
    if model.parent in {(root / MODELS).resolve() for root in (Path(), settings.ROOT)}:
        return Path("audit", model.name)
    return Path("audit", f"{model.name}-{hashlib.sha256(str(model).encode()).hexdigest()[:8]}")


def check(out: Path, names: tuple[str, ...] = RESULTS, what: str = "audit") -> Path:
    """The folder, its links followed. InputError where it cannot be written, or where it holds anything else than
    results (``names`` of ``what``), which would be lost when it is replaced. Nothing is left behind."""
    try:
        out = out.resolve() if out.is_symlink() else out
        if Path().resolve().is_relative_to(out.resolve()):
            raise InputError(f"--out {out}: the folder is replaced as a whole; give one of its own, below this one.")
        if out.exists() and not out.is_dir():
            raise InputError(f"--out {out}: cannot be made (it is a file).")
        if out.is_dir() and (others := sorted({path.name for path in out.iterdir()} - set(names))):
            raise InputError(f"--out {out}: holds {some(others, 3)}, which is no {what}'s. Give a folder of its own.")
        nearest = next(parent for parent in out.parents if parent.exists())
        tempfile.TemporaryDirectory(dir=nearest, prefix=f".{out.name}.partial").cleanup()
    except OSError as error:
        raise InputError(f"--out {out}: cannot be made ({error.strerror}).") from None
    return out


def versions() -> dict[str, str]:
    """The versions of what computed a result, as its JSON records them."""
    import torch
    import transformers

    found = {"valuetrace": __version__, "torch": torch.__version__, "transformers": transformers.__version__}
    return found | {"python": platform.python_version()}


def shards(out: Path) -> Path:
    """The folder of the scores computed so far, named by their content; it survives a replacement of the results."""
    return out.with_name(f".{out.name}.shards")


@contextmanager
def whole(out: Path, what: str = "audit") -> Iterator[Path]:
    """An empty folder that takes the place of ``out`` if the block ends well; otherwise ``out`` stays as it was."""
    partial = out.with_name(f".{out.name}.partial")
    with files.alone(out, f"another {what} is writing {out}"), files.fresh_folder(partial):
        yield partial
        files.replace_folder(partial, out)
