"""Do any two word lists differ as much? Random lexicons of the same sizes and of like words.

Two models can differ in how they rank almost any list of words. A construct's difference between bases says something
about the construct only where it exceeds that of random lists, whose words match the lexicon's one by one in part of
speech, valence, frequency, field of meaning and length. Words of one value are alike in all of these: random words
without such a match move less together from model to model, and a difference looks too large beside them. Traits whose
source was not fetched (WordNet, VADER) are left out, and the result says so.

The *pool* that random lists come from:

* ``other words``: words that every score file holds and the lexicon lacks (files over a whole vocabulary). Each random
  lexicon replaces every word by another of its stratum and is ranked within itself, as the lexicon is.
* ``lexicon``: where the files hold hardly anything but the lexicon, words of one stratum exchange their construct
  labels. That asks less: whether the *labels* carry the difference, given these words.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from wordfreq import zipf_frequency

from valuetrace.lexicon.unrolled import find_wordnet
from valuetrace.lexicon.vocabulary import PARTS_OF_SPEECH, find_ratings, load_vocabulary, read_ratings
from valuetrace.measures.compare.scores import Scores
from valuetrace.stats.ranks import subset_medians

STRATUM_WORDS = 10
"""A stratum holds at least so many words of the pool; smaller ones join their neighbour."""

LENGTHS = (5, 8, 11)
"""Strata of length begin at these numbers of letters; those of frequency are one Zipf unit wide."""

PLEASANT = 1.0
"""VADER's mean rating from which a word counts as pleasant, and below its negative as unpleasant (−4 to 4)."""


class Trait(NamedTuple):
    """What a stand-in should share: ``name`` in print, and a number for each of the words and of the pool."""

    name: str
    words: np.ndarray
    pool: np.ndarray


def traits(lexicon: pd.DataFrame, words: pd.Index, pool: pd.Index) -> list[Trait]:
    """What is known of ``words`` and ``pool``, the weightiest first: what comes later is given up sooner where words
    are few. lexicon: its ``part_of_speech`` counts before WordNet's."""
    speech = parts_of_speech(lexicon, words, pool)
    found = [] if speech is None else [Trait("part of speech", *speech)]
    rated, wordnet = find_ratings(), find_wordnet()
    if rated is not None:
        valence = read_ratings(rated)

        def sign(word: str) -> int:
            rating = valence.get(word, 0.0)
            return int(np.sign(rating) * (abs(rating) >= PLEASANT))

        found.append(_trait("valence (VADER: −1 and less, 1 and more, between or not rated)", words, pool, sign))
    frequency, length = traits_of_form(words, pool)
    found.append(frequency)
    if wordnet is not None:
        fields, known = read_fields(wordnet), load_vocabulary(wordnet)

        def field(word: str) -> int:
            return max((fields[w] for w in known.lemmas(word) if w in fields), default=(0, -1))[1]

        found.append(_trait("field of meaning (WordNet's lexicographer file)", words, pool, field))
    return [*found, length]


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


def read_fields(wordnet: Path) -> dict[str, tuple[int, int]]:
    """Word → (how often WordNet's tagged texts hold its commonest sense, that sense's lexicographer file, 0 to 44).

    Of senses that are equally common the first. index.sense: ``lemma%type:file:…  offset  sense number  count``.
    """
    found: dict[str, tuple[int, int, int]] = {}
    for line in (wordnet / "index.sense").read_text(encoding="utf-8").splitlines():
        key, _, number, count = line.split()
        lemma, _, sense = key.partition("%")
        told = (int(count), -int(number), int(sense.split(":")[1]))
        found[lemma] = max(found.get(lemma, told), told)
    return {lemma: (count, field) for lemma, (count, _, field) in found.items()}


def match_strata(words: pd.Index, pool: pd.Index, known: list[Trait] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Stratum numbers of ``words`` and of ``pool``: (words,), (pool,), from 0.

    Strata are ordered by ``known`` (default: frequency, length); one whose pool has fewer than STRATUM_WORDS words, or
    fewer than the lexicon takes from it, is merged with the next.
    """
    known = traits_of_form(words, pool) if known is None else known
    columns = np.stack([np.concatenate([trait.words, trait.pool]) for trait in known], axis=1)
    codes = np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1)
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


def shared(strata: np.ndarray, pool_strata: np.ndarray, known: list[Trait]) -> list[dict]:
    """A row a trait: ``trait`` and ``same``, the chance that a stand-in is like its word (small strata were merged)."""
    found = []
    for trait in known:
        like = [(trait.pool[pool_strata == s] == own).mean() for s, own in zip(strata, trait.words, strict=True)]
        found.append({"trait": trait.name, "same": float(np.mean(like))})
    return found


def traits_of_form(words: pd.Index, pool: pd.Index) -> list[Trait]:
    """Frequency and length, which every word has."""
    lengths = "length in letters (to 4, 5–7, 8–10, 11 and more)"
    return [
        _trait("Zipf frequency (one unit)", words, pool, lambda word: int(zipf_frequency(word, "en"))),
        _trait(lengths, words, pool, lambda word: int(np.digitize(len(word), LENGTHS))),
    ]


def _trait(name: str, words: pd.Index, pool: pd.Index, value: Callable[[str], int]) -> Trait:
    own = np.array([value(word) for word in words], dtype=np.int64)
    return Trait(name, own, own if pool.equals(words) else np.array([value(word) for word in pool], dtype=np.int64))


def _speech(part: str) -> int:
    return PARTS_OF_SPEECH.index(part) if part in PARTS_OF_SPEECH else len(PARTS_OF_SPEECH)


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
    known = traits(lexicon, scores.words, source)
    strata, source_strata = match_strata(scores.words, source, known)
    about = {
        "pool": "other words" if from_other else "lexicon",
        "pool_words": len(source),
        "draws": draws,
        "strata": int(source_strata.max()) + 1,
        "matched_on": shared(strata, source_strata, known),
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
