"""Counts of a lexicon, for metrics: words a construct, words a pattern, words that constructs share."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from valuetrace.lexicon.entries import is_wildcard, labelled


def words_per_construct(lexicon: pd.DataFrame) -> dict:
    """Words in each construct (and polarity: ``care.virtue``)."""
    return labelled(lexicon).value_counts().sort_index().to_dict()


def overlaps(lexicon: pd.DataFrame) -> dict[str, int]:
    """Words that two constructs (with polarity) share, for the pairs that share any."""
    words = {name: set(rows["word"]) for name, rows in lexicon.groupby(labelled(lexicon))}
    shared = {f"{a} & {b}": len(words[a] & words[b]) for a, b in combinations(sorted(words), 2)}
    return {pair: count for pair, count in shared.items() if count}


def words_per_pattern(dictionary: pd.DataFrame, unrolled: pd.DataFrame) -> dict[str, object]:
    """How many words the wildcards of ``dictionary`` became in ``unrolled``.

    Returns the number of wildcards; the least, mean and most words of one; the wildcards that gave one
    word and those that gave none (``construct pattern``; a word that two patterns match counts for the
    more specific one).
    """
    wild = dictionary[[is_wildcard(pattern) for pattern in dictionary["pattern"]]]
    keys = ["construct", "polarity", "pattern"]
    sizes = unrolled.groupby(keys).size().reindex(pd.MultiIndex.from_frame(wild[keys]), fill_value=0)
    if sizes.empty:
        return {"wildcards": 0}
    named = {size: [f"{key[0]} {key[2]}" for key in sizes.index[sizes == size]] for size in (0, 1)}
    return {
        "wildcards": len(sizes),
        "least": int(sizes.min()),
        "mean": round(float(sizes.mean()), 2),
        "most": int(sizes.max()),
        "one_word": named[1],
        "no_word": named[0],
    }
