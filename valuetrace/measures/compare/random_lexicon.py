"""Do any two word lists differ as much? Random lexicons of the same sizes and of like words.

Two models can differ in how they rank almost any list of words. A construct's difference between
bases says something about the construct only where it exceeds that of random lists that are matched
word by word (``matching``).

The *pool* that random lists come from:

* ``other words``: words that every score file holds and the lexicon lacks (files over a whole
  vocabulary). Each random lexicon replaces every word by another of its stratum and is ranked
  within itself, as the lexicon is.
* ``lexicon``: where the files hold hardly anything but the lexicon, the construct labels are
  exchanged between words of one stratum. That asks less: whether the *labels* carry the difference,
  given these words.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from valuetrace.measures.compare import matching
from valuetrace.measures.compare.scores import Scores
from valuetrace.stats.ranks import subset_medians

POOL_FACTOR = 3
"""Other words are the pool where they outnumber the lexicon's so many times."""


def random_medians(
    scores: Scores,
    ranks: np.ndarray,
    lexicon: pd.DataFrame,
    pool: pd.Index,
    pool_scores: np.ndarray,
    draws: int,
    seed: int,
) -> tuple[np.ndarray, dict]:
    """Median ranks of random lexicons, (draws, constructs, models, prompts), and how they were drawn.

    ranks: the lexicon's, (words, models × prompts). pool, pool_scores: the other words that all
    files score and their scores (models, prompts, words), from ``scores.other_words``.
    """
    rng = np.random.default_rng(seed)
    from_other = len(pool) >= POOL_FACTOR * len(scores.words)
    source = pool if from_other else scores.words
    known = matching.traits(lexicon, scores.words, source)
    strata, source_strata = matching.match_strata(scores.words, source, known)
    about = {
        "pool": "other words" if from_other else "lexicon",
        "pool_words": len(source),
        "draws": draws,
        "strata": int(source_strata.max()) + 1,
        "matched_on": matching.shared(strata, source_strata, known),
        "meaning": (
            "each word of the lexicon is replaced by another word of its stratum; the random lexicon is ranked "
            "within itself"
            if from_other
            else "construct labels are exchanged between words of one stratum, because the score files hold too few "
            "words beside the lexicon's"
        ),
    }
    if from_other:
        picks = draw_words(strata, source_strata, draws, rng)
        medians = _medians_of_picks(picks, pool_scores.reshape(-1, len(pool)), scores.member)
    else:
        about["words_that_move"] = int(np.isin(strata, _mixed(strata, scores.member)).sum())
        labels = exchange_labels(scores.member, strata, draws, rng)
        medians = subset_medians(ranks, labels.reshape(-1, len(scores.words)))
    shape = (draws, len(scores.constructs), len(scores.models), len(scores.prompts))
    return medians.reshape(shape), about


def draw_words(strata: np.ndarray, pool_strata: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """For every draw and lexicon word a pool word of its stratum, none twice in a draw: (draws, words) indices."""
    picks = np.empty((draws, len(strata)), dtype=np.intp)
    for stratum in np.unique(strata):
        (own,) = np.nonzero(strata == stratum)
        (candidates,) = np.nonzero(pool_strata == stratum)
        for draw in range(draws):
            picks[draw, own] = rng.choice(candidates, len(own), replace=False)
    return picks


def exchange_labels(member: np.ndarray, strata: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Memberships with words permuted within strata: (draws, constructs, words), int8; sizes stay as they are."""
    labels = np.empty((draws, *member.shape), dtype=np.int8)
    for stratum in np.unique(strata):
        (own,) = np.nonzero(strata == stratum)
        orders = np.argsort(rng.random((draws, len(own))), axis=1)
        labels[:, :, own] = np.moveaxis(member[:, own][:, orders], 1, 0)
    return labels


def _mixed(strata: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Strata that hold words of more than one kind of membership."""
    kinds = pd.DataFrame(member.T).astype(int).astype(str).agg("".join, axis=1)
    counts = kinds.groupby(strata).nunique()
    return counts[counts > 1].index.to_numpy()


def _medians_of_picks(picks: np.ndarray, scores: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Median rank of each construct's stand-ins within each random lexicon, average ties.

    picks: (draws, words) indices into scores' words; scores: (columns, pool). A median rank is the
    rank of the middle score, so no list is sorted. Returns (draws, constructs, columns).
    """
    medians = np.empty((len(picks), len(member), len(scores)))
    for column, values in enumerate(scores):
        drawn = values[picks]
        for construct, row in enumerate(member):
            own = drawn[:, row]
            n = own.shape[1]
            middle = {(n - 1) // 2, n // 2}
            parts = np.partition(own, sorted(middle), axis=1)
            ranks = [
                (drawn > parts[:, [i]]).sum(axis=1) + ((drawn == parts[:, [i]]).sum(axis=1) + 1) / 2 for i in middle
            ]
            medians[:, construct, column] = np.mean(ranks, axis=0)
    return medians
