"""Value profiles on disk: what an audit and a model card set a model beside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from valuetrace.core import files, settings
from valuetrace.core.errors import InputError

_PROFILE = {
    "model": str,
    "kind": Literal["reward", "logprob"],
    "lexicon": str,
    "lexicon_sha256": str,
    "format": dict[str, Any],
    "case": str,
    "prompts_sha256": str,
    "ranked_words": int,
    "groups": list[dict[str, Any]],
    "rows": list[dict[str, Any]],
}
_RELEASED = {"base": str, "lineage": str}
_GROUP = {"words": list[str]}
_ROW = {"label": str, "framing": str, "words": int}
_NUMBERS = {"percentile": float, "percentile_interval": list[float]}
_REFUSAL = {"refused": str, "needs": str}


def read(folder: str | Path) -> list[dict]:
    """The profiles in a folder (``stages/profiles.py``), by path, each with its ``file`` within it.

    Hidden files and folders are none: a killed stage leaves its unfinished ones there. InputError names the file
    and the key of what is missing or of another type.
    """
    profiles = []
    for path in sorted(Path(folder).rglob("*.json")):
        within = path.relative_to(folder)
        if any(part.startswith(".") for part in within.parts):
            continue
        found = settings.build(dict[str, Any], files.read_json(path), str(path))
        _require(found, _PROFILE, str(path))
        _require(found["format"], {"name": str, "kind": str}, f"{path}: 'format'")
        if "released" in found:  # of a model whose scores its authors released: analysis/atlas.py
            _require(
                found, {"released": dict[str, Any], "reading": dict[str, Any], "prompts": dict[str, int]}, str(path)
            )
            _require(found["released"], _RELEASED, f"{path}: 'released'")
        for i, group in enumerate(found["groups"]):
            _require(group, _GROUP, f"{path}: 'groups[{i}]'")
        for i, row in enumerate(found["rows"]):
            _require(row, _ROW | (_REFUSAL if "refused" in row else _NUMBERS), f"{path}: 'rows[{i}]'")
            numbers = [row["percentile"], *row["percentile_interval"]] if "refused" not in row else [0.0] * 3
            if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
                raise InputError(f"{path}: 'rows[{i}]': its percentile and interval must be three finite numbers.")
        profiles.append(found | {"file": within.as_posix()})
    return profiles


def _require(found: dict, types: dict[str, Any], where: str) -> None:
    for key, kind in types.items():
        if key not in found:
            raise InputError(f"{where}: no {key!r}; not a value profile. Make it again (stages/profiles.py).")
        settings.build(kind, found[key], f"{where}: {key!r}")
