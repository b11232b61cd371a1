"""A lexicon as a table: ``word, lexicon, construct, polarity, pattern, part_of_speech``: checked, edited and counted.

``pattern`` is the entry of the dictionary; ``word`` is a word that it stands for, or the pattern itself
until it is unrolled. ``polarity`` is ``virtue``, ``vice`` or empty. ``part_of_speech`` joins by ``|``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, cast
from unicodedata import normalize

import pandas as pd

from valuetrace.core.errors import InputError, some
from valuetrace.core.files import read_csv

COLUMNS = ("word", "lexicon", "construct", "polarity", "pattern", "part_of_speech")
POLARITIES = ("", "virtue", "vice")
_SHORTEST_STEM = 2


def is_wildcard(entry: str) -> bool:
    """Whether an entry stands for more than itself (``achiev*``)."""
    return entry.endswith("*")


def matches(pattern: str, word: str) -> bool:
    """Whether ``word`` is what ``pattern`` says, its wildcard read literally."""
    return word.startswith(pattern[:-1]) if is_wildcard(pattern) else word == pattern


def clean(entry: str) -> str:
    """An entry in the common spelling: lower case, straight apostrophes, single spaces, composed letters (NFC)."""
    return " ".join(normalize("NFC", str(entry)).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").lower().split())


def table(groups: Mapping[tuple[str, str], Sequence[str]], lexicon: str, where: str) -> pd.DataFrame:
    """A lexicon from its dictionary entries: (construct, polarity) -> entries.

    Raises InputError, opened by ``where``, for an empty construct, a malformed or a repeated entry.
    """
    if not groups:
        raise InputError(f"{where}: no construct. A dictionary names at least one, with its words.")
    rows = []
    for (construct, polarity), words in groups.items():
        rows += [(word, lexicon, construct, polarity, word, "") for word in map(clean, words)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    check(frame, where, groups)
    return frame


def entries(patterns: Iterable[str] | Mapping[str, Iterable[str]] | pd.DataFrame) -> pd.DataFrame:
    """Patterns in any of the forms that ``unroll`` takes, as a checked lexicon table."""
    if isinstance(patterns, pd.DataFrame):
        missing = [column for column in COLUMNS if column not in patterns.columns]
        if missing:
            raise InputError(f"patterns: column {some(missing)} is missing. Read the dictionary with load_lexicon.")
        check(patterns, "patterns")
        return patterns[list(COLUMNS)]
    if isinstance(patterns, str):
        patterns = [patterns]
    by_construct = patterns if isinstance(patterns, Mapping) else {"": patterns}
    return table({(construct, ""): list(words) for construct, words in by_construct.items()}, "", "patterns")


def check(lexicon: pd.DataFrame, where: str, groups: Iterable[tuple[str, str]] = ()) -> None:
    """Raise InputError for a malformed wildcard, a duplicate, an unknown polarity or an empty construct.

    ``groups``: the (construct, polarity) pairs that must have a word.
    """
    have = set(zip(lexicon["construct"], lexicon["polarity"], strict=True))
    empty = [label(*group) for group in groups if group not in have]
    if empty or lexicon.empty:
        raise InputError(f"{where}: construct {some(empty) or '(any)'} has no words. Add some, or leave it out.")
    malformed = [word for word in lexicon["word"] if not _well_formed(word)]
    if malformed:
        raise InputError(
            f"{where}: malformed entry {some(map(repr, malformed))}. Write a word, or the beginning of one "
            f"({_SHORTEST_STEM} letters or more) and a single * at its end."
        )
    unknown = sorted(set(lexicon["polarity"]) - set(POLARITIES))
    if unknown:
        raise InputError(f"{where}: polarity {some(map(repr, unknown))}; it is virtue, vice or empty.")
    twice = lexicon[lexicon.duplicated(["construct", "polarity", "word"])]
    if len(twice):
        named = (f"'{row.word}' in {label(row.construct, row.polarity)}" for row in cast(Any, twice.itertuples()))
        raise InputError(f"{where}: duplicate {some(named)}. Keep one of each.")


def check_contrasts(lexicon: pd.DataFrame, contrasts: Iterable[Sequence[str]], where: str) -> None:
    """Raise InputError if a word stands in two constructs that are contrasted.

    ``contrasts``: groups of constructs that must share no word (``[["agency", "communion"]]``); a
    construct with polarity is written ``care.virtue``. Overlap elsewhere is allowed (see ``overlaps``).
    """
    labels = labelled(lexicon)
    for contrast in contrasts:
        unknown = sorted(set(contrast) - set(labels))
        if unknown:
            raise InputError(
                f"{where}: contrast names {some(unknown)}; constructs are {some(sorted(set(labels)), 20)}."
            )
        rows = lexicon.assign(label=labels)[labels.isin(contrast)]
        shared = rows[rows.duplicated("word", keep=False)].sort_values(["word", "label"])
        if len(shared):
            named = (f"'{row.word}' ({row.label}, from {row.pattern})" for row in shared.itertuples())
            raise InputError(f"{where}: contrasted constructs share {some(named, 6)}. Exclude the word from one.")


def sort_rows(lexicon: pd.DataFrame) -> pd.DataFrame:
    """Rows by construct, polarity, pattern and word, so that two versions differ only where words do."""
    return lexicon[list(COLUMNS)].sort_values(["construct", "polarity", "pattern", "word"], ignore_index=True)


def _well_formed(entry: str) -> bool:
    if not is_wildcard(entry):
        return bool(entry) and "*" not in entry
    stem = entry[:-1]
    return "*" not in stem and not stem.endswith(" ") and sum(map(str.isalnum, stem)) >= _SHORTEST_STEM


def label(construct: str, polarity: str) -> str:
    """``agency``, or ``care.virtue`` where the dictionary has polarity."""
    return f"{construct}.{polarity}" if polarity else construct or "(unnamed)"


def labelled(lexicon: pd.DataFrame) -> pd.Series:
    """The label of each row's construct."""
    return pd.Series(
        [label(*key) for key in zip(lexicon["construct"], lexicon["polarity"], strict=True)], lexicon.index
    )


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

    Returns the number of wildcards; the least, mean and most words of one; the wildcards that gave one word and those
    that gave none (``construct pattern``; a word that two patterns match counts for the more specific one).
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


