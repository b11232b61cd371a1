"""The replies of several tokens that a reward model likes most and least, by beam search over the vocabulary.

A reply's score is the reward of the complete conversation: the prompt, the reply's token ids, the closing. Every
beam's children, all of the vocabulary, are scored exactly: the beam is a longer prefix (``shared_prefix``). One token
is therefore an exhaustive search; more are a lower bound on the best and an upper bound on the worst, for all but the
kept beginnings are never looked at. Beside the beam stand greedy growth (a beam of one) and as many random replies of
plain tokens as the beam scored.

Two rankings are read from one search. ``plain``: every token is text that people write in words (``plain_tokens``).
``any``: the last token may be any of the vocabulary. Beams are plain.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from valuetrace.scoring import search
from valuetrace.scoring.candidates import Candidates, prepare
from valuetrace.scoring.reference import Way, engine
from valuetrace.scoring.reward_model import RewardModel

Ids = tuple[int, ...]
ENDS = {"best": 1, "worst": -1}
SHOWN = 5  # replies of a ranking
_SHARD = 4096  # replies


@dataclass(frozen=True)
class Optimal:
    """What was found after one prompt.

    replies: one row a reply, ``end`` (best, worst), ``kind`` (plain, any), ``method`` (beam, greedy, random),
    ``length`` (tokens), ``place`` (1 is the most extreme of its ranking), ``ids``, ``reward``. single: the reward of
    every reply of one token (V,). scored: how many replies each method scored for one end. not_finite: how many of
    all rewards are no finite numbers; such a reply is no beam and in no ranking.
    """

    replies: pd.DataFrame
    single: np.ndarray
    scored: dict[str, int]
    not_finite: int


def plain_tokens(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """(V,): which tokens are plain: no special ones, and decoded alone a word or a part of one.

    That is letters of any script with their marks, apostrophes and hyphens after the first, at most one space before.
    """
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))], clean_up_tokenization_spaces=False)
    plain = np.array([_is_word(text) for text in texts])
    plain[[i for i in tokenizer.all_special_ids if i < len(plain)]] = False
    return plain


def is_typed(tokenizer: PreTrainedTokenizerBase, ids: Ids) -> bool:
    """Whether the reply's text, tokenized by itself, is these ids: whether someone who types it says this reply."""
    text = tokenizer.decode(cast(list, ids), clean_up_tokenization_spaces=False)
    return tuple(tokenizer(text, add_special_tokens=False).input_ids) == tuple(ids)


def cost(vocabulary: int, length: int, beam: int) -> dict[str, int]:
    """The most replies that ``optimal`` scores after one prompt: extensions of a beam (``extended``), ``random``."""
    later = 2 * vocabulary * (length - 1) * beam  # of both ends
    if beam > 1:
        later += 2 * vocabulary * max(length - 2, 0)  # greedy growth leaves the beam after two tokens, if at all
    return {"extended": vocabulary + later, "random": vocabulary * (1 + beam * (length - 1)) if length > 1 else 0}


def optimal(
    model: RewardModel,
    prompt: str,
    plain: np.ndarray,
    *,
    length: int,
    beam: int,
    seed: int = 0,
    batch_size: int | None = None,
    folder: Path | None = None,
    weights: str = "",
    bar: tqdm | None = None,
    path: Way = "shared",
) -> Optimal:
    """The best and worst replies of 1 to ``length`` tokens after ``prompt``, the ``beam`` best beginnings kept.

    plain: the plain tokens (V,), of a vocabulary of ids 0 … V − 1. folder: where scores are kept as they come, to go
    on from; then ``weights`` is the model's fingerprint. path: as ``reference.hold`` found it.
    InputError for a reply that the context does not hold.
    """
    bar = tqdm(disable=True) if bar is None else bar
    kept = {"batch_size": batch_size, "folder": folder, "weights": weights, "bar": bar, "path": path}
    vocabulary: list[Ids] = [(token,) for token in range(len(plain))]
    seen: dict[Ids, np.ndarray] = {}

    def extend(start: Ids) -> np.ndarray:
        if start not in seen:
            seen[start] = rewards(model, prompt, vocabulary, start, **kept)
        return seen[start]

    found, scored = [], {}
    for method, width in ({"beam": beam, "greedy": 1} if length > 1 else {"beam": 1}).items():
        for end, sign in ENDS.items():
            scored[method] = 0
            for beams, values in _grow(extend, plain, sign, length, width):
                scored[method] += values.size
                found += _ranking(beams, values, plain, {"end": end, "method": method})
    every = [*seen.values()]
    if length > 1:
        drawn = _random(model, prompt, plain, length, scored["beam"], seed, kept)
        scored["random"] = len(drawn)
        found += _random_ranking(drawn, length)
        every.append(np.array([*drawn.values()]))
    frame = pd.DataFrame(found, columns=["end", "kind", "method", "length", "place", "ids", "reward"])
    return Optimal(frame, seen[()], scored, sum(int((~np.isfinite(part)).sum()) for part in every))


