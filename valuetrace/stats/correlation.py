"""Rank correlations, plain, partial and of resampled units."""

from __future__ import annotations

import numpy as np
import scipy  # loads scipy.stats when it is used: a second


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