EDIT_COLUMNS = ("action", "construct", "pattern", "word", "reason")


def read_edits(path: str | Path) -> pd.DataFrame:
    """Read ``action (exclude|include), construct, pattern, word, reason``, plus ``line`` (``FILE, line N``).

    An exclusion may end in ``*`` to mean all words that start so. Raises InputError naming the line of
    an unknown action, a missing reason, a repeated edit or one that contradicts another.
    """
    edits = read_csv(path, EDIT_COLUMNS, dtype=str)
    edits["word"] = edits["word"].map(clean)
    edits["line"] = [f"{path}, line {number}" for number in range(2, len(edits) + 2)]
    for edit in cast(Any, edits.itertuples()):
        if edit.action not in ("exclude", "include"):
            raise InputError(f"{edit.line}: action {edit.action!r}; it is exclude or include.")
        if not edit.word or not edit.reason.strip():
            raise InputError(f"{edit.line}: an edit needs a word and a reason.")
        if edit.action == "include" and (is_wildcard(edit.word) or not matches(edit.pattern, edit.word)):
            raise InputError(f"{edit.line}: cannot include '{edit.word}': {edit.pattern} does not match it.")
    for at, edit in enumerate(cast(Any, edits.itertuples())):
        for other in cast(Any, edits.iloc[:at].itertuples()):
            if edit.construct != other.construct:
                continue
            if edit.action == other.action and edit.word == other.word:
                raise InputError(f"{edit.line}: '{edit.word}' repeats {other.line}.")
            if edit.action != other.action and (matches(other.word, edit.word) or matches(edit.word, other.word)):
                raise InputError(f"{edit.line}: {edit.action} '{edit.word}' contradicts {other.line}.")
    return edits


def apply_edits(unrolled: pd.DataFrame, dictionary: pd.DataFrame, edits: pd.DataFrame) -> pd.DataFrame:
    """``unrolled`` without the excluded words and with the included ones (part of speech still empty).

    ``dictionary`` holds the entries that were unrolled. Raises InputError naming the line of a stale
    edit: an exclusion that matches nothing, an inclusion of a word that is there already or of a
    pattern that the dictionary does not have.
    """
    kept = unrolled
    added = []
    for edit in cast(Any, edits.itertuples()):
        here = (kept["construct"] == edit.construct) & kept["word"].map(
            lambda word, edit=edit: matches(edit.word, word)
        )
        if edit.action == "exclude":
            gone = here & (kept["pattern"] == edit.pattern)
            if not gone.any():
                raise InputError(f"{edit.line}: stale: {edit.pattern} ({edit.construct}) gives no '{edit.word}'.")
            kept = kept[~gone]
        else:
            source = dictionary[(dictionary["construct"] == edit.construct) & (dictionary["word"] == edit.pattern)]
            if source.empty:
                raise InputError(f"{edit.line}: stale: {edit.construct} has no pattern {edit.pattern}.")
            if here.any():
                raise InputError(f"{edit.line}: stale: {edit.construct} has '{edit.word}' without this edit.")
            added.append(source.assign(word=edit.word))
    return pd.concat([kept, *added], ignore_index=True)
