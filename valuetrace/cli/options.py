"""What commands have in common: options that mean the same in each, and kinds of value."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any, cast

from valuetrace.core.errors import InputError


def shared(add: Callable, *names: str) -> None:
    """Add options of ``_SHARED``; their defaults stand where the request is built, so none is given here."""
    for name in names:
        add(f"--{name}", **cast(Any, _SHARED[name]))


def go_offline() -> None:
    """Keep every library off the Hub. Call it before huggingface_hub is imported, which reads the setting once."""
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


def given(options: argparse.Namespace, *but: str) -> dict[str, Any]:
    """The options that were given, by name, without ``but`` and what argparse itself keeps."""
    return {key: value for key, value in vars(options).items() if value is not None and key not in (*but, "run")}


def print_json(value: dict) -> None:
    """``value`` on stdout, indented."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def say(line: str) -> None:
    """Print a message to stderr, at once; stdout is for the result."""
    print(line, file=sys.stderr, flush=True)


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
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


_SHARED = {
    "lexicon": {"help": "big_two_nouns (default), big_two, mfd2, or a .csv, .dic, .dicx, .json"},
    "prompts": {"help": "value_laden (default, 54), keys joined by commas, or a CSV key,text,framing"},
    "template-argument": {
        "action": "append",
        "metavar": "KEY=VALUE",
        "help": "told to the chat template, such as date_string='26 Jul 2024' (true, false are booleans; repeatable)",
    },
    "case": {"choices": ("lower", "capitalised"), "help": "spelling of the words (default lower)"},
    "head": {"help": "reward head: a published one's class name, where the folder's tensors do not tell (--explain)"},
    "output": {"type": int, "metavar": "N", "help": "which output is the reward, of a head with several (first: 0)"},
    "position": {
        "choices": ("last", "before_padding"),
        "help": "where the reward is read, of a folder that does not say whether its closing token is padding",
    },
    "offline": {"action": "store_true", "help": "never ask the network: a Hub id must be in data/models/ already"},
    "device": {"help": "cpu, cuda, cuda:1 … or auto for all (default: the accelerator where there is one)"},
    "dtype": {
        "choices": ("float32", "bfloat16", "float16"),
        "help": "default: float32 on a CPU, else the weights' own",
    },
    "batch-size": {"type": positive, "help": "candidates a batch (reward models) or prompts a batch (language models)"},
    "seed": {"type": int, "help": "seed of everything that is drawn (default 1)"},
    "dry-run": {"action": "store_true", "help": "stop after the estimate of candidates, tokens, memory and time"},
    "max-minutes": {
        "type": float,
        "help": "refuse to run (status 2) where the estimate, of a model where there are several, is longer",
    },
}
