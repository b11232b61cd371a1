"""Preference pairs: a prompt, the reply that is preferred and the one that is not, from any source.

A *pair table* has one row a pair: ``prompt`` (text), ``chosen`` and ``rejected`` (the two replies),
``source`` (data set or part of one), ``key`` (what the held-out split keeps together: a definition, a
prompt), ``history`` (JSON list of the messages before the prompt; empty for a single question).
"""

from valuetrace.preferences.sample import COLUMNS, parse_size, read, split, summary, take
from valuetrace.preferences.sources import Preferences, Source, Valence, draw, load, write

__all__ = [
    "COLUMNS",
    "Preferences",
    "Source",
    "Valence",
    "draw",
    "load",
    "parse_size",
    "read",
    "split",
    "summary",
    "take",
    "write",
]
