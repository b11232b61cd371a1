"""Pairs as token ids, the steps in which they are trained on, and how a batch of pairs becomes tensors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from valuetrace.core.errors import InputError
from valuetrace.scoring.chat import Conversation, Format, encode_reply, render

PROMPT, CHOSEN, REJECTED, PAD = range(4)  # what a token belongs to


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


def plan(characters: np.ndarray, batch: int, epochs: int, window: int, seed: int) -> np.ndarray:
    """The pairs of every optimizer step, (steps, batch), from the pairs' lengths in characters alone.

    Every base therefore sees the same pairs in the same steps. Each epoch shuffles. A step's pairs are put
    in order of length, longest first, so that a minibatch holds pairs of like length and little padding,
    while the step's gradient stays that of random pairs. ``window`` above 1 makes the steps themselves
    alike in length (cut from so many batches' worth of sorted pairs, then shuffled): no padding at all, but
    a short run learns less that way (benchmarks/README.md). Pairs that fill no last batch are left out.
    """
    draws = np.random.default_rng(seed)
    order = np.concatenate([draws.permutation(len(characters)) for _ in range(epochs)])
    order = order[: len(order) // batch * batch]
    batches = []
    for start in range(0, len(order), window * batch):
        part = order[start : start + window * batch]
        if window > 1:
            part = part[np.argsort(characters[part], kind="stable")]
            part = part.reshape(-1, batch)[draws.permutation(len(part) // batch)]
        batches.append(part.reshape(-1, batch))
    steps = np.concatenate(batches) if batches else np.empty((0, batch), dtype=np.int64)
    longest_first = np.argsort(-characters[steps], axis=1, kind="stable")
    return np.take_along_axis(steps, longest_first, axis=1)


def characters(pairs: pd.DataFrame) -> np.ndarray:
    """The length of each pair in characters: a measure that no tokenizer changes, (pairs,)."""
    return cast(Any, sum(pairs[name].str.len() for name in ("prompt", "chosen", "rejected"))).to_numpy(dtype=np.int64)


def collate(pairs: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
    """One row a pair: the prompt once, then the chosen, then the rejected reply, then padding.

    Positions count from the prompt's first token; those of the rejected reply go on from the prompt's
    last. ``read`` holds where the two rewards are read: the last token of each conversation. Padding has the
    id 0, which means nothing: ``segments`` masks it, so neither rewards nor gradients depend on it.

    >>> collate([{"prompt_ids": [5, 6], "chosen_ids": [7, 1], "rejected_ids": [8, 9, 1]},
    ...          {"prompt_ids": [5], "chosen_ids": [7, 1], "rejected_ids": [8, 1]}])
    {'input_ids': tensor([[5, 6, 7, 1, 8, 9, 1],
            [5, 7, 1, 8, 1, 0, 0]]), 'position_ids': tensor([[0, 1, 2, 3, 2, 3, 4],
            [0, 1, 2, 1, 2, 0, 0]]), 'segments': tensor([[0, 0, 1, 1, 2, 2, 2],
            [0, 1, 1, 2, 2, 3, 3]]), 'read': tensor([[3, 6],
            [2, 4]])}
    """
    rows = [(pair["prompt_ids"], pair["chosen_ids"], pair["rejected_ids"]) for pair in pairs]
    width = max(sum(map(len, row)) for row in rows)
    ids, positions = torch.zeros(2, len(rows), width, dtype=torch.long)
    segments = torch.full_like(ids, PAD)
    read = torch.empty(len(rows), 2, dtype=torch.long)
    for at, (prompt, chosen, rejected) in enumerate(rows):
        p, c, r = len(prompt), len(chosen), len(rejected)
        ids[at, : p + c + r] = torch.tensor([*prompt, *chosen, *rejected])
        positions[at, : p + c + r] = torch.cat([torch.arange(p + c), torch.arange(p, p + r)])
        segments[at, : p + c + r] = torch.tensor([PROMPT] * p + [CHOSEN] * c + [REJECTED] * r)
        # an empty reply (cut away by the length limit) leaves the prompt's last token
        read[at] = torch.tensor([p + c - 1, p + c + r - 1 if r else p - 1])
    return {"input_ids": ids, "position_ids": positions, "segments": segments, "read": read}


def tokens(encoded: dict[str, list[list[int]]]) -> np.ndarray:
    """Tokens of each pair's row, (pairs,): the prompt once and both replies."""
    return np.array([sum(map(len, row)) for row in zip(*encoded.values(), strict=True)], dtype=np.int64)


def schedule(kind: str, step: int, steps: int, warmup: float) -> float:
    """The learning rate's factor after ``step`` of ``steps`` optimizer steps, in [0, 1].

    Linear from 0 over the first ⌈warmup · steps⌉, then by half a cosine, linearly, or not at all to 0.
    """
    first = int(np.ceil(warmup * steps))
    if step < first:
        return step / first
    if kind == "constant":
        return 1.0
    done = (step - first) / max(1, steps - first)
    return float(max(0.0, (1 + np.cos(np.pi * done)) / 2 if kind == "cosine" else 1 - done))


def checkpoint_steps(steps: int, every: int, powers_of_two: bool) -> list[int]:
    """The optimizer steps after which a checkpoint is kept: 0, every n-th, the last, and 1, 2, 4 … on request."""
    kept = {0, steps, *range(every, steps, every)}
    if powers_of_two:
        kept |= {2**power for power in range(steps.bit_length()) if 2**power <= steps}
    return sorted(kept)
