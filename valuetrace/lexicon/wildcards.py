"""Unroll the wildcards of a dictionary into plausible words: inflections and derivations of its stem.

A word counts as plausible for ``stem*`` if it starts with the stem, is common enough, and belongs to the stem's word
family. The family starts at

1. the stem, where WordNet's sense-tagged texts hold it as a word (``win``: ``wing`` and ``winter`` are others), else
2. each word that completes the stem by an English ending (``compet``: ``compete``, ``competent``), else
3. the most common word that starts with the stem (``philanth``: ``philanthropy``),

and grows by inflection, by WordNet's derivational links, and by the regular suffixes below.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import pandas as pd

from valuetrace.core.errors import InputError, some
from valuetrace.lexicon.entries import COLUMNS, apply_edits, entries, is_wildcard, labelled, sort_rows
from valuetrace.lexicon.vocabulary import WORDNET, Vocabulary, load_vocabulary

ZIPF_FLOOR = 2.5  # three occurrences in ten million words

# Words that WordNet leaves out because they are grammar (should, you) are among the most common ones.
_GRAMMAR_ZIPF = 5.5
_CLITICS = ("n't", "'ve", "'re", "'ll", "'d")


def unroll(
    patterns: Iterable[str] | Mapping[str, Iterable[str]] | pd.DataFrame,
    edits: pd.DataFrame | None = None,
    zipf_floor: float = ZIPF_FLOOR,
    wordnet: str | Path | Vocabulary = WORDNET,
) -> pd.DataFrame:
    """Replace every wildcard by the words that it stands for.

    ``patterns``: strings (``["achiev*", "win"]``), strings by construct (``{"agency": ["achiev*"]}``), or a lexicon
    from ``load_lexicon``. Entries without a wildcard stay as they are, however rare. ``edits``: hand exclusions and
    inclusions (``read_edits``), applied last. ``zipf_floor``: the rarest word that is taken, as log10 of its
    occurrences in a billion words. ``wordnet``: folder of the WordNet 3.0 files.

    Returns one row a word and construct (and polarity): ``word, lexicon, construct, polarity, pattern,
    part_of_speech``, sorted. Where patterns overlap (``persist*``, ``persistent``) a word keeps the most
    specific one. Raises InputError for a malformed or repeated pattern, an empty construct, a stale edit.
    """
    words = wordnet if isinstance(wordnet, Vocabulary) else load_vocabulary(wordnet)
    lexicon = entries(patterns)
    rows, nothing = [], cast("list[str]", [])
    for row in lexicon.to_dict("records"):
        found = expand(row["word"], words, zipf_floor) if is_wildcard(row["word"]) else [row["word"]]
        rows += [{**row, "word": word} for word in found]
        nothing += [] if found else [row["word"]]
    if nothing:
        warnings.warn(f"{len(nothing)} wildcards match no word: {some(nothing)}", stacklevel=2)
    unrolled = _most_specific(pd.DataFrame(rows, columns=list(COLUMNS)))
    if edits is not None:
        unrolled = apply_edits(unrolled, lexicon, edits)
    _require_all_constructs(lexicon, unrolled)
    blank = unrolled["part_of_speech"] == ""
    unrolled.loc[blank, "part_of_speech"] = [
        "|".join(words.parts_of_speech(word)) for word in unrolled.loc[blank, "word"]
    ]
    return sort_rows(unrolled)


def nouns(lexicon: pd.DataFrame, wordnet: str | Path | Vocabulary = WORDNET) -> pd.DataFrame:
    """The rows of an unrolled lexicon whose word is a single word that reads well as a noun.

    ``Vocabulary.is_noun`` states the rule; hyphens and apostrophes make more than one word.
    """
    words = wordnet if isinstance(wordnet, Vocabulary) else load_vocabulary(wordnet)
    chosen = [word.isalpha() and words.is_noun(word) for word in lexicon["word"]]
    return lexicon[chosen].reset_index(drop=True)


def expand(pattern: str, words: Vocabulary, zipf_floor: float = ZIPF_FLOOR) -> list[str]:
    """The words that one wildcard pattern stands for, sorted."""
    stem = pattern.removesuffix("*")
    phrase, _, last = stem.rpartition(" ")
    if phrase:  # a phrase varies in the number of its last word: common ground, common grounds
        forms = words.starting_with(last, zipf_floor)
        return sorted({stem} | {f"{phrase} {form}" for form in forms if "noun" in words.lemmas(form).get(last, ())})
    candidates = list(words.starting_with(stem, zipf_floor))
    if "-" in stem:  # a compound: whatever follows the hyphen is its own word
        return candidates
    bare = stem.rstrip("'")
    if bare not in words.wordnet.readings and words.zipf(bare) >= _GRAMMAR_ZIPF:
        contractions = {bare + clitic for clitic in _CLITICS}
        return [word for word in candidates if word == bare or word in contractions]
    return word_family(stem, {word: words.lemmas(word) for word in candidates}, words)


def _require_all_constructs(dictionary: pd.DataFrame, unrolled: pd.DataFrame) -> None:
    lost = sorted(set(labelled(dictionary)) - set(labelled(unrolled)))
    if lost:
        raise InputError(f"construct {some(lost)} has no words left. Lower the Zipf floor, or include words by hand.")


def _most_specific(lexicon: pd.DataFrame) -> pd.DataFrame:
    """One row a word in each construct and polarity: literal entries first, then the longest pattern."""
    ranked = lexicon.assign(wild=lexicon["pattern"].str.endswith("*"), length=-lexicon["pattern"].str.len())
    ranked = ranked.sort_values(["wild", "length"], kind="stable")
    return ranked.drop_duplicates(["construct", "polarity", "word"])[list(COLUMNS)]


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
