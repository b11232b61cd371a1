"""The constructs' shares of a forecast policy, their intervals, what two policies and two rewards differ by; its words.

A construct's share is the probability of its words among all covered replies. It has two 95 % intervals:

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

GAINERS = ["framing", "kind", "budget", "word", "constructs", "reference", "probability", "gain", "log_ratio"]


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


def framing_means(values: np.ndarray, framing: np.ndarray) -> dict[str, np.ndarray]:
    """Framing → the mean over its prompts, which are the last axis of ``values``: of draws (draws, points)."""
    return {str(name): values[..., framing == name].mean(axis=-1) for name in dict.fromkeys(framing)}


def by_framing(share: np.ndarray, drawn: dict[str, np.ndarray], framing: np.ndarray, seed: int) -> dict[str, dict]:
    """Framing → ``share`` (points,), the mean over its prompts, ``low, high`` over words and ``low_prompts,
    high_prompts`` over prompts (NaN of fewer than FEWEST_PROMPTS).

    share: (points, prompts); drawn: ``framing_means``.
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


def gainers(cell: Optimum, points: pd.DataFrame, words: pd.Series, framing: np.ndarray, shown: int) -> pd.DataFrame:
    """The ``shown`` words that gain most probability at every point, columns GAINERS.

    words: word (index) → its constructs as text. Probabilities are means over a framing's prompts; gain = probability
    − reference, log_ratio = log(probability / reference) in nats.
    """
    rows = []
    for name in dict.fromkeys(framing):
        of = framing == name
        reference = np.exp(cell.log_reference[:, of]).mean(axis=1)
        for (kind, budget), log_policy in zip(points.itertuples(index=False), cell.log_policy, strict=True):
            probability = np.exp(log_policy[:, of]).mean(axis=1)
            gain = probability - reference
            best = np.lexsort((words.index, -gain))[:shown]
            for at in best[gain[best] > 0]:
                ratio = float(np.log(probability[at] / reference[at]))
                found = (words.index[at], words.iloc[at], reference[at], probability[at], gain[at], ratio)
                rows.append((name, kind, budget, *found))
    return pd.DataFrame(rows, columns=GAINERS)


def leaders(cell: Optimum, words: pd.Series, prompts: pd.DataFrame) -> list[dict]:
    """The most probable word of each prompt as the KL budget grows, exact and not on a grid.

    A row a prompt: ``prompt, framing, reach`` (nats) and ``leads``: ``word, constructs, nats`` from which it leads, and
    its ``probability`` there; the first from 0 on. prompts: ``key, framing``, in the order of the cell's columns.
    """
    rows = []
    for column, (key, framing) in enumerate(prompts[["key", "framing"]].itertuples(index=False)):
        one = slice(column, column + 1)
        log_reference, rewards = cell.log_reference[:, one], cell.rewards[:, one]
        leads = []
        for at, slope in policies.leaders(log_reference[:, 0], rewards[:, 0]):
            beta = np.array([[1 / slope if slope else np.inf]])
            log_policy = policies.tilted(log_reference, rewards, beta)
            nats = policies.divergence(log_policy, log_reference)[0, 0]
            named = {"word": words.index[at], "constructs": words.iloc[at]}
            leads.append(named | {"nats": float(nats), "probability": float(np.exp(log_policy[0, at, 0]))})
        rows.append({"prompt": key, "framing": framing, "reach": float(cell.reach[column]), "leads": leads})
    return rows


def first_changes(rows: list[dict]) -> list[dict]:
    """By framing, of ``leaders``: ``prompts``, ``changing`` (in how many another word ever leads), and of the budget of
    the first change ``lowest, median, highest`` (nats; None where none changes)."""
    found = []
    for framing in dict.fromkeys(row["framing"] for row in rows):
        of = [row for row in rows if row["framing"] == framing]
        nats = [row["leads"][1]["nats"] for row in of if len(row["leads"]) > 1]
        spread = {"lowest": min(nats), "median": float(np.median(nats)), "highest": max(nats)} if nats else {}
        none = dict.fromkeys(("lowest", "median", "highest"))
        found.append({"framing": framing, "prompts": len(of), "changing": len(nats)} | none | spread)
    return found


def _best_left(drawn: np.ndarray, log_reference: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """The reply of the highest reward (of ties the more probable) in each draw: (draws,). drawn: (draws, words)."""
    rewards = np.where(np.isfinite(log_reference), rewards, -np.inf)
    order = np.lexsort((log_reference, rewards))[::-1]
    return order[drawn[:, order].argmax(axis=1)]
