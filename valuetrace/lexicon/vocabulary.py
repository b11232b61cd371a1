"""English words: how common (wordfreq), whose form (lemminflect), what (WordNet) and how pleasant (VADER)."""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import lemminflect
import pandas as pd
import wordfreq

from valuetrace.core.errors import InputError
from valuetrace.core.settings import ROOT
from valuetrace.lexicon.wordnet import WordNet, read_wordnet

WORDNET = Path("data/assets/wordnet")
PARTS_OF_SPEECH = ("noun", "verb", "adjective", "adverb", "other")
NOUN_SHARE = 0.25
_UPOS = {"NOUN": "noun", "VERB": "verb", "ADJ": "adjective", "ADV": "adverb"}


class Vocabulary:
    """Words with their frequency, their lemmas and their parts of speech."""

    def __init__(self, wordnet: WordNet):
        self.wordnet = wordnet
        frequencies = wordfreq.get_frequency_dict("en", wordlist="best")
        self._zipf = {word: math.log10(frequency) + 9 for word, frequency in frequencies.items()}
        self._sorted = sorted(self._zipf)
        self._hyphenated = sorted(word for word in wordnet.readings if "-" in word)

    def zipf(self, word: str) -> float:
        """Zipf frequency: log10 of the occurrences in a billion words (van Heuven et al. 2014); 0 if unknown."""
        return self._zipf.get(word, 0.0)

    def starting_with(self, stem: str, floor: float) -> Iterator[str]:
        """Words that start with ``stem`` and are at least as common as ``floor`` (Zipf), in order.

        wordfreq counts the parts of hyphenated words, not the words: of those, the ones that occur in
        WordNet's sense-tagged texts are common enough.
        """
        if "-" in stem:
            common = self._hyphenated
            enough = lambda word: any(self.wordnet.readings[word].values())  # noqa: E731
        else:
            common = self._sorted
            enough = lambda word: self._zipf[word] >= floor  # noqa: E731
        for at in range(bisect_left(common, stem), len(common)):
            if not common[at].startswith(stem):
                break
            if enough(common[at]):
                yield common[at]

    def lemmas(self, word: str) -> dict[str, set[str]]:
        """The WordNet words that ``word`` is or is a form of, each with its parts of speech there."""
        found: dict[str, set] = {}
        if word in self.wordnet.readings:
            found[word] = set(self.wordnet.readings[word])
        for upos, lemmas in _all_lemmas(word).items():
            part = _UPOS.get(upos)
            for lemma in lemmas:
                if part in self.wordnet.readings.get(lemma, ()):
                    found.setdefault(lemma, set()).add(part)
        return found

    def parts_of_speech(self, word: str) -> list[str]:
        """Parts of speech in the order of PARTS_OF_SPEECH; a form has those of its lemma; else ``other``."""
        parts = set().union(*self.lemmas(word).values())
        return [part for part in PARTS_OF_SPEECH if part in parts] or ["other"]

    def is_noun(self, word: str) -> bool:
        """Whether ``word``, standing alone, can well be read as a noun.

        That is: nouns are at least NOUN_SHARE of its occurrences in WordNet's sense-tagged texts (``thought``,
        ``learning``, ``love``: yes; ``able``, ``help``: no). A word without an occurrence of its own is judged by the
        words that it is a form of (``goals`` by ``goal``: yes; ``wins`` by ``win``, nearly always a verb: no). A word
        that these texts lack altogether is a noun if WordNet has it as one.
        """
        counts = self.wordnet.readings.get(word, {})
        if not any(counts.values()):
            counts = {}
            for lemma, parts in self.lemmas(word).items():
                for part in parts:
                    counts[part] = counts.get(part, 0) + self.wordnet.readings[lemma][part]
        return "noun" in counts and counts["noun"] >= NOUN_SHARE * sum(counts.values())


@functools.cache
def load_vocabulary(folder: str | Path = WORDNET) -> Vocabulary:
    """The vocabulary on the WordNet files in ``folder``, read once a process (about 3 seconds)."""
    return Vocabulary(read_wordnet(folder))


@functools.cache
def _all_lemmas(word: str) -> dict[str, tuple[str, ...]]:
    return lemminflect.getAllLemmas(word)


RATED = Path("data/assets/vader/vader_lexicon.txt")


def read_ratings(path: str | Path) -> pd.Series:
    """Word → mean rating of how pleasant it is (−4 to 4), from VADER's lexicon (Hutto & Gilbert 2014).

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


def find_ratings() -> Path | None:
    """VADER's file here or in the repository; None where it was not fetched."""
    return next((root / RATED for root in (Path(), ROOT) if (root / RATED).is_file()), None)
