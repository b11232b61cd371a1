"""What a library raises for a broken folder, as one line that names the cause and a remedy that helps against it."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from valuetrace.core.errors import InputError

_PIP = re.compile(r"pip install (?:-U |--upgrade )?['\"]?([A-Za-z][\w.\-\[\],<>=]*)")


@contextmanager
def reading(folder: str | Path, what: str) -> Iterator[None]:
    """Whatever a library raises for a broken folder, as an InputError with the first line of the cause and a remedy.

    An error that the block's own lines raise is a defect and stays one; safetensors and the file system, which
    raise in the line that calls them, apart.
    """
    from safetensors import SafetensorError

    try:
        yield
    except InputError:
        raise
    except Exception as error:
        _, block, *called = traceback.extract_tb(error.__traceback__)
        ours = not called or called[-1].filename == block.filename
        if ours and not isinstance(error, (OSError, SafetensorError)):
            raise
        cause = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        told = f"{what} cannot be loaded ({type(error).__name__}: {cause:.300})"
        raise InputError(f"{folder}: {told}. {_remedy(Path(folder), error)}") from error


def _remedy(folder: Path, error: Exception) -> str:
    from safetensors import SafetensorError

    if isinstance(error, ImportError):
        named = _PIP.search(str(error))
        library = named[1].rstrip(".") if named else error.name
        return "It needs a library that is not installed" + (f": pip install {library}" if library else ".")
    if "attention implementation" in str(error) or "attn_implementation" in str(error):
        return "Its class has no such attention: load it with attn_implementation='eager'."
    # a plain Exception is how tokenizers, which is written in Rust, says that it cannot parse a file
    broken = (SafetensorError, json.JSONDecodeError, UnicodeError, EOFError)
    if isinstance(error, broken) or type(error) is Exception:
        return "A file is damaged or cut short. Fetch it again (dvc repro)."
    if method := _quantised(folder):
        return (
            f"Its weights are quantised ({method}), which this machine may not unpack: take the model's plain weights."
        )
    if isinstance(error, OSError):
        return "Check that its files are there and can be read."
    return f"Check its config files, and whether transformers {version('transformers')} is new enough for this model."


def _quantised(folder: Path) -> str | None:
    """The method by which a folder's weights are quantised, as config.json tells; None where it tells none."""
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(told["quantization_config"].get("quant_method", "unnamed"))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
