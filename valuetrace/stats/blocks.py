"""Experiments whose unit is a seed or a block of runs: means, slopes, sign flips, ratios of effects (Fieller).

Runs that share a seed are not independent: estimates are made within seeds, inference is over seeds.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import scipy  # loads scipy.stats when it is used: a second

EXACT = 14
"""The most blocks for exact enumeration of all patterns of signs."""


def auc(scores: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Probability that a word of ``first`` scores above one of ``second`` (ties count one half), column by column.

    scores: (words, columns); first, second: (words,) booleans, no word in both. Returns (columns,), .5 for no
    preference: Mann–Whitney's U / (n₁ n₂). ValueError where a group is empty.
    """
    n1, n2 = int(first.sum()), int(second.sum())
    if not n1 or not n2:
        raise ValueError("both groups need a word")
    ranks = scipy.stats.rankdata(scores[first | second], axis=0)  # 1 = lowest
    return (ranks[first[first | second]].sum(axis=0) - n1 * (n1 + 1) / 2) / (n1 * n2)


def sign_flip_p(values: np.ndarray, draws: int = 9_999, seed: int = 0) -> float:
    """Two-sided p of the mean against 0 when the sign of each block is exchangeable. values: (blocks,).

    Exact up to EXACT blocks (so never below 2 / 2^blocks), else by ``draws`` random patterns.
    """
    values = np.asarray(values, dtype=np.float64)
    observed = abs(values.sum()) * (1 - 1e-12)
    if len(values) <= EXACT:
        signs = np.array(list(product((1, -1), repeat=len(values))))
        return float((np.abs(signs @ values) >= observed).mean())
    signs = np.random.default_rng(seed).choice((1, -1), size=(draws, len(values)))
    return float(((np.abs(signs @ values) >= observed).sum() + 1) / (draws + 1))


class Ratio(NamedTuple):
    """A ratio of two means over ``blocks`` and its Fieller interval; ``low`` and ``high`` are None where it is
    unbounded: the denominator does not differ from 0 at this level."""

    estimate: float
    low: float | None
    high: float | None
    blocks: int


def fieller(numerator: np.typing.ArrayLike, denominator: np.typing.ArrayLike, level: float = 0.95) -> Ratio:
    """mean(numerator) / mean(denominator) over paired blocks, with Fieller's (1954) interval by Student's t.

    numerator, denominator: (blocks,), at least 2. The set of ratios r for which numerator − r · denominator has a mean
    that does not differ from 0; it is an interval only where the denominator's mean does.
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (numerator, denominator))
    n = len(a)
    (saa, sab), (_, sbb) = np.cov(a, b) / n
    t = scipy.stats.t.ppf((1 + level) / 2, n - 1) ** 2
    ma, mb = a.mean(), b.mean()
    # (ma − r mb)² ≤ t² (saa − 2 r sab + r² sbb)
    two, one, zero = mb**2 - t * sbb, ma * mb - t * sab, ma**2 - t * saa
    inside = one**2 - two * zero
    estimate = float(ma / mb) if mb else float("nan")
    if two <= 0 or inside < 0:
        return Ratio(estimate, None, None, n)
    half = np.sqrt(inside)
    return Ratio(estimate, float((one - half) / two), float((one + half) / two), n)


class Estimate(NamedTuple):
    """A mean over ``seeds``, its 95 % t interval and two-sided p (None with a single seed)."""

    estimate: float
    low: float | None
    high: float | None
    p: float | None
    seeds: int


def over_seeds(values: np.ndarray) -> Estimate:
    """The mean of one value a seed, with Student's t over the seeds: the seed is the unit. values: (seeds,)."""
    values = np.asarray(values, dtype=np.float64)
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(mean, None, None, None, n)
    error = float(values.std(ddof=1) / np.sqrt(n))
    half = float(scipy.stats.t.ppf(0.975, n - 1)) * error
    p = float(2 * scipy.stats.t.sf(abs(mean) / error, n - 1)) if error > 0 else float(mean == 0)
    return Estimate(mean, mean - half, mean + half, p, n)


def slopes(sizes: np.ndarray, values: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares of values on log2(size / geometric mean of all distinct sizes), one line a seed.

    sizes, values, seeds: (runs,). Returns (at the mean size, per doubling), each (seeds,), seeds in order. ValueError
    where a seed has fewer than two sizes.
    """
    x = np.log2(sizes) - np.log2(np.unique(sizes)).mean()
    lines = []
    for seed in np.unique(seeds):
        own = seeds == seed
        if len(np.unique(x[own])) < 2:
            raise ValueError(f"seed {seed} has a single size")
        slope, level = np.polyfit(x[own], np.asarray(values, dtype=np.float64)[own], 1)
        lines.append((level, slope))
    return tuple(np.array(lines).T)
