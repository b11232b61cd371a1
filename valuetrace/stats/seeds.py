"""Training runs that share a seed are not independent: estimates within seeds, inference over seeds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy  # loads scipy.stats when it is used: a second


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
