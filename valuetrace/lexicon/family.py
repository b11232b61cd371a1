"""The word family of a truncated stem: which words are its inflections and derivations, and which just start alike.

The family starts at

1. the stem, where WordNet's sense-tagged texts hold it as a word (``win``: ``wing`` and ``winter`` are others), else
2. each word that completes the stem by an English ending (``compet``: ``compete``, ``competent``), else
3. the most common word that starts with the stem (``philanth``: ``philanthropy``),

and grows by inflection, by WordNet's derivational links, and by the regular suffixes below.
"""

from __future__ import annotations

from valuetrace.lexicon.vocabulary import Vocabulary

# Endings that complete a truncated stem to a word.
ENDINGS = (
    "e y ion ition ation ate al ial ent ant ence ance ency ancy ive ative able ible ability ibility ity ety ism ist "
    "ize ise ify ication ious ous ic ical er or ure ment ful acy at us te cy tion tive"
)

ANY = "any"

# Regular derivation, for the links that WordNet lacks: suffix, part of speech before, part of speech after.
SUFFIXES = (
    ("ly", "adjective", "adverb"),
    ("ly", "noun", "adjective"),
    ("ness", ANY, "noun"),
    ("ity", "adjective", "noun"),
    ("ty", "adjective", "noun"),
    ("ful", ANY, "adjective"),
    ("less", ANY, "adjective"),
    ("like", "noun", "adjective"),
    ("worthy", "noun", "adjective"),
    ("ship", "noun", "noun"),
    ("hood", "noun", "noun"),
    ("ism", "noun", "noun"),
    ("ism", "adjective", "noun"),
    ("ist", "noun", "noun"),
    ("ist", "adjective", "noun"),
    ("ize", "noun", "verb"),
    ("ize", "adjective", "verb"),
    ("able", "verb", "adjective"),
)
_SHORTEST_BASE = 4  # letters before such a suffix: no ``capable`` from ``cap``


def word_family(stem: str, candidates: dict[str, dict[str, set[str]]], words: Vocabulary) -> list[str]:
    """Those candidates that belong to the word family of ``stem``.

    ``candidates``: word -> the lemmas that it is or is a form of (``Vocabulary.lemmas``).
    """
    pool = {lemma for lemmas in candidates.values() for lemma in lemmas}
    family = _roots(stem, candidates, pool, words)
    todo = sorted(family)
    while todo:
        lemma = todo.pop()
        near = _derived(lemma, words) | {word for word, lemmas in candidates.items() if lemma in lemmas}
        new = (near & pool) - family
        family |= new
        todo += sorted(new)
    return [word for word, lemmas in candidates.items() if family & set(lemmas)]


def _roots(stem: str, candidates: dict, pool: set[str], words: Vocabulary) -> set[str]:
    if stem in pool and any(words.wordnet.readings[stem].values()):
        return {stem}
    completions = {stem + ending for ending in ENDINGS.split()} | {stem[:-1] + "y" if stem.endswith("i") else stem}
    roots = (completions | {stem}) & pool
    if not roots and pool:
        known = [word for word, lemmas in candidates.items() if lemmas]
        roots = set(candidates[max(known, key=words.zipf)])
    return roots


def _derived(lemma: str, words: Vocabulary) -> set[str]:
    """Words one derivation away, or two where the word between looks alike (intent, intend, intention)."""
    related = words.wordnet.related
    near = set(related.get(lemma, ()))
    near |= {far for between in sorted(near) if between[:3] == lemma[:3] for far in related[between]}
    readings = words.wordnet.readings
    for suffix, before, after in SUFFIXES:
        if (before == ANY or before in readings.get(lemma, ())) and len(lemma) >= _SHORTEST_BASE:
            bases = {lemma, lemma.removesuffix("e"), lemma[:-1] + "i" if lemma.endswith("y") else lemma}
            near |= {base + suffix for base in bases if after in readings.get(base + suffix, ())}
    return near | {word.replace("iz", "is") for word in (lemma, *near)}  # British spelling
