"""Preference pairs from WordNet definitions: the right gloss of a word against another word's.

Prompt "Define the noun 'lemma' in one sentence."; chosen: the definition of one of its senses;
rejected: the definition of another synset of the same part of speech and similar length. Format of the
files: https://wordnet.princeton.edu/documentation/wndb5wn.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from valuetrace.core.errors import InputError
from valuetrace.preferences.sample import COLUMNS, is_held_out

FILES = {"data.noun": "noun", "data.verb": "verb", "data.adj": "adjective", "data.adv": "adverb"}
NEIGHBOURS = 50  # in order of length, the rejected definition is at most so many places away (5% where few)
_TRIES = 20
_WORD = re.compile(r"[a-z]+")
_EXAMPLE = re.compile(r'[;:,]?\s*"')  # what follows the definition: quoted uses


@dataclass(frozen=True)
class Synset:
    """One meaning: its part of speech, the words that have it, its definition without examples."""

    key: str
    part: str
    lemmas: tuple[str, ...]
    definition: str


def read_synsets(folder: str | Path) -> list[Synset]:
    """All synsets of a WordNet folder that have a definition (117,000; 1 second)."""
    found = []
    for name, part in FILES.items():
        path = Path(folder, name)
        try:
            with open(path, encoding="utf-8") as file:
                for line in file:
                    if not line.startswith(" "):  # licence
                        found.append(_synset(line, part))
        except FileNotFoundError:
            raise InputError(f"{path}: no such file. Fetch the WordNet 3.0 database: dvc repro fetch.") from None
        except (ValueError, IndexError):
            raise InputError(f"{path}: not a WordNet database file. Fetch it again.") from None
    return [synset for synset in found if synset.definition]


def pairs(synsets: list[Synset], excluded: set[str], held_out: float, seed: int) -> tuple[pd.DataFrame, Counter]:
    """One pair a lemma and sense, and how many were left out for which reason.

    ``excluded``: words that no prompt, chosen or rejected text may hold. The rejected definition comes
    from the chosen one's side of the held-out split (``key`` is the definition), so that no definition
    stands on both sides; it is never one of the same lemma.
    """
    silent = Silence(excluded)
    left_out: Counter = Counter()
    sides: dict[tuple, list[Synset]] = defaultdict(list)
    of_lemma: dict[str, set[str]] = defaultdict(set)
    for synset in synsets:
        for lemma in synset.lemmas:
            of_lemma[lemma.lower()].add(synset.definition)
        if silent(synset.definition):
            sides[synset.part, is_held_out(synset.definition, held_out, seed)].append(synset)
        else:
            left_out["definition_has_lexicon_word"] += len(synset.lemmas)
    rows = []
    for (part, out), members in sorted(sides.items()):
        ladder = sorted({synset.definition for synset in members}, key=lambda text: (len(text), text))
        place = {text: at for at, text in enumerate(ladder)}
        draws = np.random.default_rng([seed, out, *part.encode()])
        for synset in members:
            for lemma in synset.lemmas:
                if not silent(lemma):
                    left_out["lemma_is_lexicon_word"] += 1
                    continue
                other = _partner(ladder, place[synset.definition], of_lemma[lemma.lower()], draws)
                if other is None:
                    left_out["no_partner"] += 1
                    continue
                prompt = f"Define the {part} '{lemma}' in one sentence."
                rows.append((prompt, synset.definition, other, "wordnet", synset.definition, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS)), left_out


class Silence:
    """Whether a text holds none of the excluded words; phrases and hyphenated words count as sequences."""

    def __init__(self, excluded: set[str]):
        self.phrases: dict[str, list[list[str]]] = defaultdict(list)
        for entry in sorted(excluded):
            words = _words(entry)
            if words:
                self.phrases[words[0]].append(words)

    def __call__(self, text: str) -> bool:
        """Whether ``text`` holds no excluded word, upper or lower case."""
        words = _words(text)
        return self.phrases.keys().isdisjoint(words) or not any(
            words[at : at + len(phrase)] == phrase
            for at, word in enumerate(words)
            for phrase in self.phrases.get(word, ())
        )


def _partner(ladder: list[str], at: int, own: set[str], draws: np.random.Generator) -> str | None:
    """A definition near place ``at`` on the ladder of lengths that is none of the lemma's own."""
    reach = min(NEIGHBOURS, max(1, len(ladder) // 20))
    if len(ladder) < 2:
        return None
    for _ in range(_TRIES):
        step = int(draws.integers(1, reach + 1)) * (1 if draws.integers(2) else -1)
        other = at + step if 0 <= at + step < len(ladder) else at - step
        if 0 <= other < len(ladder) and ladder[other] not in own:
            return ladder[other]
    return None


def _synset(line: str, part: str) -> Synset:
    head, bar, gloss = line.partition(" | ")
    if not bar:
        raise ValueError(line)
    fields = head.split(" ")
    size = int(fields[3], 16)
    lemmas = tuple(word.partition("(")[0].replace("_", " ") for word in fields[4 : 4 + 2 * size : 2])
    definition = _EXAMPLE.split(gloss, maxsplit=1)[0] if '"' in gloss else gloss
    return Synset(f"{part} {fields[0]}", part, lemmas, definition.strip(" ;\n"))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
