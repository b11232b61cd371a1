"""Hand exclusions and inclusions on top of the unrolled words: a short file that a psychologist reviews."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pandas as pd

from valuetrace.core.errors import InputError
from valuetrace.core.files import read_csv
from valuetrace.lexicon.entries import clean, is_wildcard, matches

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
