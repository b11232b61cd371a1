"""What options have in common: kinds of value."""

from __future__ import annotations

import argparse

from valuetrace.core.errors import InputError


def key_values(arguments: list[str]) -> dict[str, str | bool]:
    """KEY=VALUE options by key; true and false as booleans: a template takes the word false for true."""
    found: dict[str, str | bool] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not (key.isidentifier() and equals) or key in found:
            raise InputError(f"--template-argument {argument}: give KEY=VALUE, each key once.")
        found[key] = {"true": True, "false": False}.get(value, value)
    return found


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value
