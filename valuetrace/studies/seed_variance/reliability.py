"""How much of a measure is the base's and how much the seed's, and how many seeds a study needs.

Runs are crossed: every base with every seed and every data size, one run a cell. A *seed* draws the pairs and their
order, alike for all bases, and a random head, which is another for every base. So value = base + seed (the pairs' part)
+ base × seed (the head's part, and what the pairs do to this base alone) + size + rest. Seeds are a sample and sizes
are fixed; bases count as a sample of the bases that a study might compare. Components of variance are estimated from
mean squares (ANOVA; in a balanced design REML's wherever none is negative).

Intervals are generalised confidence intervals (Weerahandi 1993): each mean square is MS · df / χ²(df) in every draw,
anew and independently, and what is asked follows from them. They rest on normal effects, not on many units, and with
two bases and three seeds (1 and 2 degrees of freedom) they are as wide as they should be.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import pandas as pd
import scipy  # loads scipy.stats when it is used: a second

from valuetrace.core.errors import InputError
from valuetrace.stats.bootstrap import percentile_interval

SOURCES = ("base", "seed", "base × seed", "size", "rest")
TARGETS = ("one base", "difference of two bases")


@dataclass(frozen=True)
class SeedVariance:
    """Group ``seed_variance`` of params.yaml.

    reliability: asked of a study. seeds: numbers of seeds for which it is told. draws: of every test that draws;
    interval_draws: of the intervals of components.
    """

    reliability: float
    seeds: list[int]
    draws: int
    interval_draws: int
    seed: int

    def __post_init__(self):
        if not 0 < self.reliability < 1 or not self.seeds or min(self.seeds) < 1:
            raise ValueError("reliability lies between 0 and 1, seeds names numbers of seeds from 1")
        if self.draws < 1 or self.interval_draws < 1:
            raise ValueError("draws and interval_draws are 1 at least")


def anova(values: np.ndarray) -> pd.DataFrame:
    """The analysis of variance of values (bases, seeds, sizes), each at least 2, one run a cell.

    A row a source (SOURCES): ``df, mean_square``, ``F`` and ``p`` against the source's own error (base × seed for base
    and seed, the rest for base × seed and size; missing for the rest). ``rest`` pools the interactions with size.
    InputError where the runs are no such block.
    """
    if values.ndim != 3 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise InputError(
            f"a split by base, seed and size needs every base with every seed and size, two of each at least, and has "
            f"{values.shape}. Add to trained, ablations.seeds or ablations.sizes and train what is new."
        )
    b, s, k = values.shape
    deviation = values - values.mean()
    base, seed, size = (deviation.mean(axis=axes) for axes in ((1, 2), (0, 2), (0, 1)))
    head = deviation.mean(axis=2) - base[:, None] - seed
    squares = np.array([s * k * (base**2).sum(), b * k * (seed**2).sum(), k * (head**2).sum(), b * s * (size**2).sum()])
    df = np.array([b - 1, s - 1, (b - 1) * (s - 1), k - 1])
    df = np.append(df, b * s * k - 1 - df.sum())
    mean = np.append(squares, max((deviation**2).sum() - squares.sum(), 0)) / df
    error = [2, 2, 4, 4]
    with np.errstate(divide="ignore", invalid="ignore"):
        f = np.append(mean[:4] / mean[error], np.nan)
    p = np.append(scipy.stats.f.sf(f[:4], df[:4], df[error]), np.nan)
    return pd.DataFrame({"source": SOURCES, "df": df, "mean_square": mean, "F": f, "p": p})


def drawn_squares(table: pd.DataFrame, draws: int, seed: int) -> np.ndarray:
    """Mean squares as they might truly be, given those of ``anova``: (draws, sources), MS · df / χ²(df)."""
    df = table["df"].to_numpy()
    return table["mean_square"].to_numpy() * df / np.random.default_rng(seed).chisquare(df, size=(draws, len(df)))


def components(mean_squares: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Variance of each source from mean squares (…, sources), unbiased and so at times below 0: (…, sources).

    shape: (bases, seeds, sizes). Of the fixed sizes it is the variance of their effects.
    """
    b, s, k = shape
    of_base, of_seed, of_head, of_size, rest = np.moveaxis(mean_squares, -1, 0)
    head, data = (of_head - rest) / k, (of_seed - of_head) / (b * k)
    return np.stack([(of_base - of_head) / (s * k), data, head, (of_size - rest) / (b * s), rest], axis=-1)


