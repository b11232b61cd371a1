"""Keys: what decides a result, as one digest. The code behind it (``core.reach``), the libraries beneath, its inputs.

What a later run goes on from (checkpoints, shards, records, planted bases, heads) is named by ``key``; a stage depends
on metrics/code/<stage>.json, which ``told`` fills.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from valuetrace.core import files, reach
from valuetrace.core.errors import InputError
from valuetrace.core.settings import ROOT

LOCK = "requirements.lock"
_NO_NUMBER = re.compile(
    "aiohttp|annotated-doc|anyio|certifi|charset-normalizer|click|colorama|filelock|fsspec|h11|hf-xet|httpcore2|httpx2|"
    "idna|markdown-it-py|mdurl|mpmath|networkx|packaging|platformdirs|psutil|pydantic-settings|pygments|python-dotenv|"
    "requests|rich|setuptools|shellingham|six|sympy|tqdm|truststore|typer|typing-.*|urllib3|wcwidth"
)
"""Required by the others, and without a part in a number: they move bytes, wait, parse options and print."""


class Kernel(NamedTuple):
    """``reached``: each definition that can run; ``digests``: name → digest, templates too; ``libraries``: versions."""

    reached: frozenset[reach.Definition]
    digests: dict[str, str]
    libraries: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of the definitions and versions."""
        return hashlib.sha256(json.dumps([self.digests, self.libraries], sort_keys=True).encode()).hexdigest()


def key(entry: str, *decided_by: Any) -> str:
    """SHA-256 of the code behind ``entry`` and of everything else that decides a result.

    decided_by: what JSON holds, dataclasses, tables, arrays; a path counts by its bytes, a folder by its files'.
    """
    return hashlib.sha256(json.dumps([kernel(entry).digest, _plain(decided_by)], sort_keys=True).encode()).hexdigest()


@functools.lru_cache(maxsize=256)
def kernel(entry: str, root: Path = ROOT) -> Kernel:
    """The code behind ``entry``: a module (``stages.train``), or a definition (``valuetrace.training.run.train``).

    Raises ValueError where a name of the package leads nowhere.
    """
    package = reach.package(root)
    reached, imported = package.reach(entry)
    libraries = {name for module in imported for name in package.modules[module].libraries}
    libraries |= {name for at in reached for name in package.tree(at).libraries}
    digests = package.digests(reached)
    for folder in {package.modules[at.module].folder for at in reached if package.tree(at).by_name}:
        beside = (path for path in folder.rglob("*") if path.suffix not in (".py", ".pyc") and path.is_file())
        digests |= {path.name: files.sha256(path) for path in beside}
    return Kernel(frozenset(reached), dict(sorted(digests.items())), versions(libraries, root))


def told(entry: str) -> dict[str, Any]:
    """What metrics/code/<stage>.json holds."""
    found = kernel(entry)
    return {"kernel": entry, "key": found.digest, "libraries": found.libraries, "definitions": found.digests}


def check_pins(root: Path = ROOT) -> None:
    """InputError where an installed library is not the one that requirements.lock pins: its numbers would lie."""
    _check_versions(pins(root), LOCK, f"Run pip install -r {LOCK}, or change the pin.")


def check_recorded(path: Path) -> None:
    """InputError where a library is not of the version that a stage's file of metrics/code/ says."""
    if path.is_file():
        _check_versions(files.read_json(path)["libraries"], str(path), "Run dvc repro --force code, or install it.")


def _check_versions(wanted: dict[str, str], where: str, remedy: str) -> None:
    for name, version in wanted.items():
        found = _distribution(name)  # one of another platform is not here: whoever imports it says so
        if found and found[0] != version.partition("+")[0]:
            raise InputError(f"{where} says {name} {version}, {found[0]} is installed. {remedy}")


def versions(names: set[str], root: Path = ROOT) -> dict[str, str]:
    """Installed versions of the distributions that hold the imported ``names`` and of what those require.

    Where the repository pins its environment (requirements.lock), of those that are pinned.
    """
    pinned, found, waiting = pins(root), {}, sorted(names)
    while waiting:
        name = _normal(waiting.pop())
        if name not in pinned:  # ``ruamel`` is ruamel.yaml's
            name = next((pin for pin in pinned if pin.startswith(f"{name}-")), name)
        if name in found or _NO_NUMBER.fullmatch(name) or (pinned and name not in pinned):
            continue
        if distribution := _distribution(name):
            found[name], required = distribution
            waiting += required
    return dict(sorted(found.items()))


@functools.cache
def _distribution(name: str) -> tuple[str, list[str]] | None:
    """The installed version and what it requires, extras apart; None where it is not installed."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    required = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in found.requires or [] if "extra ==" not in line]
    return found.version.partition("+")[0], required


def pins(root: Path = ROOT) -> dict[str, str]:
    """Distribution → version of requirements.lock, empty where there is none."""
    path = root / LOCK
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {_normal(name): version for name, _, version in (line.partition("==") for line in lines) if version}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, pd.DataFrame):
        return hashlib.sha256(value.to_csv(index=False).encode()).hexdigest()
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    if isinstance(value, Path):
        return files.fingerprint(value) if value.is_dir() else files.sha256(value)
    return value
