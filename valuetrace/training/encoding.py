"""Pairs as token ids: the prompt once, each reply apart, long conversations cut and counted."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, cast

import pandas as pd
from transformers import PreTrainedTokenizerBase

from valuetrace.core.errors import InputError
from valuetrace.scoring.chat import Conversation, Format, encode_reply, render

IDS = ("prompt_ids", "chosen_ids", "rejected_ids")


def encode(
    pairs: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, form: Format, max_length: int
) -> tuple[dict[str, list[list[int]]], Counter]:
    """Token ids of every pair, in order: ``prompt_ids``, ``chosen_ids``, ``rejected_ids`` (replies with closing).

    A conversation is prompt + reply, at most ``max_length`` tokens: what is beyond is cut off (the paper's
    code truncates on the right), and counted: ``cut`` pairs, ``cut_in_prompt`` (nothing of a reply is left)
    and ``same_after_cut`` (both replies begin alike: the pair teaches nothing). No padding token is needed:
    segments, not ids, say what is padding. Raises InputError for an empty reply and for identical ones.
    """
    columns: dict[str, list[list[int]]] = {name: [] for name in IDS}
    counts = Counter({"cut": 0, "cut_in_prompt": 0, "same_after_cut": 0})
    rows = zip(*(pairs[name] for name in ("prompt", "chosen", "rejected", "history")), strict=True)
    for number, (prompt, chosen, rejected, history) in enumerate(rows):
        _check(number, chosen, rejected)
        around = _render(tokenizer, form, prompt, history)
        room = max_length - len(around.prefix)
        replies = [encode_reply(tokenizer, form, reply) + around.closing for reply in (chosen, rejected)]
        if max(map(len, replies)) > room:
            counts["cut"] += 1
            counts["cut_in_prompt"] += room <= 0
            replies = [reply[: max(room, 0)] for reply in replies]
            counts["same_after_cut"] += replies[0] == replies[1]
        for name, part in zip(IDS, [around.prefix[:max_length], *replies], strict=True):
            columns[name].append(part)
    return columns, counts


def _render(tokenizer, form: Format, prompt: str, history: str) -> Conversation:
    if not history:
        return render(tokenizer, form, prompt)
    if form.kind != "chat":
        raise InputError("a pair has earlier messages, which a text format cannot hold. Use a chat format.")
    return render(cast(Any, _WithHistory(tokenizer, json.loads(history))), form, prompt)


class _WithHistory:
    """A tokenizer whose chat template is given earlier messages before those of the pair."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, history: list[dict]):
        self._tokenizer, self._history = tokenizer, history

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)

    def __call__(self, *arguments, **options):
        return self._tokenizer(*arguments, **options)

    def apply_chat_template(self, messages, **options):
        return self._tokenizer.apply_chat_template([*self._history, *messages], **options)


def _check(number: int, chosen: str, rejected: str) -> None:
    if not chosen.strip() or not rejected.strip():
        raise InputError(f"pair {number} has an empty reply. Correct the pairs' source, or drop its invalid rows.")
    if chosen == rejected:
        raise InputError(f"pair {number} has identical replies. Correct the pairs' source, or drop its invalid rows.")
