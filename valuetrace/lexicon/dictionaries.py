"""Words whose order is known: every search scores them along, so that its reading can be checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd
from wordfreq import zipf_frequency

from valuetrace.core.errors import InputError
from valuetrace.lexicon.entries import COLUMNS, sort_rows
from valuetrace.lexicon.summary import words_per_construct
from valuetrace.lexicon.unrolled import KNOWN_GROUPS


@dataclass(frozen=True)
class KnownGroups:
    """source: a lexicon with virtue and vice; words: how many of each, the most frequent ones."""

    source: str
    words: int


def known_groups(lexicon: pd.DataFrame, others: Iterable[pd.DataFrame], words: int) -> pd.DataFrame:
    """The ``words`` most frequent virtues and vices (Zipf; construct ``known``) of an unrolled lexicon.

    A word counts that is a single word, has one polarity only and stands in none of the ``others``, which are
    measured. InputError where a side has fewer.
    """
    measured = {word for other in others for word in other["word"]}
    of_word = lexicon.groupby("word")["polarity"].agg(lambda own: own.iloc[0] if own.nunique() == 1 else "")
    fit = [word.isalpha() and word not in measured and of_word[word] != "" for word in lexicon["word"]]
    found = lexicon[fit].drop_duplicates("word")
    found = found.assign(zipf=[zipf_frequency(word, "en") for word in found["word"]])
    found = found.sort_values(["zipf", "word"], ascending=[False, True]).groupby("polarity").head(words)
    counts = words_per_construct(found.assign(construct="known"))
    if counts != {"known.vice": words, "known.virtue": words}:
        raise InputError(f"lexicons.known_groups: {counts} words where {words} a side are asked for. Lower 'words'.")
    return sort_rows(found.assign(lexicon=KNOWN_GROUPS, construct="known")[list(COLUMNS)])


@dataclass(frozen=True)
class Source:
    """One dictionary: where it is, which constructs to take and how it is edited and checked."""

    path: str
    constructs: dict[str, str] | None = None  # name to use -> name in the file; all by default
    edits: str | None = None
    contrasts: list[list[str]] = field(default_factory=list)  # constructs that must share no word
    nouns: bool = False


@dataclass(frozen=True)
class Lexicons:
    """The parameter group: WordNet's folder, the rarest word taken (Zipf), the dictionaries, the known groups."""

    wordnet: str
    zipf_floor: float
    sources: dict[str, Source]
    known_groups: KnownGroups

    def __post_init__(self):
        if self.known_groups.source not in self.sources:
            raise ValueError(f"known_groups.source {self.known_groups.source!r} is not among sources")
