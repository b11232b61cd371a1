"""A small reader of the WordNet 3.0 database files: what a word is, and which words derive from it.

Format: https://wordnet.princeton.edu/documentation/wndb5wn (data) and /senseidx5wn (index.sense).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from valuetrace.core.errors import InputError, some

PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
FILES = (*(f"data.{part}" for part in PARTS), "index.sense")
_NAMES = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}
_COUNTED = {"1": "noun", "2": "verb", "3": "adjective", "4": "adverb", "5": "adjective"}
_RELATED = {"+", "\\", "<"}  # derivationally related form; pertainym or adverb's adjective; participle of


@dataclass(frozen=True)
class WordNet:
    """Single words of WordNet that are spelled in lower case (names are left out).

    ``readings``: word -> part of speech -> how often the sense-tagged texts (SemCor) hold it, 0 where
    never. ``related``: word -> the words derived from it or that it derives from.
    """

    readings: dict[str, dict[str, int]]
    related: dict[str, set[str]]


def read_wordnet(folder: str | Path) -> WordNet:
    """Read ``data.noun|verb|adj|adv`` and ``index.sense`` from ``folder`` (about 2 seconds).

    Raises InputError if a file is missing or is no WordNet database.
    """
    folder = Path(folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: no {some(missing)}. Fetch the WordNet 3.0 database: dvc repro fetch.")
    counts = _counts(folder / "index.sense")
    readings: dict[str, dict[str, int]] = defaultdict(dict)
    words: dict[tuple[str, str], list[str]] = {}
    links: list[tuple[str, str, str, int]] = []
    for part in PARTS:
        path = folder / f"data.{part}"
        try:
            for key, members, pointers in _synsets(path):
                words[key] = members
                links += pointers
                for word in members:
                    if _is_plain(word):
                        name = _NAMES[key[0]]
                        readings[word][name] = counts[word, name]
        except (ValueError, IndexError, KeyError):
            raise InputError(f"{path}: not a WordNet database file. Fetch it again.") from None
    return WordNet(dict(readings), _related(words, links))


def _synsets(path: Path):
    """Yield (part, offset), member words, and pointers (source word, target part, offset, number)."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith(" "):  # licence
                continue
            fields = line.partition(" | ")[0].split(" ")
            part = _short(fields[2])
            size = int(fields[3], 16)
            members = [word.partition("(")[0] for word in fields[4 : 4 + 2 * size : 2]]
            start = 5 + 2 * size
            pointers = []
            for at in range(start, start + 4 * int(fields[start - 1]), 4):
                symbol, offset, target, numbers = fields[at : at + 4]
                if symbol in _RELATED and numbers != "0000":
                    pointers.append((members[int(numbers[:2], 16) - 1], _short(target), offset, int(numbers[2:], 16)))
            yield (part, fields[0]), members, pointers


def _related(words: dict, links: list) -> dict[str, set[str]]:
    related: dict[str, set[str]] = defaultdict(set)
    for source, part, offset, number in links:
        target = words[part, offset][number - 1]
        if source != target and _is_plain(source) and _is_plain(target):
            related[source].add(target)
            related[target].add(source)
    return dict(related)


def _counts(path: Path) -> Counter:
    """(word, part of speech) -> occurrences in the sense-tagged texts, all senses together."""
    counts: Counter = Counter()
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                sense, _, _, count = line.split(" ")
                word, _, key = sense.partition("%")
                counts[word, _COUNTED[key[0]]] += int(count)
            except (ValueError, IndexError, KeyError):
                raise InputError(
                    f"{path}: not WordNet's sense index ({line.strip()[:60]!r}). Fetch it again."
                ) from None
    return counts


def _is_plain(word: str) -> bool:
    return "_" not in word and word == word.lower()


def _short(part: str) -> str:
    return "a" if part == "s" else part
