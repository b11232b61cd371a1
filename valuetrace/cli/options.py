"""What options have in common: kinds of value."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from valuetrace.core.errors import InputError


def go_offline() -> None:
    """No library asks the Hub from here on: to be called before huggingface_hub is imported, which reads this once."""
    os.environ["HF_HUB_OFFLINE"] = "1"


def key_values(arguments: list[str]) -> dict[str, str | bool]:
    """KEY=VALUE options by key; true and false as booleans: a template takes the word false for true."""
    found: dict[str, str | bool] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not (key.isidentifier() and equals) or key in found:
            raise InputError(f"--template-argument {argument}: give KEY=VALUE, each key once.")
        found[key] = {"true": True, "false": False}.get(value, value)
    return found


def say(line: str) -> None:
    """What is said beside the result goes to stderr, at once."""
    print(line, file=sys.stderr, flush=True)


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def numbers(kind: type) -> Callable[[str], tuple]:
    """A parser of numbers of ``kind`` (float, int) joined by commas."""

    def parse(text: str) -> tuple:
        return tuple(kind(part) for part in text.split(","))

    parse.__name__ = f"list of {kind.__name__}"  # argparse says it of what cannot be parsed
    return parse
