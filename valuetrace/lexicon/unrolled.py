"""Unrolled lexicons by name or file (the one way in for commands and stages), and the parameters they are made with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from wordfreq import zipf_frequency

from valuetrace.core import files
from valuetrace.core.errors import InputError, some
from valuetrace.core.settings import ROOT
from valuetrace.lexicon.entries import COLUMNS, is_wildcard, sort_rows, words_per_construct
from valuetrace.lexicon.sources import load_lexicon
from valuetrace.lexicon.vocabulary import WORDNET
from valuetrace.lexicon.wildcards import ZIPF_FLOOR, unroll

KNOWN_GROUPS = "known_groups"
"""The lexicon of words whose order is known (virtue before vice); every search scores them along."""


def lexicon_path(name: str) -> Path:
    """Where the lexicons stage writes the unrolled lexicon ``name``, from the root of the repository."""
    return Path("lexicons/unrolled", f"{name}.csv")


def read_lexicon(name: str) -> pd.DataFrame:
    """An unrolled lexicon by name: ``word, construct, polarity`` and what else it has; words stay words."""
    return files.read_csv(lexicon_path(name), ("word", "construct", "polarity"), dtype=str)


def find_lexicon(lexicon: str | Path) -> pd.DataFrame:
    """A lexicon by file, or by the name of an unrolled one; wildcards of a file are unrolled.

    Returns the lexicon table of ``load_lexicon``. InputError where there is no such lexicon, and where a wildcard
    needs WordNet and it is not there.
    """
    named = [root / lexicon_path(str(lexicon)) for root in (Path(), ROOT)]
    path = next((path for path in (Path(lexicon), *named) if path.is_file()), None)
    if path is None:
        raise InputError(f"{lexicon}: neither a lexicon file nor one of {named[0].parent}/. Check the spelling.")
    table = load_lexicon(path)
    wild = [word for word in table["word"] if is_wildcard(word)]
    if not wild:
        return table
    wordnet = find_wordnet()
    if wordnet is None:
        raise InputError(
            f"{lexicon}: {len(wild)} entries end in * ({some(wild)}); unrolling them needs WordNet in {WORDNET}/. "
            "Run `dvc repro fetch`, or write the words out."
        )
    return unroll(table, None, ZIPF_FLOOR, wordnet)


def find_wordnet() -> Path | None:
    """WordNet's folder here or in the repository; None where it was not fetched."""
    return next((root / WORDNET for root in (Path(), ROOT) if (root / WORDNET).is_dir()), None)


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