def errors(parts: np.ndarray) -> np.ndarray:
    """Error variance of one run, (…, targets) from ``components``: of a base's value, and of a difference (halved).

    Two bases trained on the same pairs share what those do to both, so that it is no error of their difference.
    """
    of_difference = parts[..., 2] + parts[..., 4]
    return np.stack([of_difference + np.maximum(parts[..., 1], 0), of_difference], axis=-1)


def reliability(parts: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Reliability of the mean of ``seeds`` runs, a seed each, all of one size: (…, targets, seeds).

    σ²(base) / (σ²(base) + error / seeds): Spearman and Brown's formula. For one base it is generalisability theory's
    Φ, for the difference of two bases (both variances doubled) its Eρ² (Cronbach et al. 1972). A negative σ²(base) is
    0.
    """
    between = np.maximum(parts[..., 0], 0)[..., None, None]
    return between / (between + errors(parts)[..., None] / seeds)


def seeds_needed(parts: np.ndarray, wanted: float) -> np.ndarray:
    """How many seeds give the reliability ``wanted``: (…, targets), not rounded; infinite where bases do not differ."""
    between = np.maximum(parts[..., 0], 0)[..., None]
    with np.errstate(divide="ignore"):
        return np.maximum(1.0, wanted / (1 - wanted) * errors(parts) / between)


def head_correlation(untrained: np.ndarray, trained: np.ndarray, draws: int = 9_999, seed: int = 0) -> dict:
    """Does the head's lean before training tell what the reward model leans to? Correlation over base × seed units.

    untrained, trained: (bases, seeds); the runs of one head (its sizes) are one unit, their mean. ``r``: Pearson's, of
    deviations from the base's mean (0 where one side is constant), with Fisher's interval, each base's mean beyond the
    first taking a degree of freedom. ``shuffled``: its central 95 % when the heads' values are exchanged between the
    seeds of each base (``p`` against those), every exchange where there are at most ``draws``.
    """
    b, s = untrained.shape
    first, second = (values - values.mean(axis=1, keepdims=True) for values in (untrained, trained))
    spread = np.sqrt((first**2).sum() * (second**2).sum())
    orders = np.array(list(permutations(range(s))), dtype=np.intp) if s <= 7 else None
    if orders is not None and len(orders) ** b <= draws:
        chosen = np.array(list(product(orders, repeat=b)))
    else:
        rows = np.tile(np.arange(s), (draws, b, 1))
        chosen = np.random.default_rng(seed).permuted(rows, axis=2)
        chosen[0] = np.arange(s)  # the data's own order counts
    moved = np.take_along_axis(np.broadcast_to(first, (len(chosen), b, s)), chosen, axis=2)
    null = (moved * second).sum(axis=(1, 2)) / spread if spread > 0 else np.zeros(len(chosen))
    r = float((first * second).sum() / spread) if spread > 0 else 0.0
    free = b * s - b - 2  # n − 3, less one for each base's mean beyond the first
    found = {"r": r, "low": None, "high": None, "units": b * s, "p": float((np.abs(null) >= abs(r) - 1e-9).mean())}
    if free > 0 and abs(r) < 1:
        half = scipy.stats.norm.ppf(0.975) / np.sqrt(free)
        found |= {"low": float(np.tanh(np.arctanh(r) - half)), "high": float(np.tanh(np.arctanh(r) + half))}
    shuffled = dict(zip(("low", "high"), percentile_interval(null), strict=True))
    return found | {"shuffled": shuffled | {"orders": len(null)}}
