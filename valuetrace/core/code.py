"""The code behind a number: the source files that a module imports, directly or not, and one hash of them.

What is kept for a later run (training checkpoints, shards of a search) is named by this hash among others, so that
nothing outlives the code that made it. The pipeline's test holds the same closure against dvc.yaml.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from importlib.metadata import version
from pathlib import Path

from valuetrace.core.settings import ROOT

PACKAGE = "valuetrace"
LIBRARIES = ("accelerate", "numpy", "peft", "safetensors", "tokenizers", "torch", "transformers", "trl")
"""Packages whose version can change a weight or a score."""


def closure(start: str, root: Path = ROOT) -> list[str]:
    """Paths (from ``root``, sorted) of ``start`` and of every file of the package that it imports, lazily or not.

    start: a path from ``root`` (``stages/train.py``) or a module of the package (``valuetrace.scoring.search``). The
    ``__init__`` files that an import runs on its way count too.
    """
    waiting, found = [start] if start.endswith(".py") else _files(start, root), set()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imports(path, root)
    return sorted(found)


def digest(module: str) -> str:
    """SHA-256 of the closure's source files and of the versions of ``LIBRARIES``."""
    told = hashlib.sha256(" ".join(f"{name}=={version(name)}" for name in LIBRARIES).encode())
    for path in closure(module):
        told.update(f"\0{path}\0".encode() + (ROOT / path).read_bytes())
    return told.hexdigest()


@functools.cache
def imports(path: str, root: Path = ROOT) -> list[str]:
    """The files of the package that one file imports itself, the ``__init__`` files on the way among them."""
    modules = set()
    for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}, line {node.lineno}: imports are written in full")
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return sorted({path for module in modules if module.split(".")[0] == PACKAGE for path in _files(module, root)})


def _files(module: str, root: Path) -> list[str]:
    """What importing a module runs, from ``root``: the ``__init__`` of each package on the way, and its own file.

    The last part may be a name in a module, which has no file.
    """
    parts = module.split(".")
    bases = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    candidates = (path for base in bases for path in (f"{base}.py", f"{base}/__init__.py"))
    return [path for path in candidates if (root / path).is_file()]
