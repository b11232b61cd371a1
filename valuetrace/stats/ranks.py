"""Ranks of words and their medians: the measure that every question of the paper starts from."""

from __future__ import annotations

import numpy as np
import scipy

FEW = 64
"""Below so many subsets their medians are taken one by one."""


def rank_words(scores: np.ndarray, ties: str = "average") -> np.ndarray:
    """Rank each column of ``scores`` (words × columns); 1 is the highest score.

    Section 2 ("token ranks"); a column is one model's scores for one prompt. Tied words share
    the average of their ranks as in the paper, or ``ties`` (min, max) for a check of what that decides.
    """
    return scipy.stats.rankdata(-np.asarray(scores, dtype=np.float64), axis=0, method=ties)


def subset_medians(ranks: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The median rank of many word subsets at once.

    ranks: (words, columns) values, any real numbers without NaN. counts: (subsets, words) non-negative whole numbers,
    how often each subset takes each word (0/1 for a permutation of labels, counts for a bootstrap). Returns (subsets,
    columns), equal to ``np.median`` of the repeated values, to the bit. ValueError where a subset takes no word.

    Sorting each column once turns a median into the place where a running count crosses the middle.
    All subsets walk a column together, and only through the window in which nearly all of them
    cross (4.5 standard deviations of a random subset's count either way); one matrix product counts
    what lies before it, and the few subsets that cross elsewhere walk the whole column.
    """
    ranks = np.asarray(ranks, dtype=np.float64)
    counts = np.asarray(counts)
    totals = counts.sum(axis=1, dtype=np.int64)
    if (totals == 0).any():
        raise ValueError("a subset with no words has no median")
    if len(counts) < FEW:
        return np.stack([np.median(np.repeat(ranks, row, axis=0), axis=0) for row in counts])
    small: type[np.signedinteger] = np.int16 if totals.max() < 2**15 else np.int64
    order = np.argsort(ranks, axis=0, kind="stable")
    # the two middle positions (0-based) of a sorted list of `total` values
    low, high = ((totals - 1) // 2).astype(small), (totals // 2).astype(small)
    by_word = np.ascontiguousarray(counts.T.astype(small))  # (words, subsets)
    start, stop = _window(counts, totals, order)
    ahead = (np.arange(len(ranks))[:, None] < start).astype(np.float32)
    ahead = np.take_along_axis(ahead, np.argsort(order, axis=0), axis=0)  # (words, columns): before the window?
    before = ahead.T @ by_word.astype(np.float32)  # (columns, subsets)
    medians = np.empty((len(counts), ranks.shape[1]))
    for column in range(ranks.shape[1]):
        ordered = ranks[order[:, column], column]
        running = before[column].astype(small)
        elsewhere = running > low
        first, second = (np.full(len(counts), start[column], dtype=small) for _ in range(2))
        for word in order[start[column] : stop[column], column]:
            running += by_word[word]
            first += running <= low
            second += running <= high
        elsewhere |= running <= high
        if elsewhere.any():
            (rest,) = np.nonzero(elsewhere)
            cumulative = np.cumsum(by_word[np.ix_(order[:, column], rest)], axis=0, dtype=small)
            first[rest] = (cumulative <= low[rest]).sum(axis=0)
            second[rest] = (cumulative <= high[rest]).sum(axis=0)
        medians[:, column] = (ordered[first] + ordered[second]) / 2
    return medians


def _window(counts: np.ndarray, totals: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and one-past-last sorted position of each column that can hold nearly all subsets' medians."""
    share = (1 / totals) @ counts / len(counts)  # the mean share of a subset that each word is
    reached = np.cumsum(share[order], axis=0)
    margin = 4.5 * 0.5 / np.sqrt(totals.min()) + 1 / totals.min()
    start = (reached < 0.5 - margin).sum(axis=0)
    stop = (reached <= 0.5 + margin).sum(axis=0) + 1
    return start, np.minimum(stop, len(order))


def kendall(x: np.typing.ArrayLike, y: np.typing.ArrayLike) -> float:
    """Kendall's τ-b; 0 where one side is constant."""
    tau = scipy.stats.kendalltau(x, y).statistic
    return 0.0 if np.isnan(tau) else float(tau)


def residuals(values: np.ndarray, control: np.ndarray) -> np.ndarray:
    """What a linear fit on ``control`` (units,) leaves of each column of ``values`` (units, columns).

    Of ranks, so that a correlation of residuals is the partial rank correlation given the control's rank.
    """
    control = control - control.mean()
    values = values - values.mean(axis=0)
    spread = control @ control
    return values - np.outer(control, control @ values / spread) if spread > 0 else values


def weighted_correlation(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each column pair with units repeated: (draws, columns).

    x, y: (units, columns), here ranks (so that it is Spearman's ρ, ranks staying those of all units);
    counts: (draws, units). 0 where one side is constant.
    """
    weights = counts / counts.sum(axis=1, keepdims=True)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)  # nothing but rounding changes
    mean_x, mean_y = weights @ x, weights @ y
    covariance = weights @ (x * y) - mean_x * mean_y
    variance = (weights @ x**2 - mean_x**2) * (weights @ y**2 - mean_y**2)
    spread = np.sqrt(np.maximum(variance, 0))
    return np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 1e-12)
