"""Candidates and the conversations that they end: which ids a reward model reads, and what they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from valuetrace.core.errors import InputError, some
from valuetrace.scoring import chat
from valuetrace.scoring.reward_model import RewardModel

Candidate = int | str | tuple[int, ...]
Tokenisation = Literal["exact", "conversation", "as_published"]
"""``exact``: each word the same ids after every prompt. ``conversation``: the tokenizer encodes each conversation in
one piece. ``as_published``: the same, with the special tokens doubled as in the authors' released scores."""
CHECKED = 2000
"""Words whose conversations are encoded in one piece, too, before ``exact`` ids are believed."""


@dataclass(frozen=True)
class Conversations:
    """The token ids of every candidate's conversation: prefix[: shared[i]] + rests[i].

    reads[i]: the position in conversation i at which the reward is read; gates[i]: that of the gating pattern (empty
    where the head reads none). second[i]: where the second sentence begins (−1 without types of sentences).
    """

    prefix: list[int]
    shared: np.ndarray
    rests: list[list[int]]
    reads: np.ndarray
    gates: np.ndarray
    second: np.ndarray

    def ids(self, i: int) -> list[int]:
        """All token ids of conversation i."""
        return [*self.prefix[: int(self.shared[i])], *self.rests[i]]


@dataclass(frozen=True)
class Candidates:
    """What is scored, in order: ``names`` (ids, words, id sequences) and the token ids of each one's own text."""

    names: list[Candidate]
    ids: list[list[int]]

    def longest(self) -> Candidates:
        """The one of the most tokens, alone: where it fits, all do."""
        at = max(range(len(self.ids)), key=lambda i: len(self.ids[i]))
        return Candidates([self.names[at]], [self.ids[at]])


def read_candidates(model: RewardModel, candidates: Iterable | None) -> Candidates:
    """The candidates as ints, words and tuples, each tokenized once; the whole vocabulary for None.

    Raises InputError for an empty list, an id outside the embedding and a word or sequence of nothing,
    and where the whole vocabulary is asked for but tokenizer and embedding differ in size.
    """
    rows, known = model.rows, len(model.tokenizer)
    if candidates is None:
        if known != rows:
            remedy = f", or range({rows}) to score the unnamed rows too" if known < rows else ""
            raise InputError(
                f"{model.name}: the tokenizer has {known} tokens and the embedding {rows} rows, so there is no one "
                f"vocabulary. Pass candidates=range({min(known, rows)}) for the ids that both have{remedy}."
            )
        return Candidates(list(range(rows)), [[i] for i in range(rows)])
    names: list[Candidate] = []
    for candidate in candidates:
        if isinstance(candidate, str):
            names.append(candidate)
        else:
            whole = np.ndim(candidate) == 0
            names.append(int(candidate) if whole else tuple(int(i) for i in candidate))
    if not names:
        raise InputError("there is no candidate to score")
    ids = [chat.encode_reply(model.tokenizer, model.form, n) if isinstance(n, str) else _ids(n) for n in names]
    outside = [n for n, own in zip(names, ids, strict=True) if not all(0 <= i < rows for i in own)]
    if outside:
        raise InputError(f"{model.name}: candidate {some(outside)} lies outside the embedding's {rows} rows.")
    empty = [n for n, own in zip(names, ids, strict=True) if n == "" or not own]
    if empty:
        raise InputError(f"{model.name}: candidate {some(map(repr, empty))} tokenizes to nothing. Leave it out.")
    return Candidates(names, ids)


