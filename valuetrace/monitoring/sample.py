"""Which words and prompts a model in memory is profiled with: few, drawn once by a seed, the same at every step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from valuetrace.core import files, settings
from valuetrace.core.errors import InputError, some
from valuetrace.lexicon.unrolled import KNOWN_GROUPS, find_lexicon, lexicon_path
from valuetrace.measures import validity
from valuetrace.prompts import value_laden
from valuetrace.stats.bootstrap import FEWEST_WORDS

_PROMPT_COLUMNS = ["key", "text", "framing"]


@dataclass(frozen=True)
class Sample:
    """prompts: ``key, text, framing``; lexicon: ``word, construct, polarity``, what is ranked; known: the known
    groups, ``word, polarity``, scored along."""

    prompts: pd.DataFrame
    lexicon: pd.DataFrame
    known: pd.DataFrame

    @property
    def words(self) -> list[str]:
        """Every word that is scored, once."""
        return list(dict.fromkeys([*self.lexicon["word"], *self.known["word"]]))


def draw(
    lexicon: str | Path | pd.DataFrame, prompts: int | pd.DataFrame, words: int | None = None, seed: int = 1
) -> Sample:
    """The sample of a seed; a smaller one is part of a larger one.

    lexicon: by name, by file, or a table ``word, construct`` (and ``polarity``). prompts: so many of the 54 a framing,
    or a table ``key, text, framing``, taken whole. words: at most so many a construct, and a side of the known groups;
    None: all. InputError for a lexicon without words of a construct and for numbers that leave nothing to measure.
    """
    if words is not None and words < FEWEST_WORDS:
        raise InputError(
            f"words={words}: no interval holds the median of so few. Give {FEWEST_WORDS} or more, or None."
        )
    found = _first(_lexicon(lexicon), ["construct", "polarity"], words, seed)
    known = validity.with_own(_first(_known_groups(), ["polarity"], words, seed), found)
    return Sample(_prompts(prompts, seed), found, known.reset_index(drop=True))


def _known_groups() -> pd.DataFrame:
    """``word, polarity``; empty where their file is missing: the lexicon's own virtues and vices then count."""
    path = settings.ROOT / lexicon_path(KNOWN_GROUPS)
    empty = pd.DataFrame(columns=["word", "polarity"], dtype=str)
    return files.read_csv(path, ("word", "polarity"), dtype=str) if path.is_file() else empty


def _lexicon(lexicon: str | Path | pd.DataFrame) -> pd.DataFrame:
    table = lexicon if isinstance(lexicon, pd.DataFrame) else find_lexicon(lexicon)
    name = "the table" if isinstance(lexicon, pd.DataFrame) else lexicon
    if not {"word", "construct"} <= set(table.columns) or table.empty:
        raise InputError(f"lexicon: {name} has no words of a construct. Give a table with word and construct.")
    table = table if "polarity" in table.columns else table.assign(polarity="")
    table = table[["word", "construct", "polarity"]].drop_duplicates()
    counts: Any = table.groupby(["construct", "polarity"]).size()
    few = [f"{'.'.join(filter(None, key))} ({count})" for key, count in counts.items() if count < FEWEST_WORDS]
    if few:
        raise InputError(f"lexicon: construct {some(few)} has fewer than {FEWEST_WORDS} words. Add some, or drop it.")
    return table


def _prompts(prompts: int | pd.DataFrame, seed: int) -> pd.DataFrame:
    """Of a number: the same places of the design in both framings, its adjectives in turn."""
    if isinstance(prompts, pd.DataFrame):
        missing = [column for column in _PROMPT_COLUMNS if column not in prompts.columns]
        if missing or set(prompts.get("framing", ())) != set(validity.FRAMINGS):
            wrong = f"column {some(missing)} is missing" if missing else "both framings are needed, no others"
            raise InputError(f"prompts: {wrong}. Give a table with key, text and framing (positive, negative).")
        return prompts[_PROMPT_COLUMNS].reset_index(drop=True)
    every = value_laden()
    most = int(every["framing"].value_counts().min())
    if not 1 <= prompts <= most:
        raise InputError(f"prompts={prompts}: give 1 to {most} a framing, or a table with key, text and framing.")
    chosen = [_first(own, ["adjective"], None, seed) for _, own in every.groupby("framing", sort=False)]
    return pd.concat([own.head(prompts) for own in chosen])[_PROMPT_COLUMNS].reset_index(drop=True)


def _first(table: pd.DataFrame, groups: list[str], most: int | None, seed: int) -> pd.DataFrame:
    """At most so many rows a group, shuffled by the seed, the groups in turn."""
    mixed = table.iloc[np.random.default_rng(seed).permutation(len(table))]
    turn = mixed.groupby(groups).cumcount().to_numpy()
    order = np.argsort(turn, kind="stable")
    return mixed.iloc[order if most is None else order[turn[order] < most]]


@dataclass(frozen=True)
class Monitoring:
    """every: optimizer steps; prompts: of the 54, a framing; words: a construct and a side of the
    known groups; seed: which ones."""

    every: int
    prompts: int
    words: int
    seed: int

    def __post_init__(self):
        if self.every < 1 or not 1 <= self.prompts <= 27 or self.words < 6:
            raise ValueError("every must be at least 1, prompts lie in 1 to 27, words be at least 6")
