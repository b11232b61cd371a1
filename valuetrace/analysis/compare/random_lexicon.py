"""Do any two word lists differ as much? Random lexicons of the same sizes, frequency and length.

Two models can differ in how they rank almost any list of words. A construct's difference between
bases says something about the construct only where it exceeds that of random lists that are matched
word by word on part of speech (where it is known), frequency (wordfreq's Zipf scale) and length (letters).

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
from wordfreq import zipf_frequency

from valuetrace.analysis.compare.scores import Scores
from valuetrace.lexicon.find import find_wordnet
from valuetrace.lexicon.vocabulary import PARTS_OF_SPEECH, load_vocabulary
from valuetrace.stats.ranks import subset_medians

POOL_FACTOR = 3
"""Other words are the pool where they outnumber the lexicon's so many times."""

STRATUM_WORDS = 10
"""A stratum holds at least so many words of the pool; smaller ones join their neighbour."""

LENGTHS = (5, 8, 11)
"""Strata of length begin at these numbers of letters; those of frequency are one Zipf unit wide."""

MATCHED_ON = "Zipf frequency (one unit) and length in letters (to 4, 5–7, 8–10, 11 and more)"


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
    speech = parts_of_speech(lexicon, scores.words, source)
    strata, source_strata = match_strata(scores.words, source, speech)
    about = {
        "pool": "other words" if from_other else "lexicon",
        "pool_words": len(source),
        "draws": draws,
        "strata": int(source_strata.max()) + 1,
        "matched_on": ("part of speech, " if speech else "") + MATCHED_ON,
        "same_part_of_speech": _same_speech(strata, source_strata, *speech) if speech else None,
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


def parts_of_speech(lexicon: pd.DataFrame, words: pd.Index, pool: pd.Index) -> tuple[np.ndarray, np.ndarray] | None:
    """Part of speech of ``words`` and of ``pool``, (words,) and (pool,), as numbers; None where it is not known.

    A word that can be several counts as the first of noun, verb, adjective, adverb, other. The lexicon's words have
    theirs from its column ``part_of_speech``, other words from WordNet, where its files are.
    """
    if "part_of_speech" not in lexicon.columns or (lexicon["part_of_speech"] == "").all():
        return None
    stated = lexicon.drop_duplicates("word").set_index("word")["part_of_speech"]
    own = stated.reindex(words).str.partition("|")[0].map(_speech).to_numpy()
    if pool.equals(words):
        return own, own
    wordnet = find_wordnet()
    if wordnet is None:
        return None
    known = load_vocabulary(wordnet)
    return own, np.array([_speech(known.parts_of_speech(word)[0]) for word in pool])


def match_strata(
    words: pd.Index, pool: pd.Index, speech: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Stratum numbers of ``words`` and of ``pool``: (words,), (pool,), from 0.

    Strata are ordered by part of speech (``parts_of_speech``), frequency, length; one whose pool has
    fewer than STRATUM_WORDS words, or fewer than the lexicon takes from it, is merged with the next.
    """
    cells = np.concatenate([_cells(words), _cells(pool)])
    if speech is not None:
        cells += 1_000 * np.concatenate(speech)
    codes = np.unique(cells, return_inverse=True)[1]
    own, others = codes[: len(words)], codes[len(words) :]
    needed = np.bincount(own, minlength=codes.max() + 1)
    present = np.bincount(others, minlength=codes.max() + 1)
    merged = np.zeros(len(needed), dtype=np.int64)
    stratum, need, have = 0, 0, 0
    for cell in range(len(needed)):
        merged[cell] = stratum
        need, have = need + needed[cell], have + present[cell]
        if have >= max(STRATUM_WORDS, need):
            stratum, need, have = stratum + 1, 0, 0
    if have or need:  # the last ones join those before them until they suffice
        while stratum > 0 and present[merged >= stratum].sum() < max(STRATUM_WORDS, needed[merged >= stratum].sum()):
            stratum -= 1
            merged[merged > stratum] = stratum
    return merged[own], merged[others]


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


def _cells(words: pd.Index) -> np.ndarray:
    zipf = np.array([zipf_frequency(word, "en") for word in words])
    lengths = np.array([len(word) for word in words])
    return np.floor(zipf).astype(int) * 10 + np.digitize(lengths, LENGTHS)


def _speech(part: str) -> int:
    return PARTS_OF_SPEECH.index(part) if part in PARTS_OF_SPEECH else len(PARTS_OF_SPEECH)


def _same_speech(strata: np.ndarray, pool_strata: np.ndarray, own: np.ndarray, others: np.ndarray) -> float:
    """The chance that a word's stand-in is of its part of speech (strata that are too small were merged)."""
    return float(np.mean([(others[pool_strata == s] == part).mean() for s, part in zip(strata, own, strict=True)]))


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
