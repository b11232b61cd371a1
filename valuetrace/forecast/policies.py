"""The policies that optimising against a reward leads to, in closed form, for replies that can be listed.

Over a finite set of replies y the optimum of KL-regularised RLHF, max E[r] − β KL(π ‖ π_ref), is
π_β(y) ∝ π_ref(y) exp(r(y) / β) (Rafailov et al. 2023, Equation 4), and the best of n replies drawn from π_ref has
P(y) = F(r_y)ⁿ − F(r_y −)ⁿ, F the distribution of rewards under π_ref; replies of one reward share theirs by π_ref.
π_ref is the language model given that it answers with one of the replies; a KL divergence is in nats, π from π_ref.

Arrays: ``log_reference`` and ``rewards`` (replies, prompts), −inf for a reply that is never given; a policy comes as
log-probabilities with one axis more in front: (points, replies, prompts).
"""

from __future__ import annotations

import numpy as np
import scipy  # loads scipy.special when it is used

_SHORT_OF_REACH = 1e-9  # a budget this close to a prompt's reach (relative) has the limit β = 0
_HALVINGS = 70  # of the logarithm of 1/β: to the last bits of a double


def normalised(log_probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(log_reference, mass): the replies' log-probabilities given that one of them is said, and what all of them have
    together, (prompts,). ValueError where a prompt gives every reply the probability 0."""
    log_probability = np.asarray(log_probability, dtype=np.float64)
    top = log_probability.max(axis=0)
    if not np.isfinite(top).all():
        raise ValueError("every reply to some prompt has the probability 0")
    log_mass = top + np.log(np.exp(log_probability - top).sum(axis=0))
    return log_probability - log_mass, np.exp(log_mass)


def tilted(log_reference: np.ndarray, rewards: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """log π_β (points, replies, prompts). beta: (points, prompts), in units of reward; ∞ gives π_ref, 0 the limit:
    π_ref among the replies of the highest reward."""
    below = _below_best(log_reference, rewards)
    beta = np.asarray(beta, dtype=np.float64)[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # x/0 is −inf, and 0/0 the best replies
        exponent = np.where(below == 0, 0.0, below / beta)
    weight = np.where(np.isfinite(log_reference), log_reference + exponent, -np.inf)
    return scipy.special.log_softmax(weight, axis=1)


def divergence(log_policy: np.ndarray, log_reference: np.ndarray) -> np.ndarray:
    """KL(π ‖ π_ref) in nats, (points, prompts); at least 0."""
    with np.errstate(invalid="ignore"):  # −inf less −inf, where π is 0 and the term as well
        terms = np.where(np.isneginf(log_policy), 0.0, np.exp(log_policy) * (log_policy - log_reference))
    return np.maximum(terms.sum(axis=1), 0.0)


def reach(log_reference: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """The largest KL that any β gives, (prompts,): −log π_ref(replies of the highest reward)."""
    best = np.where(_below_best(log_reference, rewards) == 0, np.exp(log_reference), 0.0).sum(axis=0)
    return np.maximum(-np.log(best), 0.0)


def beta_for(log_reference: np.ndarray, rewards: np.ndarray, nats: np.ndarray) -> np.ndarray:
    """The β (points, prompts) at which KL(π_β ‖ π_ref) is ``nats`` (points,); 0, the limit, where it is out of reach.

    KL falls as β grows. It is at most (highest − lowest reward) / β, which bounds β from above; from below β is
    halved until the budget is spent, and then log β bisected.
    """
    nats = np.asarray(nats, dtype=np.float64)[:, None]
    possible = np.isfinite(log_reference)
    lowest = np.where(possible, rewards, np.inf).min(axis=0)
    spread = np.where(possible, rewards, -np.inf).max(axis=0) - lowest
    far = nats >= reach(log_reference, rewards) * (1 - _SHORT_OF_REACH)
    solve = ~far & (nats > 0)
    beta = np.where(nats == 0, np.inf, 0.0) * np.ones_like(spread)
    high = np.log(np.where(solve, spread, 1.0) / np.where(solve, nats, 1.0))
    low = high.copy()

    def spent(log_beta: np.ndarray) -> np.ndarray:
        return divergence(tilted(log_reference, rewards, np.exp(log_beta)), log_reference)

    while (short := solve & (spent(low) < nats)).any():
        low = np.where(short, low - np.log(4), low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = spent(middle) >= nats
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
        if (high - low).max(initial=0) < 1e-13:
            break
    return np.where(solve, np.exp((low + high) / 2), beta)


def best_of(log_reference: np.ndarray, rewards: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """log P (points, replies, prompts) of the reply of the highest reward among n draws from π_ref. counts: (points,),
    whole numbers n ≥ 1."""
    counts = np.asarray(counts, dtype=np.float64)[:, None, None]
    possible = np.isfinite(log_reference)
    mass = np.exp(log_reference)
    own, log_f = np.empty_like(log_reference), np.empty_like(log_reference)  # P(reward = r_y), log F(r_y)
    for column, ranked in enumerate(np.where(possible, rewards, -np.inf).T):
        values, at = np.unique(ranked, return_inverse=True)
        each = np.bincount(at, mass[:, column], minlength=len(values))
        upto, above = np.cumsum(each), np.append(np.cumsum(each[:0:-1])[::-1], 0.0)
        with np.errstate(divide="ignore"):  # the smaller of both tails keeps its digits
            whole = np.where(upto < 0.5, np.log(upto), np.log1p(-np.minimum(above, 1.0)))
        own[:, column], log_f[:, column] = each[at], whole[at]
    with np.errstate(divide="ignore", invalid="ignore"):
        lower = counts * np.log1p(-np.minimum(own / np.exp(log_f), 1.0))  # log (F(r −) / F(r))ⁿ
        log_policy = counts * log_f + np.log(-np.expm1(lower)) + log_reference - np.log(own)
    return np.where(possible & ~np.isnan(log_policy), log_policy, -np.inf)


def best_of_bound(counts: np.typing.ArrayLike) -> np.ndarray:
    """log n − (n − 1) / n nats: the usual bound on the KL of best-of-n, met where no two replies tie and none is
    likely (Beirami et al. 2024)."""
    counts = np.asarray(counts, dtype=np.float64)
    return np.log(counts) - (counts - 1) / counts


def leaders(log_reference: np.ndarray, rewards: np.ndarray) -> list[tuple[int, float]]:
    """The most probable reply as β falls from ∞ to 0: (reply, 1/β from which it leads), the first from 0 on.

    One prompt: both arrays (replies,). log π_ref + r / β are lines in 1/β, and the leaders their upper envelope. Of
    replies that tie, the one of the higher reward leads.
    """
    possible = np.flatnonzero(np.isfinite(log_reference))
    at = possible[np.lexsort((rewards[possible], log_reference[possible]))[-1]]
    found = [(int(at), 0.0)]
    while (better := possible[rewards[possible] > rewards[at]]).size:
        crossing = (log_reference[at] - log_reference[better]) / (rewards[better] - rewards[at])
        first = crossing.min()
        tied = better[crossing <= first]
        at = tied[np.argmax(rewards[tied])]
        found.append((int(at), float(max(first, 0.0))))
    return found


def _below_best(log_reference: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """Rewards less the highest of a reply that is given at all; −inf for one that is not."""
    possible = np.isfinite(log_reference)
    rewards = np.where(possible, np.asarray(rewards, dtype=np.float64), -np.inf)
    return rewards - rewards.max(axis=0)
