"""Unrolled lexicons, by name or file: the one way in for commands and stages."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from valuetrace.core import files
from valuetrace.core.errors import InputError, some
from valuetrace.core.settings import ROOT
from valuetrace.lexicon.entries import is_wildcard
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
