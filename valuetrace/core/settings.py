"""Typed parameters: params.yaml (what DVC tracks) read into the dataclass that a stage declares."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from valuetrace.core.errors import InputError, some

ROOT = Path(__file__).resolve().parents[2]  # the repository: prompts/, lexicons/ and metrics/ are found from here
PARAMS = Path("params.yaml")


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
    """``value`` (plain YAML) as ``as_type``; ``where`` opens every error message."""
    origin, arguments = typing.get_origin(as_type), typing.get_args(as_type)
    if as_type is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        options = [argument for argument in arguments if argument is not type(None)]
        for option in options[:-1]:
            try:
                return build(option, value, where)
            except InputError:
                continue
        return build(options[-1], value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise InputError(f"{where} is {value!r}; it must be one of {some(arguments, 10)}.")
        return value
    if origin is dict:
        _expect(dict, value, where)
        return {str(k): build(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is list:
        _expect(list, value, where)
        return [build(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value)]
    if dataclasses.is_dataclass(as_type):
        return _build_dataclass(typing.cast(type, as_type), value, where)
    if as_type is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    _expect(as_type, value, where)
    return value


def _build_dataclass(cls: type, value: Any, where: str) -> Any:
    _expect(dict, value, where)
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = [key for key in value if key not in fields]
    if unknown:
        raise InputError(f"{where}: unknown key {some(unknown)}. Known: {some(fields, 20)}.")
    missing = [
        name
        for name, field in fields.items()
        if name not in value and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{where}: key {some(missing)} is missing.")
    try:
        return cls(**{key: build(hints[key], item, f"{where}.{key}") for key, item in value.items()})
    except InputError:
        raise
    except ValueError as error:  # a dataclass's own check
        raise InputError(f"{where}: {error}") from None


def _expect(kind: type, value: Any, where: str) -> None:
    if not isinstance(value, kind) or (kind in (int, float) and isinstance(value, bool)):
        raise InputError(f"{where} is {value!r} ({type(value).__name__}); it must be a {kind.__name__}.")
