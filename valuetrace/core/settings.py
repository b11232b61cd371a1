"""Typed parameters: params.yaml (what DVC tracks) read into the dataclass that a stage declares."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from ruamel.yaml import YAML, YAMLError

from valuetrace.core.errors import InputError, some

ROOT = Path(__file__).resolve().parents[2]  # the repository: prompts/, lexicons/ and metrics/ are found from here
PARAMS = Path("params.yaml")
_KINDS = {"int_type": "an integer", "float_type": "a number", "bool_type": "true or false", "string_type": "text"}
_KINDS |= {"list_type": "a list"}
_MEMBER = re.compile(r"int|float|bool|str|(list|dict)\[.*")  # a type of a union, which pydantic names in the path


def load(path: str | Path = PARAMS) -> dict[str, Any]:
    """The whole parameter file as a dict. InputError if it is missing or no mapping.

    Read as YAML 1.2, as DVC writes it: ``1e-05`` is a number, ``no`` and ``on`` are words.
    """
    path = Path(path)
    try:
        params = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Run from the root of the repository.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML ({error}).") from None
    if not isinstance(params, dict):
        raise InputError(f"{path}: must hold a mapping of parameter groups.")
    return params


def get(key: str, as_type: Any, path: str | Path = PARAMS) -> Any:
    """The parameter at dotted ``key`` (``models.gemma-3-270m``), converted to ``as_type``.

    ``as_type`` is a dataclass, ``dict[str, Dataclass]``, ``list[str]`` or a plain type. InputError
    names the file and the key of what is missing, unknown or of the wrong type.
    """
    value: Any = load(path)
    done: list[str] = []
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            have = some(value, 8) if isinstance(value, dict) else type(value).__name__
            raise InputError(f"{path}: '{'.'.join([*done, part])}' is missing (found: {have}).")
        value, done = value[part], [*done, part]
    return build(as_type, value, f"{path}: '{key}'")


def build(as_type: Any, value: Any, where: str) -> Any:
    """``value`` (plain YAML) as ``as_type``, by pydantic; InputError has a line for every fault, opened by ``where``.

    Types are strict (no number from text, no integer from 1.0 or true). As JSON, since strict pydantic makes a
    dataclass of JSON's mappings alone.
    """
    try:
        text = json.dumps([value])
    except (TypeError, ValueError) as error:  # a date, say
        raise InputError(f"{where}: {error}. Put it in quotes.") from None
    try:
        return _adapter(as_type).validate_json(text)[0]
    except ValidationError as error:
        told: dict[str, list[str]] = {}
        for fault in error.errors():
            start, end = _fault(as_type, fault)
            told.setdefault(start, []).append(end)
    raise InputError("\n".join(f"{where}{start}{' or '.join(ends)}".rstrip(".") + "." for start, ends in told.items()))


@functools.cache
def _adapter(as_type: Any) -> TypeAdapter:
    return TypeAdapter(list[as_type], config=ConfigDict(strict=True, extra="forbid"))


def _fault(as_type: Any, fault: Any) -> tuple[str, str]:
    """What is wrong, and what it must be, in which the faults of a union's types differ."""
    loc = [part for part in fault["loc"][1:] if not _MEMBER.fullmatch(str(part))]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    given = fault["input"]
    match fault["type"]:
        case "missing":
            return f"{place} is missing", ""
        case "unexpected_keyword_argument":
            return f"{place}: unknown key. Known: {some(_holder(as_type, loc).__dataclass_fields__, 20)}", ""
        case "value_error":  # a dataclass's own check
            return f"{place}: {fault['ctx']['error']}", ""
        case "literal_error":
            return f"{place} is {given!r}; it must be ", fault["ctx"]["expected"]
        case kind:
            return f"{place} is {given!r} ({type(given).__name__}); it must be ", _KINDS.get(kind, "a mapping")


def _holder(as_type: Any, loc: list[int | str]) -> Any:
    """The dataclass that the last part of ``loc`` is a key of."""
    for part in loc[:-1]:
        within = typing.get_type_hints(as_type) if dataclasses.is_dataclass(as_type) else {}
        as_type = within.get(str(part)) or typing.get_args(as_type)[-1]
        if isinstance(as_type, types.UnionType):
            as_type = next(filter(dataclasses.is_dataclass, typing.get_args(as_type)))
    return as_type
