"""The bootstrap: which units are drawn, how often, and the interval of what follows from them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CHUNK = 2_000
"""Draws at a time: bounds memory."""

FEWEST_WORDS = 6
"""Of a construct (or of a correlation over words): with five or fewer, not even the span of all the words holds the
median of such words with 95 % confidence (2 · ½⁵ = .06, 2 · ½⁶ = .03)."""


def percentile_interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The central ``level`` of bootstrap draws (percentile interval). draws: (draws,)."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def word_draws(member: np.ndarray, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The one bootstrap over words: how often each draw takes each word, CHUNK draws at a time.

    member: (groups, words) booleans; each group's words are drawn with replacement among themselves, as many as it
    has. Yields counts (groups, at most CHUNK, words), int16.
    """
    sizes = member.sum(axis=1)
    for start in range(0, draws, CHUNK):
        counts = np.zeros((len(member), min(CHUNK, draws - start), member.shape[1]), dtype=np.int16)
        for group, n in enumerate(sizes):
            counts[group][:, member[group]] = rng.multinomial(n, np.full(n, 1 / n), size=counts.shape[1])
        yield counts


def resample_weights(groups: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap weights: within each group its units are drawn with replacement.

    groups: (units,) labels. Returns (draws, units); each group's weights sum to 1 in every draw, so
    that values @ weights are group means added up.
    """
    groups = np.asarray(groups)
    weights = np.empty((draws, len(groups)))
    for group in np.unique(groups):
        (members,) = np.nonzero(groups == group)
        n = len(members)
        weights[:, members] = rng.multinomial(n, np.full(n, 1 / n), size=draws) / n
    return weights
