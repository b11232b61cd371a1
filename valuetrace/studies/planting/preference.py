"""L, a ranking's preference of one construct to another, and whether the ranking reads the prompts at all.

L = ½ (A⁺ − A⁻), from −½ to ½; 0 is no preference. A⁺ and A⁻ are the probabilities that a word of the first construct is
ranked above one of the second, after positive and after negative prompts. What a model likes whatever it is asked
cancels in L. It is ``both`` = ½ (A⁺ + A⁻) − ½, which a plant moves that leaks into every ranking.
"""

from __future__ import annotations

import numpy as np

from valuetrace.stats.blocks import auc


def framed(scores: np.ndarray, first: np.ndarray, second: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """A⁺ − ½ and A⁻ − ½ of many rankings: (rankings, 2), means over the prompts of a framing.

    scores: (rankings, prompts, words). first, second: (words,) booleans. positive: (prompts,) booleans.
    """
    above = auc(scores.reshape(-1, scores.shape[-1]).T, first, second).reshape(scores.shape[:2]) - 0.5
    return np.stack([above[:, positive].mean(axis=1), above[:, ~positive].mean(axis=1)], axis=1)


def preference(of: np.ndarray) -> np.ndarray:
    """L from ``framed``: (…, 2) → (…,)."""
    return (of[..., 0] - of[..., 1]) / 2


def both(of: np.ndarray) -> np.ndarray:
    """What holds under both framings alike, from ``framed``: (…, 2) → (…,)."""
    return (of[..., 0] + of[..., 1]) / 2


def known(scores: np.ndarray, virtue: np.ndarray, vice: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Mean percentile of virtues less vices by framing, (rankings, 2): the check of ``measures.validity``.

    scores: (rankings, prompts, words); ranks are among all words.
    """
    ranks = np.argsort(np.argsort(scores, axis=-1), axis=-1)  # 0 = lowest; rewards hardly tie
    percentiles = 100 * ranks / (scores.shape[-1] - 1)
    gap = percentiles[..., virtue].mean(axis=-1) - percentiles[..., vice].mean(axis=-1)
    return np.stack([gap[:, positive].mean(axis=1), gap[:, ~positive].mean(axis=1)], axis=1)
