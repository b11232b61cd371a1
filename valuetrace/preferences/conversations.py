"""Rows of a preference data set (conversations or texts) as pairs, with the authors' filters."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from valuetrace.core.errors import InputError
from valuetrace.preferences.sample import COLUMNS


@dataclass(frozen=True)
class Columns:
    """Names of a data set's columns. prompt: only where replies are bare texts, not conversations.

    ratings: the two columns whose larger value says which of ``chosen`` and ``rejected`` is preferred
    (data sets that name them A and B); equal ratings are ties and dropped.
    """

    chosen: str = "chosen"
    rejected: str = "rejected"
    prompt: str | None = None
    source: str | None = None
    ratings: list[str] | None = None

    def __post_init__(self):
        if self.ratings is not None and len(self.ratings) != 2:
            raise ValueError("ratings names two columns: that of 'chosen', then that of 'rejected'")

    def names(self) -> list[str]:
        """Every column that is read."""
        named = [self.chosen, self.rejected, self.prompt, self.source, *(self.ratings or [])]
        return [name for name in named if name is not None]


def pairs(
    rows: Iterable[dict[str, Any]], columns: Columns, prefixes: dict[str, str], invalid: str, where: str
) -> tuple[pd.DataFrame, Counter]:
    """The pair table of a data set's rows, and how many rows were left out for which reason.

    prefixes: text put before the prompt of rows whose source holds the key (the authors put "Generate
    one-sentence summary for the following post: " before Unified-Feedback's "summarize" rows). invalid:
    "error" stops at the first bad row, "drop" counts it. ``where`` opens error messages.
    """
    kept, left_out = [], cast("Counter[str]", Counter())
    for number, row in enumerate(rows):
        missing = [name for name in columns.names() if name not in row]
        if missing:
            raise InputError(f"{where}: row {number} has no column {missing[0]!r} (it has {', '.join(row)}).")
        chosen, rejected = row[columns.chosen], row[columns.rejected]
        if columns.ratings is not None:
            first, second = (row[name] for name in columns.ratings)
            if first == second:
                left_out["ties"] += 1
                continue
            if second > first:
                chosen, rejected = rejected, chosen
        source = str(row[columns.source]) if columns.source else where
        try:
            pair = _pair(row[columns.prompt] if columns.prompt else None, chosen, rejected)
        except ValueError as error:
            if invalid == "error":
                raise InputError(
                    f"{where}: row {number}: {error}. Correct the row, or set the source's 'invalid' to 'drop'."
                ) from None
            left_out[str(error)] += 1
            continue
        prompt, good, bad, history = pair
        prompt = "".join(text for key, text in prefixes.items() if key in source) + prompt
        key = hashlib.sha256(f"{history}\n{prompt}".encode()).hexdigest()[:16]
        kept.append((prompt, good, bad, source, key, history))
    return pd.DataFrame(kept, columns=list(COLUMNS)), left_out


def _pair(prompt: Any, chosen: Any, rejected: Any) -> tuple[str, str, str, str]:
    """(prompt, chosen, rejected, history as JSON or ""); ValueError says what is wrong, without the text."""
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise ValueError("one reply is a text and the other a conversation")
    if isinstance(chosen, str):
        if not isinstance(prompt, str):
            raise ValueError("replies are texts but there is no prompt text")
        before: list[dict] = []
    else:
        chosen_before, chosen = _last_reply(chosen)
        rejected_before, rejected = _last_reply(rejected)
        before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else []
        before = chosen_before or before
        if chosen_before != rejected_before:
            raise ValueError("the two conversations differ before the last reply")
        if not before or before[-1]["role"] != "user":
            raise ValueError("no user message before the last reply")
        prompt, before = before[-1]["content"], before[:-1]
    if not prompt.strip():
        raise ValueError("empty prompt")
    if not chosen.strip() or not rejected.strip():
        raise ValueError("empty reply")
    if chosen == rejected:
        raise ValueError("identical replies")
    return prompt, chosen, rejected, json.dumps(before, ensure_ascii=False) if before else ""


def _last_reply(conversation: Any) -> tuple[list[dict], str]:
    try:
        messages = [{"role": str(m["role"]), "content": str(m["content"])} for m in conversation]
    except (TypeError, KeyError):
        raise ValueError("a conversation is not a list of messages with role and content") from None
    if not messages or messages[-1]["role"] != "assistant":
        raise ValueError("a conversation does not end with an assistant message")
    return messages[:-1], messages[-1]["content"]
