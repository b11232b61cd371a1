"""The words of many dictionaries as one lexicon: which count, which were taught, which are shared."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pandas as pd
from wordfreq import zipf_frequency

from valuetrace.core.errors import InputError
from valuetrace.core.files import read_csv
from valuetrace.lexicon import load_lexicon, vocabulary
from valuetrace.lexicon.entries import COLUMNS, is_wildcard, labelled
from valuetrace.lexicon.vocabulary import WORDNET
from valuetrace.lexicon.wildcards import unroll
from valuetrace.studies.dimensions.dictionaries import Dictionary, Dimensions

LEXICON, RATINGS = Path("data/dimensions/lexicon.csv"), Path("data/dimensions/ratings.csv")


def combined(chosen: Dimensions) -> pd.DataFrame:
    """Every dictionary's words: a lexicon whose ``construct`` is ``dictionary:construct``, with three columns more.

    zipf: log10 of occurrences in a billion words; taught: whether the preference pairs hold the word; kept: a single
    word, common enough and not taught. InputError where a trait names a construct that no dictionary has.
    """
    table = pd.concat([_read(name, row) for name, row in chosen.dictionaries.items()], ignore_index=True)
    table["zipf"] = [zipf_frequency(word, "en") for word in table["word"]]
    table["taught"] = table["word"].isin(read_csv(chosen.taught, ("word",), dtype=str)["word"])
    table["kept"] = table["word"].str.isalpha() & (table["zipf"] >= chosen.zipf_floor) & ~table["taught"]
    known = set(labelled(table))
    for trait, names in chosen.traits.items():
        if missing := [name for name in names if name not in known]:
            raise InputError(f"params.yaml: dimensions.traits.{trait}: no construct {missing[0]!r}. Known: {known}.")
    return table


def _read(name: str, row: Dictionary) -> pd.DataFrame:
    if row.ratings is None:
        table = load_lexicon(row.path, name, row.constructs)
        if any(map(is_wildcard, table["word"])):
            table = unroll(table, None, wordnet=WORDNET)
    else:
        rated, of = vocabulary.read_ratings(row.path), row.ratings
        sides = {of.above: rated.index[rated >= of.least], of.below: rated.index[rated <= -of.least]}
        rows = [(word, construct, word) for construct, words in sides.items() for word in words]
        table = pd.DataFrame(rows, columns=["word", "construct", "pattern"]).assign(polarity="", part_of_speech="")
    return table.assign(lexicon=name, construct=f"{name}:" + table["construct"])[list(COLUMNS)]


def read(path: str | Path = LEXICON) -> pd.DataFrame:
    """What ``combined`` made, from its file."""
    table = read_csv(path, (*COLUMNS, "zipf", "taught", "kept"), dtype=dict.fromkeys(COLUMNS, str))
    return table.astype({"taught": bool, "kept": bool})


def read_ratings(path: str | Path = RATINGS) -> pd.Series:
    """Word → rating, from the file that stages/dimensions/lexicons.py writes."""
    return read_csv(path, ("word", "rating"), dtype={"word": str}).set_index("word")["rating"]


def counts(table: pd.DataFrame, zipf_floor: float) -> pd.DataFrame:
    """``dictionary, construct, listed, common, taught, kept``: words a construct; common: single words that reach the
    floor, of which the taught ones are left out."""
    common = table["word"].str.isalpha() & (table["zipf"] >= zipf_floor)
    groups = table.assign(label=labelled(table), common=common).groupby("label", sort=False)
    found = groups.agg(listed=("word", "size"), common=("common", "sum"), kept=("kept", "sum"))
    found = found.rename_axis("construct").reset_index()
    found["taught"], found["dictionary"] = found["common"] - found["kept"], found["construct"].str.partition(":")[0]
    return found[["dictionary", "construct", "listed", "common", "taught", "kept"]]


def overlaps(lexicon: pd.DataFrame) -> pd.DataFrame:
    """Every pair of constructs: ``first, second, words_first, words_second, shared, jaccard, share_of_smaller``."""
    lists = {name: set(rows["word"]) for name, rows in lexicon.groupby(labelled(lexicon), sort=False)}
    rows = []
    for (first, one), (second, other) in combinations(lists.items(), 2):
        shared = len(one & other)
        row = {"first": first, "second": second, "words_first": len(one), "words_second": len(other), "shared": shared}
        shares = {"jaccard": shared / len(one | other), "share_of_smaller": shared / min(len(one), len(other))}
        rows.append(row | shares)
    return pd.DataFrame(rows)