def prepare(model: RewardModel, prompt: str, candidates: Candidates, tokenisation: Tokenisation) -> Conversations:
    """Render every candidate's conversation and cut off what they share. InputError for what cannot run."""
    tokenizer, form = model.tokenizer, model.form
    if tokenisation not in ("exact", "conversation", "as_published"):
        raise InputError(f"tokenisation {tokenisation!r} is unknown; there are exact and as_published.")
    around = chat.render(tokenizer, form, prompt)
    if tokenisation == "exact":
        prefix = around.prefix
        rests = [[*own, *around.closing] for own in candidates.ids]
        shared = np.full(len(rests), len(prefix))
    else:
        if tokenisation == "as_published":
            replies = [n if isinstance(n, str) else cast(str, tokenizer.decode(_ids(n))) for n in candidates.names]
            whole = [chat.as_published(tokenizer, form, prompt, reply) for reply in replies]
        else:  # ids stay the ids that they are
            whole = [
                chat.whole(tokenizer, form, prompt, n)
                if isinstance(n, str)
                else [*around.prefix, *_ids(n), *around.closing]
                for n in candidates.names
            ]
        prefix = _common_prefix(whole)
        shared = np.array([_agreement(prefix, ids) for ids in whole])
        rests = [ids[n:] for ids, n in zip(whole, shared, strict=True)]
    longest = max(n + len(rest) for n, rest in zip(shared, rests, strict=True))
    if model.context is not None and longest > model.context:
        raise InputError(
            f"{model.name}: prompt {prompt!r} has {longest} tokens with its reply; the context {model.context}."
        )
    if len(tokenizer) > model.rows and max(max(ids) for ids in (*rests, prefix or [0])) >= model.rows:
        raise InputError(
            f"{model.name}: a conversation of prompt {prompt!r} has token ids beyond the embedding's {model.rows} "
            "rows: tokenizer and model do not belong together."
        )
    gates = _gates(model, prompt, candidates.names, prefix, shared, rests)
    reads = [model.read_at([*prefix[:n], *rest]) for n, rest in zip(shared.tolist(), rests, strict=True)]
    second = np.full(len(rests), -1)
    if form.kind == "pair":
        first = str(candidates.names[0])
        second[:] = chat.second_sentence(tokenizer, form, chat.whole(tokenizer, form, prompt, first), prompt, first)
    return Conversations(prefix, shared, rests, np.array(reads), gates, second)


def unlike_the_conversation(model: RewardModel, prompt: str, candidates: Candidates) -> list[str]:
    """The words whose exact ids are not those that the tokenizer gives their whole conversation.

    Of more than ``CHECKED`` words so many are looked at, evenly spaced.
    """
    around = chat.render(model.tokenizer, model.form, prompt)
    words = [(n, own) for n, own in zip(candidates.names, candidates.ids, strict=True) if isinstance(n, str)]
    return [
        word
        for word, own in words[:: -(-len(words) // CHECKED) or 1]
        if chat.whole(model.tokenizer, model.form, prompt, word) != [*around.prefix, *own, *around.closing]
    ]


def _ids(name: int | tuple[int, ...]) -> list[int]:
    return list(name) if isinstance(name, tuple) else [name]


def _common_prefix(sequences: list[list[int]]) -> list[int]:
    """The longest beginning that more than half of the sequences share."""
    prefix: list[int] = []
    agreeing = sequences
    while True:
        agreeing = [ids for ids in agreeing if len(ids) > len(prefix) + 1]  # one token at least is each one's own
        counts = Counter(ids[len(prefix)] for ids in agreeing).most_common(1)
        if not counts or counts[0][1] * 2 <= len(sequences):
            return prefix
        agreeing = [ids for ids in agreeing if ids[len(prefix)] == counts[0][0]]
        prefix.append(counts[0][0])


def _agreement(prefix: list[int], ids: list[int]) -> int:
    limit = min(len(prefix), len(ids) - 1)
    return next((i for i in range(limit) if prefix[i] != ids[i]), limit)


def _gates(model: RewardModel, prompt: str, names, prefix, shared, rests) -> np.ndarray:
    """Where each conversation last holds the head's gating pattern."""
    if model.pattern is None:
        return np.empty(0, dtype=np.int64)
    pattern = list(model.pattern)
    reach = len(pattern) - 1
    in_prefix = {n: _last(pattern, prefix[:n]) for n in set(shared.tolist())}
    gates = []
    for name, n, rest in zip(names, shared.tolist(), rests, strict=True):
        start = max(n - reach, 0)
        near = _last(pattern, prefix[start:n] + rest)
        gate = in_prefix[n] if near is None else start + near
        if gate is None:
            raise InputError(
                f"{model.name}: {type(model.head).__name__} reads the prompt at the tokens {pattern}, which the "
                f"conversation of prompt {prompt!r} and candidate {name!r} does not hold. Use the model's chat format."
            )
        gates.append(gate)
    return np.array(gates)


def _last(pattern: list[int], ids: list[int]) -> int | None:
    starts = range(len(ids) - len(pattern), -1, -1)
    return next((i for i in starts if ids[i] == pattern[0] and ids[i : i + len(pattern)] == pattern), None)
