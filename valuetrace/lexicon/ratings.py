"""People's ratings of how pleasant a word is: VADER's lexicon (Hutto & Gilbert 2014)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from valuetrace.core.errors import InputError
from valuetrace.core.settings import ROOT

RATED = Path("data/assets/vader/vader_lexicon.txt")


def read(path: str | Path) -> pd.Series:
    """Word → mean rating (−4 to 4) from VADER's file (word, mean, standard deviation, ratings, by tabs).

    Only words of letters in lower case: no emoticon, no phrase. InputError names the line that is none of this.
    """
    path, found = Path(path), {}
    if not path.is_file():
        raise InputError(f"{path}: no such list of rated words. Run dvc repro fetch.")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        parts = line.split("\t")
        try:
            word, rating = parts[0], float(parts[1])
        except (IndexError, ValueError):
            raise InputError(f"{path}, line {number}: {line[:40]!r} is no word and rating, parted by a tab.") from None
        if word.isalpha() and word.islower():
            found[word] = rating
    return pd.Series(found, name="rating", dtype=float)


def find() -> Path | None:
    """VADER's file here or in the repository; None where it was not fetched."""
    return next((root / RATED for root in (Path(), ROOT) if (root / RATED).is_file()), None)