def rewards(
    model: RewardModel,
    prompt: str,
    replies: list[Ids],
    start: Ids = (),
    *,
    batch_size: int | None = None,
    folder: Path | None = None,
    weights: str = "",
    bar: tqdm,
    path: Way = "shared",
) -> np.ndarray:
    """float32 rewards of ``start + reply`` for each of ``replies``; ``start`` runs once, as a part of the prefix."""
    whole: list = [start + reply for reply in replies]
    plan, n = prepare(model, prompt, Candidates(whole, [list(ids) for ids in whole]), "exact"), len(start)
    rests, at = [rest[n:] for rest in plan.rests], plan.shared + n
    plan = replace(plan, prefix=[*plan.prefix, *start], shared=at, rests=rests)
    work = None if folder is None else search._work_folder(folder, weights, plan, _SHARD, path)
    with torch.inference_mode(), engine(model, path):
        return search._score(model, plan, batch_size, work, _SHARD, bar, path)


def _grow(
    extend: Callable[[Ids], np.ndarray], plain: np.ndarray, sign: int, length: int, width: int
) -> Iterator[tuple[list[Ids], np.ndarray]]:
    """For 1 to ``length`` tokens: the beams, and the value of each of their children (beams, V): more is better, −inf
    where the reward is not finite."""
    beams: list[Ids] = [()]
    for _ in range(length):
        scores = np.stack([extend(start) for start in beams])
        values = np.where(np.isfinite(scores), sign * scores, -np.inf)
        yield beams, values
        beams = [ids for ids, _ in _best(beams, np.where(plain, values, -np.inf), width)]
        if not beams:
            return


def _best(beams: list[Ids], values: np.ndarray, count: int) -> list[tuple[Ids, float]]:
    """The ``count`` children of the highest finite values; of equal ones the earlier beam's, then the lower id's."""
    order = np.argsort(-values, axis=None, kind="stable")[:count]
    places = zip(*np.unravel_index(order, values.shape), strict=True)
    return [((*beams[b], int(t)), float(values[b, t])) for b, t in places if values[b, t] > -np.inf]


def _ranking(beams: list[Ids], values: np.ndarray, plain: np.ndarray, row: dict) -> list[dict]:
    sign = ENDS[row["end"]]
    return [
        row | {"kind": kind, "length": len(ids), "place": place, "ids": ids, "reward": sign * value}
        for kind, allowed in cast(Any, {"plain": plain, "any": True}).items()
        for place, (ids, value) in enumerate(_best(beams, np.where(allowed, values, -np.inf), SHOWN), start=1)
    ]


def _random(
    model: RewardModel, prompt: str, plain: np.ndarray, length: int, count: int, seed: int, kept: dict
) -> dict[Ids, float]:
    """``count`` random replies of ``length`` plain tokens (fewer where they repeat), each with its reward."""
    draws, (tokens,), done = np.random.default_rng(seed), np.nonzero(plain), cast("dict[Ids, float]", {})
    while tokens.size and count > 0:
        size = min(count, len(plain))
        drawn = [tuple(map(int, ids)) for ids in draws.choice(tokens, (size, length))]
        done |= dict(zip(drawn, rewards(model, prompt, drawn, **kept).tolist(), strict=True))
        count -= size
    return done


def _random_ranking(drawn: dict[Ids, float], length: int) -> list[dict]:
    ids = list(drawn)
    values = np.array([drawn[i] for i in ids])
    rows = []
    for end, sign in ENDS.items():
        order = np.argsort(-sign * np.where(np.isfinite(values), values, -sign * np.inf), kind="stable")[:SHOWN]
        rows += [
            {"end": end, "kind": "plain", "method": "random", "length": length, "place": place}
            | {"ids": ids[at], "reward": values[at]}
            for place, at in enumerate(order, start=1)
            if np.isfinite(values[at])
        ]
    return rows


def _is_word(text: str) -> bool:
    word = text.removeprefix(" ")
    return word[:1].isalpha() and all(c in "'’-" or unicodedata.category(c)[0] in "LM" for c in word)
