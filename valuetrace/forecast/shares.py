"""The constructs' shares of a forecast policy, their intervals, and what two policies and two rewards differ by.

A construct's share is the probability of its words among all covered replies. Two intervals stand beside it, 95 % each:

- over words: the words of the construct are drawn anew among themselves and the other words among themselves, as many
  as there are. A word brings its probability along, so that a draw is the share that the same β (or n) gives over that
  choice of words; where the draw leaves out every word that has probability, the reply of the highest reward that is
  left takes all of it, the limit of β → 0. At large budgets few words hold everything, and the interval says so; as a
  percentile interval of a ratio of sums it falls short there (a simulation in tests/test_forecast.py).
- over prompts: the prompts of a framing are drawn anew. They are variations of one question, not independent ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from valuetrace.forecast import policies
from valuetrace.stats.bootstrap import resample_weights, word_draws

KINDS = {"kl": "KL budget (nats)", "best_of_n": "best of n", "beta": "β (units of the reward)"}
FEWEST_PROMPTS = 6
"""Of a framing: of fewer, drawing them anew says next to nothing (stats.bootstrap.FEWEST_WORDS has the reason)."""


@dataclass(frozen=True)
class Optimum:
    """One reward model on one policy. Arrays: log_reference and rewards (words, prompts); log_policy (points, words,
    prompts); beta, nats (points, prompts), β NaN for best-of-n; reached (points, prompts), False where the KL budget
    is beyond the prompt's ``reach`` (prompts,) and the limit stands in."""

    policy: str
    reward_model: str
    log_reference: np.ndarray
    rewards: np.ndarray
    log_policy: np.ndarray
    beta: np.ndarray
    nats: np.ndarray
    reached: np.ndarray
    reach: np.ndarray


def grid(nats: Iterable[float], counts: Iterable[int], betas: Iterable[float] = ()) -> pd.DataFrame:
    """The points of a forecast: ``kind`` (a key of KINDS) and ``budget`` (nats, n or β)."""
    rows = [(kind, float(b)) for kind, of in zip(KINDS, (nats, counts, betas), strict=True) for b in of]
    return pd.DataFrame(rows, columns=["kind", "budget"])


def follow(policy: str, reward_model: str, log_reference, rewards: np.ndarray, points: pd.DataFrame) -> Optimum:
    """The policies that ``points`` (``grid``) lead to. log_reference: ``policies.normalised``."""
    of = {kind: points.loc[points["kind"] == kind, "budget"].to_numpy() for kind in KINDS}
    prompts = log_reference.shape[1]
    solved = policies.beta_for(log_reference, rewards, of["kl"])
    given = np.repeat(of["beta"][:, None], prompts, axis=1)
    parts = (
        policies.tilted(log_reference, rewards, solved),
        policies.best_of(log_reference, rewards, of["best_of_n"]),
        policies.tilted(log_reference, rewards, given),
    )
    log_policy = np.concatenate(parts)
    beta = np.concatenate([solved, np.full((len(of["best_of_n"]), prompts), np.nan), given])
    reach = policies.reach(log_reference, rewards)
    reached = np.ones(beta.shape, dtype=bool)
    reached[: len(solved)] = (solved > 0) | (of["kl"][:, None] <= reach)
    nats = policies.divergence(log_policy, log_reference)
    return Optimum(policy, reward_model, log_reference, rewards, log_policy, beta, nats, reached, reach)


def shares(log_policy: np.ndarray, member: np.ndarray) -> np.ndarray:
    """(points, prompts): the probability of the words in ``member`` (words,)."""
    return np.exp(log_policy[:, member]).sum(axis=1)


def share_draws(cell: Optimum, member: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """The share over words drawn anew: (draws, points, prompts). Drawn alike for every cell by one ``rng`` state."""
    probability = np.exp(cell.log_policy).transpose(1, 0, 2)  # (words, points, prompts)
    shape, flat = probability.shape[1:], probability.reshape(len(member), -1)
    if member.all():
        return np.ones((draws, *shape))
    drawn = []
    for counts in word_draws(np.stack([member, ~member]), draws, rng):
        inside, outside = ((row.astype(np.float64) @ flat).reshape(-1, *shape) for row in counts)
        total = inside + outside
        with np.errstate(invalid="ignore"):
            share = inside / total
        for prompt in np.flatnonzero((total <= 0).any(axis=(0, 1))):
            left = _best_left(counts.sum(axis=0) > 0, cell.log_reference[:, prompt], cell.rewards[:, prompt])
            share[..., prompt] = np.where(total[..., prompt] > 0, share[..., prompt], member[left][:, None])
        drawn.append(share)
    return np.concatenate(drawn)


def by_prompt(share: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """``share, low, high``, the interval over words. drawn: as ``share``, with draws in front."""
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return {"share": share, "low": low, "high": high}


def framing_draws(drawn: np.ndarray, framing: np.ndarray) -> dict[str, np.ndarray]:
    """Framing → the draws' mean over its prompts, (draws, points)."""
    return {str(name): drawn[..., framing == name].mean(axis=-1) for name in dict.fromkeys(framing)}


def by_framing(share: np.ndarray, drawn: dict[str, np.ndarray], framing: np.ndarray, seed: int) -> dict[str, dict]:
    """Framing → ``share`` (points,), the mean over its prompts, ``low, high`` over words and ``low_prompts,
    high_prompts`` over prompts (NaN of fewer than FEWEST_PROMPTS).

    share: (points, prompts); drawn: ``framing_draws``.
    """
    found = {}
    for name, of_words in drawn.items():
        of = share[:, framing == name]
        low = high = np.full(len(share), np.nan)
        if of.shape[1] >= FEWEST_PROMPTS:
            rng = np.random.default_rng(seed)
            weights = resample_weights(np.zeros(of.shape[1]), len(of_words), rng)
            low, high = np.quantile(weights @ of.T, [0.025, 0.975], axis=0)
        found[name] = by_prompt(of.mean(axis=1), of_words) | {"low_prompts": low, "high_prompts": high}
    return found


def attribute(corner: dict[tuple[int, int], np.ndarray]) -> dict[str, np.ndarray]:
    """What the second policy and the second reward model change, by (policy, reward model) → share, each 0 or 1.

    ``difference`` = share of both seconds less share of both firsts. ``policy`` is Shapley's value of exchanging the
    policy: the mean of its effect under the first and under the second reward model; ``reward`` likewise. Their sum
    is the difference. ``interaction``: by how much the effect of exchanging the one depends on the other. Where there
    is one policy (or reward model) only, what it would add is not there.
    """
    policies_, rewards = (len({key[axis] for key in corner}) == 2 for axis in (0, 1))
    first = corner[0, 0]
    if not (policies_ and rewards):
        name, other = ("policy", (1, 0)) if policies_ else ("reward", (0, 1))
        return {"difference": corner[other] - first, name: corner[other] - first}
    policy, reward, both = corner[1, 0], corner[0, 1], corner[1, 1]
    return {
        "difference": both - first,
        "policy": ((policy - first) + (both - reward)) / 2,
        "reward": ((reward - first) + (both - policy)) / 2,
        "interaction": both - policy - reward + first,
    }


def _best_left(drawn: np.ndarray, log_reference: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """The reply of the highest reward (of ties the more probable) in each draw: (draws,). drawn: (draws, words)."""
    rewards = np.where(np.isfinite(log_reference), rewards, -np.inf)
    order = np.lexsort((log_reference, rewards))[::-1]
    return order[drawn[:, order].argmax(axis=1)]
