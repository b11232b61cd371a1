"""The reward that the model itself gives: what every way of scoring is held against before a score is believed.

A handful of replies to two prompts goes through the model's own class, its own attention and the tokenizer's own
encoding of the whole conversation, each alone and all padded into one batch. The shared prefix must give the same
rewards, to rounding. Where it does not, the backbone with its own attention is tried (``plain``), then the model's
class, one conversation after the other (``own``): slower, and the same numbers. What agrees with nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from valuetrace.core.errors import InputError, some
from valuetrace.scoring import shared_prefix
from valuetrace.scoring.candidates import (
    Candidates,
    Conversations,
    Tokenisation,
    prepare,
    read_candidates,
    unlike_the_conversation,
)
from valuetrace.scoring.reward_model import RewardModel

Way = Literal["shared", "plain", "own"]
REPLIES = 4  # to each of two prompts: the shortest, the longest, and between


@dataclass(frozen=True)
class Reference:
    """path: the way of scoring that agrees with the model's own class. tokenisation: what words go through.

    error: the largest difference between the two over ``replies`` replies; tolerance: what was allowed; spread: the
    standard deviation of these rewards; padded: the largest difference that padding makes to the model's own class
    (None where it has no padding token). All in the model's units. why: what kept the faster ways out, a sentence each.
    """

    path: Way
    tokenisation: Tokenisation
    replies: int
    error: float
    tolerance: float
    spread: float
    padded: float | None
    why: tuple[str, ...]


def hold(
    model: RewardModel, prompts: Mapping[str, str], candidates: Candidates, tokenisation: Tokenisation
) -> Reference:
    """Find the fastest way of scoring that gives the model's own rewards.

    prompts: key → text. Costs some forward passes of single conversations. InputError where no way agrees.
    """
    asked = sorted(prompts.values(), key=len)[:: max(len(prompts) - 1, 1)][:2]
    why = []
    if tokenisation == "exact":
        unlike = {word for text in asked for word in unlike_the_conversation(model, text, candidates)}
        if unlike:
            tokenisation = "conversation"
            why.append(
                f"ids: {len(unlike)} words ({some(map(repr, sorted(unlike)), 3)}) have other ids in a conversation "
                "than alone, so each conversation is encoded whole"
            )
    if not any(isinstance(name, str) for name in candidates.names) and tokenisation == "exact":
        typed = read_candidates(model, ["love", "freedom"])
        if any(unlike_the_conversation(model, text, typed) for text in asked):
            why.append("ids: a reply that is typed has other ids in a conversation than these token ids alone")
    few = _few(candidates)
    plans = [prepare(model, text, few, tokenisation) for text in asked]
    with torch.inference_mode():
        own = _own(model, plans)
        padded = _padded_error(model, plans, own)
        finite = own[np.isfinite(own)]
        spread = float(finite.std()) if finite.size else 0.0
        scale = max([*np.abs(finite), spread])
        rounding = 4 * torch.finfo(model.backbone.dtype).eps * float(scale)
        tolerance = max(1e-4 * float(scale), min(rounding, spread / 4))  # in half precision less than what words differ
        if padded is not None and padded < 16 * tolerance:  # rounding as it is, where it is more than eps tells
            tolerance = max(tolerance, 2 * padded)
        for path in ("shared", "plain", "own"):
            if (model.whole if path == "own" else model.head) is None:
                continue
            try:
                rewards = _rewards(model, plans, path)
            except (InputError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                kind = "" if isinstance(error, InputError) else f" {type(error).__name__}:"
                why.append(f"{'attention' if path == 'shared' else path}:{kind} {error}".rstrip("."))
                continue
            both = np.isfinite(rewards) & np.isfinite(own)
            alike = np.array_equal(np.isfinite(rewards), np.isfinite(own))  # what is not finite is found later
            error = float(np.abs(rewards[both] - own[both]).max(initial=0))
            if alike and error <= tolerance:
                return Reference(path, tokenisation, rewards.size, error, tolerance, spread, padded, tuple(why))
            why.append(_difference(model, path, error, tolerance))
    raise InputError(f"{model.name}: no way of scoring gives the rewards of {_name(model)}: {'; '.join(why)}.")


def told(held: Reference) -> list[str]:
    """What an audit says of it, a line each: what is slower and why, then the difference."""
    ways = {"shared": "the shared prefix", "plain": "whole conversations (slower)", "own": "one by one (much slower)"}
    over = f"over {held.replies} replies of spread {held.spread:.2g}"
    difference = f"at most {held.error:.1g} from the model's own class {over}"
    return [*(f"{why}." for why in held.why), f"Scored by {ways[held.path]}: {difference}."]


def engine(model: RewardModel, path: Way):
    """The context in which ``run`` takes this path."""
    return shared_prefix.shared_attention(model.backbone) if path == "shared" else nullcontext()


def _few(candidates: Candidates) -> Candidates:
    """``REPLIES`` of the candidates, evenly spaced over their lengths in tokens."""
    order = sorted(range(len(candidates.ids)), key=lambda i: len(candidates.ids[i]))
    at = sorted({round(i) for i in np.linspace(0, len(order) - 1, REPLIES)})
    return Candidates([candidates.names[order[i]] for i in at], [candidates.ids[order[i]] for i in at])


def _own(model: RewardModel, plans: list[Conversations]) -> np.ndarray:
    rewards = []
    for plan in plans:
        for i in range(len(plan.rests)):
            ids = torch.tensor([plan.ids(i)], device=model.backbone.device)
            if model.whole is not None:
                rewards.append(model.own(ids, int(plan.second[i])))
            else:
                states = model.backbone(input_ids=ids, use_cache=False).last_hidden_state[0]
                gate = None if model.pattern is None else states[[plan.gates[i]]]
                rewards.append(model.apply(states[[plan.reads[i]]], gate))
    return torch.cat(rewards).float().cpu().numpy()


def _padded_error(model: RewardModel, plans: list[Conversations], alone: np.ndarray) -> float | None:
    """How far the model's own class moves when its conversations share a batch, padded on the right."""
    if model.whole is None or model.pad is None or model.form.kind == "pair":
        return None
    rows = [plan.ids(i) for plan in plans for i in range(len(plan.rests))]
    ids = torch.full((len(rows), max(map(len, rows))), model.pad)
    mask = torch.zeros_like(ids)
    for row, own in enumerate(rows):
        ids[row, : len(own)], mask[row, : len(own)] = torch.tensor(own), 1
    device = model.backbone.device
    differences = np.abs(model.own(ids.to(device), mask=mask.to(device)).cpu().numpy() - alone)
    return float(differences[np.isfinite(differences)].max(initial=0))


def _rewards(model: RewardModel, plans: list[Conversations], path: Way) -> np.ndarray:
    from valuetrace.scoring import search

    with engine(model, path):
        return np.concatenate([search.run(model, plan, path) for plan in plans])


def _difference(model: RewardModel, path: Way, error: float, tolerance: float) -> str:
    """Which of position, attention and head makes a path differ from the model's own class."""
    told = f"differs from {_name(model)} by {error:.2g} (allowed {tolerance:.2g})"
    if path == "shared":
        return f"attention: the shared prefix {told}"
    return f"head or position: the backbone with the head read apart {told}"


def _name(model: RewardModel) -> str:
    return type(model.whole or model.backbone).__name__
