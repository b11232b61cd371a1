"""Ranks of words and their medians: the measure that every question of the paper starts from."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def rank_words(scores: np.ndarray) -> np.ndarray:
    """Rank each column of ``scores`` (words × columns); 1 is the highest score, ties share the average.

    Section 2 ("token ranks"); a column is one model's scores for one prompt.
    """
    return rankdata(-np.asarray(scores, dtype=np.float64), axis=0, method="average")


def subset_medians(ranks: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The median rank of many word subsets at once.

    ranks: (words, columns) values, any real numbers without NaN. counts: (subsets, words)
    non-negative whole numbers, how often each subset takes each word (0/1 for a permutation of
    labels, counts for a bootstrap). Returns (subsets, columns), equal to ``np.median`` of the
    repeated values, to the bit.

    Sorting each column once turns every median into a look-up in a cumulative count, so that
    10,000 relabelings cost one pass instead of 10,000 sorts.
    """
    ranks = np.asarray(ranks, dtype=np.float64)
    counts = np.asarray(counts)
    totals = counts.sum(axis=1, dtype=np.int64)
    if (totals == 0).any():
        raise ValueError("a subset with no words has no median")
    small = np.int16 if totals.max() < 2**15 else np.int64
    order = np.argsort(ranks, axis=0, kind="stable")
    # the two middle positions (0-based) of a sorted list of `total` values
    low, high = ((totals - 1) // 2).astype(small), (totals // 2).astype(small)
    medians = np.empty((len(counts), ranks.shape[1]))
    by_word = np.ascontiguousarray(counts.T.astype(small))  # (words, subsets)
    for column in range(ranks.shape[1]):
        ordered = ranks[order[:, column], column]
        cumulative = np.cumsum(by_word[order[:, column]], axis=0, dtype=small)
        first = (cumulative <= low).sum(axis=0)
        second = (cumulative <= high).sum(axis=0)
        medians[:, column] = (ordered[first] + ordered[second]) / 2
    return medians
